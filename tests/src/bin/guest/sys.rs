// SPDX-License-Identifier: GPL-2.0-only
//! Small system helpers for tests.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libbpf_rs::query::{LinkInfoIter, MapInfoIter, ProgInfoIter};
use nix::libc;

pub const BPFFS: &str = "/sys/fs/bpf";

/// Load balancing interval of the kernel bypass, in microseconds.
pub const BYPASS_LB_INTERVAL: &str = "/sys/module/sched_ext/parameters/bypass_lb_intv_us";

/// Opening it for reading prepares hibernation: the kernel bypasses the scheduler until
/// it is closed.
pub const HIBERNATION: &str = "/dev/snapshot";

pub const SCX_PRELOAD: &str = "/usr/bin/scx_preload";

/// Reads a text file, without the final newline.
pub fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim_end().to_string())
}

pub fn copy(from: &str, to: &str) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {from} to {to}"))?;
    Ok(())
}

/// The value of the kernel command line's `NAME=VALUE`.
pub fn word(name: &str) -> Result<Option<String>> {
    let cmdline = read("/proc/cmdline")?;
    let value = |w: &str| Some(w.strip_prefix(name)?.strip_prefix('=')?.to_string());
    Ok(cmdline.split_whitespace().find_map(value))
}

/// Random numbers that depend on `vm test --seed` only: a draw that fails, fails with the next
/// build, too.
pub fn random() -> Result<fastrand::Rng> {
    let seed = word("scx_test.seed")?.context("no scx_test.seed on the kernel command line")?;
    Ok(fastrand::Rng::with_seed(seed.parse()?))
}

/// Result of a program.
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a program to its end, successful or not.
pub fn run(program: &str, args: &[&str]) -> Result<Output> {
    let out = Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    Ok(Output {
        code: out.status.code(),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    })
}

/// Runs a program that must exit with 0 and returns its standard output.
pub fn run_ok(program: &str, args: &[&str]) -> Result<String> {
    let out = run(program, args)?;
    ensure!(
        out.code == Some(0),
        "{program} {} exited with {:?}:\n{}{}",
        args.join(" "),
        out.code,
        out.stdout,
        out.stderr
    );
    Ok(out.stdout)
}

/// `enabled`, `disabled` …; an error on a kernel without sched_ext.
pub fn scx_state() -> Result<String> {
    read("/sys/kernel/sched_ext/state")
}

/// Name of the attached scheduler, if any.
pub fn scx_ops() -> Option<String> {
    read("/sys/kernel/sched_ext/root/ops").ok()
}

/// A line of /proc/meminfo, in kB.
pub fn memory(what: &str) -> Result<u64> {
    let text = read("/proc/meminfo")?;
    let line = text.lines().find_map(|l| l.strip_prefix(what));
    let word = line.and_then(|l| l.split_whitespace().nth(1));
    Ok(word
        .with_context(|| format!("no {what} in /proc/meminfo"))?
        .parse()?)
}

/// The root cgroup.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// Writes a file of a cgroup.
pub fn set_cgroup(group: &str, file: &str, value: impl ToString) -> Result<()> {
    let (path, value) = (format!("{group}/{file}"), value.to_string());
    fs::write(&path, &value).with_context(|| format!("cannot write {value} to {path}"))
}

/// Number of BPF maps, programs and links in the kernel, of all owners.
pub fn bpf_objects() -> [usize; 3] {
    [
        MapInfoIter::default().count(),
        ProgInfoIter::default().count(),
        LinkInfoIter::default().count(),
    ]
}

/// Waits for the number of BPF objects to return to `before`; the kernel frees them
/// asynchronously.
pub fn nothing_left(before: [usize; 3]) -> Result<()> {
    wait_for(Duration::from_secs(40), || {
        let now = bpf_objects();
        ensure!(
            now == before,
            "maps, programs, links: {now:?}, before {before:?}"
        );
        Ok(())
    })
}

/// How many times a scheduler has been enabled since boot.
pub fn enable_seq() -> Result<u64> {
    Ok(read("/sys/kernel/sched_ext/enable_seq")?.parse()?)
}

/// Polls until `what` succeeds; fails with its last error after `limit`.
pub fn wait_for(limit: Duration, what: impl FnMut() -> Result<()>) -> Result<()> {
    poll(limit, Duration::from_millis(20), what)
}

/// The same with a given polling interval.
pub fn poll(limit: Duration, pause: Duration, mut what: impl FnMut() -> Result<()>) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        match what() {
            Ok(()) => return Ok(()),
            Err(e) if Instant::now() > end => bail!("still after {limit:?}: {e:#}"),
            Err(_) => sleep(pause),
        }
    }
}

/// Ends the scheduler with sysrq-S, which leaves its maps readable.
pub fn end_with_sysrq() -> Result<()> {
    fs::write("/proc/sysrq-trigger", "S")?;
    wait_for(Duration::from_secs(10), || {
        ensure!(scx_state()? == "disabled");
        Ok(())
    })
}

/// Makes this process realtime, to run promptly on a busy system. Its children are not.
pub fn become_realtime() -> Result<()> {
    set_policy(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 1)
}

/// Changes this task's scheduling policy.
pub fn set_policy(policy: i32, sched_priority: i32) -> Result<()> {
    let param = libc::sched_param { sched_priority };
    // SAFETY: it reads `param`, which lives longer.
    let done = unsafe { libc::sched_setscheduler(0, policy, &param) };
    ensure!(done == 0, "cannot set scheduling policy {policy}");
    Ok(())
}

/// Timer interrupts of some CPUs so far.
pub fn timer_interrupts(cpus: &[usize]) -> Result<u64> {
    let interrupts = read("/proc/interrupts")?;
    let mut lines = interrupts.lines().map(str::trim_start);
    let line = lines.find_map(|line| line.strip_prefix("LOC:"));
    let counts = line.context("no local timer interrupts")?;
    let counts: Vec<_> = counts.split_whitespace().collect();
    cpus.iter()
        .map(|cpu| Ok(counts.get(*cpu).context("no such CPU")?.parse::<u64>()?))
        .sum()
}

/// Idle time of each CPU since boot, in ticks of 10 ms.
pub fn idle_ticks() -> Result<Vec<u64>> {
    let stat = read("/proc/stat")?;
    stat.lines()
        .filter(|l| l.starts_with("cpu") && !l.starts_with("cpu "))
        .map(|l| {
            Ok(l.split(' ')
                .nth(4)
                .context("a short line in /proc/stat")?
                .parse()?)
        })
        .collect()
}

/// Takes CPUs online or offline, one after the other.
pub fn set_online(cpus: impl IntoIterator<Item = usize>, online: bool) -> Result<()> {
    for cpu in cpus {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/online");
        fs::write(&path, if online { "1" } else { "0" }).context(path)?;
    }
    Ok(())
}

/// Parses a CPU list of /sys, such as `0-3,8`.
pub fn cpu_list(text: &str) -> Result<Vec<usize>> {
    let mut cpus = Vec::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<usize>()?..=last.parse()?);
    }
    Ok(cpus)
}
