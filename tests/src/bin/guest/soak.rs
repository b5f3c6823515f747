// SPDX-License-Identifier: GPL-2.0-only
//! All that a scheduler has to stand, at once and again and again: the machine is as it
//! was after each round, however many there are.

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

/// A busy host gives a task no CPU for some seconds.
const LIMIT: Duration = Duration::from_secs(40);

const CPUS: usize = 8;

/// Caches and pools of the kernel's have their size after so many rounds.
const WARM_UP: usize = 2;

/// What may be missing of the memory at the end, in kB, and what the kernel may have more.
const LOST: u64 = 16 << 10;
const SLAB: u64 = 8 << 10;
const PERCPU: u64 = 1 << 10;

/// What may come free in a second when all is over, in kB.
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

/// How often each has been done.
#[derive(Debug, Default)]
struct Counts {
    loads: usize,
    hand_overs: usize,
    bypass_flips: usize,
    /// Not ended by who had begun it.
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
            // The other one does not know of CPUs that go.
            let _all_stay = cpus_lock()?;
            let other = Other::fixture()?;
            sleep(Duration::from_millis(300));
            match killed {
                true => drop(other),
                false => other.stop()?,
            }
        }
        udev_resumes().with_context(|| format!("back; killed: {killed}"))?;
        counts.hand_overs += 1;
    }
    at_work.go_on().context("back")?;

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
    // It knows no affinities, so that CPUs that go may leave tasks to be rescued.
    let bypass = &status()?["bypass"];
    counts.bypasses += usize::from(!bypass["on"].is_null());

    end_with_sysrq()?;
    udev()?;
    ensure!(scx_state()? == "disabled", "back after sysrq-S");
    run_ok(SCX_PRELOAD, &["load"])?;
    is_ours()?;
    counts.sysrqs += 1;
    counts.loads += 1;

    eject()?;
    other::disabled()?;
    udev_resumes().context("back after an error")?;
    counts.ejections += 1;
    at_work.go_on().context("after an error")?;
    is_ours()?;
    unload()
}

/// Nothing runs and nothing is loaded: what is left of the round?
fn calm_down(before: [usize; 3], log: &mut KernelLog) -> Result<Memory> {
    end_session(Pid::this());
    set_online(1..CPUS, true)?;
    nothing_left(before)?;
    kernel_is_clean()?;
    is_quiet(log)?;
    settled()
}

/// What the kernel frees later is free, too: cgroups, stacks, what waits for RCU.
fn settled() -> Result<Memory> {
    let mut last = Memory::now()?;
    wait_for(LIMIT, || {
        fs::write("/proc/sys/vm/drop_caches", "3")?;
        sleep(Duration::from_secs(1));
        let before = std::mem::replace(&mut last, Memory::now()?);
        let more = last.available.saturating_sub(before.available);
        ensure!(more < SETTLED, "{more} kB came free within a second");
        Ok(())
    })?;
    Ok(last)
}

fn is_flat(from: &Memory, to: &Memory) -> Result<()> {
    ensure!(
        to.available + LOST >= from.available
            && to.slab <= from.slab + SLAB
            && to.percpu <= from.percpu + PERCPU,
        "memory is not flat: {from:?}, then {to:?}"
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

/// What goes on while the schedulers change.
struct Storms {
    forks: Counter,
    cgroups: Counter,
    affinities: Counter,
    hotplug: Counter,
    hackbench: Counter,
    stress_ng: Counter,
}

/// All of it, until it is dropped.
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
            ("affinities", self.affinities.get()),
            ("CPUs off and on", self.hotplug.get()),
            ("hackbenches", self.hackbench.get()),
            ("stress-ngs", self.stress_ng.get()),
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
    /// Each task and each storm does.
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
            ensure!(stuck.is_empty(), "no more of {stuck:?}");
            let times = times()?;
            let stuck = times.iter().zip(&then).position(|(now, then)| now == then);
            ensure!(stuck.is_none(), "task {stuck:?} does not run");
            Ok(())
        })
        .inspect_err(|_| show_tasks())
    }
}

/// In the console log: what does one that stands still wait for?
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

/// Whoever has it decides which CPUs there are.
fn cpus_lock() -> Result<Flock<File>> {
    let file = File::create("/run/cpus.lock")?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

/// One CPU after the other, in no order that has to do with their numbers.
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

/// Many that talk to each other, as the benchmark has it.
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

/// Those of its scheduler class that need no more than CPUs, all at once. Not those that
/// change policies: until ours is loaded, one with SCHED_IDLE that is preempted in a
/// reader's section stalls RCU, for which the kernel then ends whichever scheduler there is.
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

/// No complaint of the kernel's since it was asked last.
fn is_quiet(log: &mut KernelLog) -> Result<()> {
    const COMPLAINTS: [&str; 5] = ["WARNING:", "BUG:", "stall", "Oops", "hung_task"];
    let records = log.records();
    let complaints: Vec<_> = records
        .iter()
        .filter(|record| COMPLAINTS.iter().any(|word| record.contains(word)))
        .collect();
    ensure!(complaints.is_empty(), "the kernel says {complaints:#?}");
    Ok(())
}
