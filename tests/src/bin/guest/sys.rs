// SPDX-License-Identifier: GPL-2.0-only
//! Small things that tests need from the system.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libbpf_rs::query::{LinkInfoIter, MapInfoIter, ProgInfoIter};
use nix::libc;

pub const BPFFS: &str = "/sys/fs/bpf";

/// How often the kernel balances tasks while it bypasses, in microseconds.
pub const BYPASS_LB_INTERVAL: &str = "/sys/module/sched_ext/parameters/bypass_lb_intv_us";

/// Opened to be read, it makes the kernel prepare to hibernate: it bypasses the
/// scheduler until this is closed.
pub const HIBERNATION: &str = "/dev/snapshot";

pub const SCX_PRELOAD: &str = "/usr/bin/scx_preload";

/// A file as text, without the end of its last line.
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

/// The value of a word of the kernel command line, `NAME=VALUE`.
pub fn word(name: &str) -> Result<Option<String>> {
    let cmdline = read("/proc/cmdline")?;
    let value = |w: &str| Some(w.strip_prefix(name)?.strip_prefix('=')?.to_string());
    Ok(cmdline.split_whitespace().find_map(value))
}

/// What a program left behind.
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a program to its end, whatever that is.
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
        "{program} {} ended with {:?}:\n{}{}",
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

/// Name of the attached scheduler, if there is one.
pub fn scx_ops() -> Option<String> {
    read("/sys/kernel/sched_ext/root/ops").ok()
}

/// Of /proc/meminfo, in kB.
pub fn memory(what: &str) -> Result<u64> {
    let text = read("/proc/meminfo")?;
    let line = text.lines().find_map(|l| l.strip_prefix(what));
    let word = line.and_then(|l| l.split_whitespace().nth(1));
    Ok(word.with_context(|| format!("no {what}"))?.parse()?)
}

/// The root of the cgroups.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// Writes a file of a cgroup.
pub fn set_cgroup(group: &str, file: &str, value: impl ToString) -> Result<()> {
    let (path, value) = (format!("{group}/{file}"), value.to_string());
    fs::write(&path, &value).with_context(|| format!("cannot write {value} to {path}"))
}

/// How many BPF maps, programs and links the kernel has, whosever they are.
pub fn bpf_objects() -> [usize; 3] {
    [
        MapInfoIter::default().count(),
        ProgInfoIter::default().count(),
        LinkInfoIter::default().count(),
    ]
}

/// As many BPF objects as before. The kernel frees them a while after their last user.
pub fn nothing_left(before: [usize; 3]) -> Result<()> {
    wait_for(Duration::from_secs(40), || {
        let now = bpf_objects();
        ensure!(
            now == before,
            "{before:?} maps, programs, links, now {now:?}"
        );
        Ok(())
    })
}

/// How many times a scheduler has been enabled since the boot.
pub fn enable_seq() -> Result<u64> {
    Ok(read("/sys/kernel/sched_ext/enable_seq")?.parse()?)
}

/// Looks until `what` holds; fails with its last answer after `limit`.
pub fn wait_for(limit: Duration, what: impl FnMut() -> Result<()>) -> Result<()> {
    poll(limit, Duration::from_millis(20), what)
}

/// The same, as often as one wants.
pub fn poll(limit: Duration, pause: Duration, mut what: impl FnMut() -> Result<()>) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        match what() {
            Ok(()) => return Ok(()),
            Err(e) if Instant::now() > end => bail!("after {limit:?} still: {e:#}"),
            Err(_) => sleep(pause),
        }
    }
}

/// Ends the scheduler as a person would, which leaves its maps to be read.
pub fn end_with_sysrq() -> Result<()> {
    fs::write("/proc/sysrq-trigger", "S")?;
    wait_for(Duration::from_secs(10), || {
        ensure!(scx_state()? == "disabled");
        Ok(())
    })
}

/// Lets this process run when it wants to, however busy the machine is. Its
/// children are ordinary.
pub fn become_realtime() -> Result<()> {
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    let param = libc::sched_param { sched_priority: 1 };
    // SAFETY: it reads `param`, which lives longer.
    let done = unsafe { libc::sched_setscheduler(0, policy, &param) };
    ensure!(done == 0, "cannot become a realtime task");
    Ok(())
}

/// Takes CPUs on or off line, one after the other.
pub fn set_online(cpus: impl IntoIterator<Item = usize>, online: bool) -> Result<()> {
    for cpu in cpus {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/online");
        fs::write(&path, if online { "1" } else { "0" }).context(path)?;
    }
    Ok(())
}

/// The numbers of a list of ranges such as `0-3,8`, as files of /sys have it.
pub fn cpu_list(text: &str) -> Result<Vec<usize>> {
    let mut cpus = Vec::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<usize>()?..=last.parse()?);
    }
    Ok(cpus)
}
