// SPDX-License-Identifier: GPL-2.0-only
//! All kinds of stress at once, in rounds: after each round the system must be in its initial
//! state.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Pid;
use scx_preload_tests::Report;

use crate::hog::{Hog, Kind};
use crate::kmsg::KernelLog;
use crate::other::{self, Other};
use crate::port::Port;
use crate::preload::{eject, is_ours, load, load_override, status, udev, udev_resumes, unload};
use crate::runner::end_session;
use crate::storm::{self, Counter};
use crate::suites::kernel_is_clean;
use crate::sys::{
    SCX_PRELOAD, bpf_objects, end_with_sysrq, memory, nothing_left, run, run_ok, scx_state,
    set_online, wait_for,
};

/// The soak boot has the host's clock: on a busy host, a task may get no CPU for some seconds.
const LIMIT: Duration = Duration::from_secs(40);

const CPUS: usize = 8;

/// Rounds until the kernel's caches and pools have reached their size.
const WARM_UP: usize = 2;

/// Allowed loss of available memory, and growth of the kernel's, in kB.
const LOST: u64 = 16 << 10;
const SLAB: u64 = 8 << 10;
const PERCPU: u64 = 1 << 10;

/// Memory counts as settled if less than this, in kB, is freed in a second.
const SETTLED: u64 = 256;

pub fn run_for(limit: Duration, port: &mut Port) -> Result<()> {
    let mut log = KernelLog::open()?;
    let mut counts = Counts::default();
    let storms = Storms::new()?;
    load(&[])?;
    unload()?;
    sleep(Duration::from_secs(1));
    let before = bpf_objects();
    let mut memory = Vec::new();
    let start = Instant::now();
    while start.elapsed() < limit || memory.len() <= WARM_UP + 1 {
        let done = round(&storms, &mut counts).and_then(|()| calm_down(before, &mut log));
        let now = done.with_context(|| format!("round {}: {counts:?}", memory.len() + 1))?;
        memory.push(now);
        port.send(&Report::Text {
            line: format!(
                "{:4.0} s  round {}  {now:?} kB  {}",
                start.elapsed().as_secs_f32(),
                memory.len(),
                storms.text()
            ),
        })?;
    }
    port.send(&Report::Text {
        line: format!("{counts:?}, {}", storms.text()),
    })?;
    is_flat(&memory[WARM_UP], &memory[memory.len() - 1])
}

/// How many times each has been done.
#[derive(Debug, Default)]
struct Counts {
    loads: usize,
    hand_overs: usize,
    bypass_flips: usize,
    /// Begun by the scheduler, not by the user.
    bypasses: usize,
    sysrqs: usize,
    ejections: usize,
}

fn round(storms: &Storms, counts: &mut Counts) -> Result<()> {
    let at_work = storms.start()?;
    load(&[])?;
    counts.loads += 1;
    at_work.go_on().context("the defaults")?;
    is_ours()?;

    for killed in [false, true] {
        {
            // The other scheduler does not handle CPU hotplug.
            let _all_stay = cpus_lock()?;
            let other = Other::fixture()?;
            sleep(Duration::from_millis(300));
            match killed {
                true => drop(other),
                false => other.stop()?,
            }
        }
        udev_resumes().with_context(|| format!("reattach; killed: {killed}"))?;
        counts.hand_overs += 1;
    }
    at_work.go_on().context("reattached")?;

    load_override("own_queue", &[])?;
    counts.loads += 1;
    for _ in 0..4 {
        for what in ["on", "off"] {
            let out = run(SCX_PRELOAD, &["bypass", what])?;
            let again = out.stderr.contains("began again");
            ensure!(out.code == Some(0) || again, "{}", out.stderr);
            counts.bypasses += usize::from(again);
            counts.bypass_flips += 1;
            sleep(Duration::from_millis(100));
        }
    }
    at_work.go_on().context("an override")?;
    is_ours()?;
    // It ignores affinities, so hotplug may leave tasks starving until a soft bypass.
    let bypass = &status()?["bypass"];
    counts.bypasses += usize::from(!bypass["on"].is_null());

    end_with_sysrq()?;
    udev()?;
    ensure!(scx_state()? == "disabled", "reattached after sysrq-S");
    run_ok(SCX_PRELOAD, &["load"])?;
    is_ours()?;
    counts.sysrqs += 1;
    counts.loads += 1;

    eject()?;
    other::disabled()?;
    udev_resumes().context("reattach after an error")?;
    counts.ejections += 1;
    at_work.go_on().context("after an error")?;
    is_ours()?;
    unload()
}

/// Ends all tasks and checks that the round left nothing behind.
fn calm_down(before: [usize; 3], log: &mut KernelLog) -> Result<Memory> {
    end_session(Pid::this());
    set_online(1..CPUS, true)?;
    nothing_left(before)?;
    kernel_is_clean()?;
    is_quiet(log)?;
    settled()
}

/// Waits until the kernel has freed what it frees asynchronously: cgroups, stacks, RCU
/// callbacks.
fn settled() -> Result<Memory> {
    let mut last = Memory::now()?;
    wait_for(LIMIT, || {
        fs::write("/proc/sys/vm/drop_caches", "3")?;
        sleep(Duration::from_secs(1));
        let before = std::mem::replace(&mut last, Memory::now()?);
        let more = last.available.saturating_sub(before.available);
        ensure!(more < SETTLED, "{more} kB were freed within a second");
        Ok(())
    })?;
    Ok(last)
}

fn is_flat(from: &Memory, to: &Memory) -> Result<()> {
    ensure!(
        to.available + LOST >= from.available
            && to.slab <= from.slab + SLAB
            && to.percpu <= from.percpu + PERCPU,
        "memory leaked: {from:?}, then {to:?}"
    );
    Ok(())
}

#[derive(Clone, Copy, Debug)]
struct Memory {
    available: u64,
    slab: u64,
    percpu: u64,
}

impl Memory {
    fn now() -> Result<Self> {
        Ok(Self {
            available: memory("MemAvailable")?,
            slab: memory("Slab")?,
            percpu: memory("Percpu")?,
        })
    }
}

/// Progress of the stress that runs while schedulers change.
struct Storms {
    forks: Counter,
    cgroups: Counter,
    affinities: Counter,
    hotplug: Counter,
    hackbench: Counter,
    stress_ng: Counter,
}

/// The running stress, ended when dropped.
struct AtWork<'a> {
    storms: &'a Storms,
    hogs: Vec<Hog>,
    _others: Vec<Hog>,
}

impl Storms {
    fn new() -> Result<Self> {
        Ok(Self {
            forks: Counter::new()?,
            cgroups: Counter::new()?,
            affinities: Counter::new()?,
            hotplug: Counter::new()?,
            hackbench: Counter::new()?,
            stress_ng: Counter::new()?,
        })
    }

    fn all(&self) -> [(&'static str, u64); 6] {
        [
            ("forks", self.forks.get()),
            ("cgroups", self.cgroups.get()),
            ("affinity changes", self.affinities.get()),
            ("CPU hotplugs", self.hotplug.get()),
            ("hackbench runs", self.hackbench.get()),
            ("stress-ng runs", self.stress_ng.get()),
        ]
    }

    fn text(&self) -> String {
        self.all().map(|(what, n)| format!("{n} {what}")).join(", ")
    }

    fn start(&self) -> Result<AtWork<'_>> {
        let mut hogs = Hog::start_many(6, Kind::default())?;
        let pattern = Some((Duration::from_millis(1), Duration::from_millis(8)));
        let sleeper = Kind {
            pattern,
            ..Kind::default()
        };
        hogs.extend(Hog::start_many(4, sleeper)?);
        let pids = hogs.iter().map(Hog::pid).collect();
        let others = vec![
            storm::forks(self.forks)?,
            storm::cgroups(self.cgroups)?,
            storm::affinities(pids, CPUS, self.affinities)?,
            hotplug(self.hotplug)?,
            hackbench(self.hackbench)?,
            stress_ng(self.stress_ng)?,
            Hog::start(Kind {
                nice: 10,
                ..Kind::default()
            })?,
        ];
        Ok(AtWork {
            storms: self,
            hogs,
            _others: others,
        })
    }
}

impl AtWork<'_> {
    /// Waits until each task and each storm has made progress.
    fn go_on(&self) -> Result<()> {
        let before = self.storms.all();
        let times = || {
            self.hogs
                .iter()
                .map(Hog::cpu_time)
                .collect::<Result<Vec<_>>>()
        };
        let then = times()?;
        wait_for(LIMIT, || {
            let now = self.storms.all();
            let stuck: Vec<_> = before.iter().zip(now).filter(|(a, b)| a.1 == b.1).collect();
            ensure!(stuck.is_empty(), "no progress of {stuck:?}");
            let times = times()?;
            let stuck = times.iter().zip(&then).position(|(now, then)| now == then);
            ensure!(stuck.is_none(), "task {stuck:?} is starved");
            Ok(())
        })
        .inspect_err(|_| show_tasks())
    }
}

/// Prints to the console log what each task waits for.
fn show_tasks() {
    for dir in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap_or_default();
        let (stat, status) = (read("stat"), read("status"));
        let of_status = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        if !of_status("VmSize:").is_empty() || of_status("State:").starts_with('Z') {
            eprintln!(
                "CPUs {} {} {}\n  {stat}",
                of_status("Cpus_allowed_list:"),
                read("wchan"),
                read("syscall").trim(),
            );
        }
    }
}

/// Held to take CPUs offline, or to prevent it.
fn cpus_lock() -> Result<Flock<File>> {
    let file = File::create("/run/cpus.lock")?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

/// Takes one CPU after the other offline, in steps of 3.
fn hotplug(count: Counter) -> Result<Hog> {
    Hog::run(move || {
        for n in 0.. {
            let cpu = 1 + n * 3 % (CPUS - 1);
            {
                let _lock = cpus_lock()?;
                set_online([cpu], false)?;
                sleep(Duration::from_millis(100));
                set_online([cpu], true)?;
            }
            count.add();
            sleep(Duration::from_millis(200));
        }
        Ok(())
    })
}

/// The benchmark's workload of many communicating tasks.
fn hackbench(count: Counter) -> Result<Hog> {
    Hog::run(move || {
        loop {
            let ended = Command::new("/proc/self/exe")
                .args(["--workload", "hackbench", "0.02", ""])
                .stdout(Stdio::null())
                .status()?;
            ensure!(ended.success(), "hackbench: {ended}");
            count.add();
        }
    })
}

/// The stressors of class scheduler that need only CPUs, all at once, without those that
/// change policies: before our scheduler is loaded, a SCHED_IDLE task preempted in an RCU
/// read-side critical section stalls RCU, and on an RCU stall the kernel ejects the scheduler
/// that runs by then.
fn stress_ng(count: Counter) -> Result<Hog> {
    const STRESSORS: [&str; 10] = [
        "affinity", "clone", "fork", "vfork", "switch", "yield", "nice", "pthread", "futex",
        "zombie",
    ];
    Hog::run(move || {
        loop {
            let stressors = STRESSORS
                .iter()
                .flat_map(|name| [format!("--{name}"), "1".into()]);
            let ended = Command::new("/usr/bin/stress-ng")
                .args(["--timeout", "2", "--quiet"])
                .args(stressors)
                .status()?;
            ensure!(ended.success(), "stress-ng: {ended}");
            count.add();
        }
    })
}

/// The kernel has not complained since the last call.
fn is_quiet(log: &mut KernelLog) -> Result<()> {
    const COMPLAINTS: [&str; 5] = ["WARNING:", "BUG:", "stall", "Oops", "hung_task"];
    let records = log.records();
    let complaints: Vec<_> = records
        .iter()
        .filter(|record| COMPLAINTS.iter().any(|word| record.contains(word)))
        .collect();
    ensure!(complaints.is_empty(), "the kernel logged {complaints:#?}");
    Ok(())
}
