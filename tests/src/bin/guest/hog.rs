// SPDX-License-Identifier: GPL-2.0-only
//! Tasks to schedule: processes that are always runnable, or that sleep and wake.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io::{PipeReader, Read, Write, pipe};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::libc;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::{ForkResult, Pid, fork};

use crate::sys::{become_realtime, read, set_policy};

/// A child process, killed when dropped.
pub struct Hog(Pid);

/// For each CPU, the set of only this CPU.
pub const ONLY: [&[usize]; 8] = [&[0], &[1], &[2], &[3], &[4], &[5], &[6], &[7]];

/// Properties of a hog.
#[derive(Clone, Copy, Default)]
pub struct Kind {
    /// Name, at most 15 bytes.
    pub comm: &'static str,
    /// Allowed CPUs; empty: all.
    pub cpus: &'static [usize],
    /// Nice level.
    pub nice: i32,
    /// A realtime task, outside of sched_ext.
    pub realtime: bool,
    /// SCHED_IDLE.
    pub idle: bool,
    /// Path of its cgroup; empty: its parent's.
    pub cgroup: &'static str,
    /// Run and sleep times, repeated; `None`: never sleep.
    pub pattern: Option<(Duration, Duration)>,
}

impl Hog {
    pub fn start(kind: Kind) -> Result<Self> {
        Self::start_with(kind, || match kind.pattern {
            Some((run, pause)) => run_and_sleep(run, pause),
            None => hog(),
        })
    }

    fn start_with(kind: Kind, body: impl FnOnce() -> Result<Infallible>) -> Result<Self> {
        Self::run(move || kind.become_it().and_then(|()| body().map(drop)))
    }

    /// A process that runs `what` and dies with us.
    pub fn run(what: impl FnOnce() -> Result<()>) -> Result<Self> {
        // SAFETY: a test has one thread, so the child may continue like the parent.
        match unsafe { fork() }.context("cannot fork")? {
            ForkResult::Parent { child } => Ok(Self(child)),
            ForkResult::Child => {
                let done = set_pdeathsig(Signal::SIGKILL).map_err(Into::into);
                if let Err(err) = done.and_then(|()| what()) {
                    eprintln!("hog: {err:#}");
                }
                std::process::exit(1);
            }
        }
    }

    /// Kills all before it waits for the first: each needs a turn to exit, beside those that
    /// are alive.
    pub fn end_all(hogs: Vec<Self>) {
        for hog in &hogs {
            let _ = kill(hog.0, Signal::SIGKILL);
        }
    }

    pub fn start_many(count: usize, kind: Kind) -> Result<Vec<Self>> {
        (0..count).map(|_| Self::start(kind)).collect()
    }

    /// Tasks that all wake up at the start of each `period` and run for `run`.
    pub fn start_in_step(
        count: usize,
        kind: Kind,
        run: Duration,
        period: Duration,
    ) -> Result<Vec<Self>> {
        let first = Instant::now();
        let start = || Self::start_with(kind, || run_in_step(first, run, period));
        (0..count).map(|_| start()).collect()
    }

    pub fn pid(&self) -> Pid {
        self.0
    }

    /// Changes its allowed CPUs.
    pub fn allow(&self, cpus: impl IntoIterator<Item = usize>) -> Result<()> {
        allow(self.0, cpus)
    }

    /// CPU time so far, including the running slice; schedstat is only updated at ticks,
    /// which an emulated CPU can miss for long.
    pub fn cpu_time(&self) -> Result<Duration> {
        let clock = clock_getcpuclockid(self.0).context("a hog has no CPU clock")?;
        Ok(clock.now().context("cannot read a hog's CPU clock")?.into())
    }

    /// Time spent runnable but not running.
    pub fn waited(&self) -> Result<Duration> {
        let stat = read(format!("/proc/{}/schedstat", self.0))?;
        let waited = stat.split(' ').nth(1).context("cannot parse schedstat")?;
        Ok(Duration::from_nanos(waited.parse()?))
    }

    /// Of the wakeups within `window`, the number and the mean time until it ran.
    pub fn wakeups(&self, window: Duration) -> Result<(u64, Duration)> {
        let (waited, slept) = (self.waited()?, self.sleeps()?);
        std::thread::sleep(window);
        let (waited, slept) = (self.waited()? - waited, self.sleeps()? - slept);
        let mean = waited / slept.max(1) as u32;
        println!("{slept} wakeups, {mean:.1?} of waiting each");
        Ok((slept, mean))
    }

    /// Voluntary context switches.
    pub fn sleeps(&self) -> Result<u64> {
        self.switches("voluntary_ctxt_switches:")
    }

    /// Current or last CPU.
    pub fn cpu(&self) -> Result<usize> {
        let stat = read(format!("/proc/{}/stat", self.0))?;
        let (_, rest) = stat.rsplit_once(") ").context("cannot parse stat")?;
        let field = rest.split(' ').nth(36).context("cannot parse stat")?;
        Ok(field.parse()?)
    }

    /// Involuntary context switches.
    pub fn preempted(&self) -> Result<u64> {
        self.switches("nonvoluntary_ctxt_switches:")
    }

    fn switches(&self, which: &str) -> Result<u64> {
        let status = read(format!("/proc/{}/status", self.0))?;
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix(which))
            .context("no context switches in status")?;
        Ok(line.trim().parse()?)
    }
}

/// Tasks in a ring: each sleeps until its predecessor wakes it, works, and wakes its
/// successor.
pub struct Ring {
    pub links: Vec<Hog>,
    rounds: PipeReader,
}

impl Ring {
    /// Each link works for `turn` of CPU time.
    pub fn start(count: usize, kind: Kind, turn: Duration) -> Result<Self> {
        let pipes = (0..count).map(|_| pipe());
        let pipes = pipes.collect::<std::io::Result<Vec<_>>>()?;
        let (rounds, mut to_us) = pipe()?;
        let link = |n: usize| {
            let (mut from, mut to) = (&pipes[n].0, &pipes[(n + 1) % count].1);
            Hog::start_with(kind, || {
                let mut start = Instant::now();
                loop {
                    from.read_exact(&mut [0])?;
                    if n == 0 {
                        let now = Instant::now();
                        let round = (now - start).as_nanos() as u64;
                        to_us.write_all(&round.to_ne_bytes())?;
                        start = now;
                    }
                    use_cpu(turn)?;
                    to.write_all(&[0])?;
                }
            })
        };
        let links = (0..count).map(link).collect::<Result<_>>()?;
        (&pipes[0].1).write_all(&[0])?;
        Ok(Ring { links, rounds })
    }

    /// Stops the ring; returns the duration of each round, up to the pipe's capacity of
    /// some thousands.
    pub fn stop(self) -> Result<Vec<Duration>> {
        let Ring { links, mut rounds } = self;
        drop(links);
        let mut bytes = Vec::new();
        rounds.read_to_end(&mut bytes)?;
        let (rounds, _) = bytes.as_chunks();
        let ns = rounds.iter().map(|round| u64::from_ne_bytes(*round));
        Ok(ns.map(Duration::from_nanos).collect())
    }
}

/// Changes a task's allowed CPUs; pid 0: our own.
pub fn allow(pid: Pid, cpus: impl IntoIterator<Item = usize>) -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(cpu)?;
    }
    sched_setaffinity(pid, &set).context("cannot set the affinity")
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

impl Kind {
    fn become_it(&self) -> Result<()> {
        if !self.comm.is_empty() {
            let name = CString::new(self.comm)?;
            nix::sys::prctl::set_name(&name).context("cannot set the name")?;
        }
        if self.nice != 0 {
            // SAFETY: setpriority() takes no pointers.
            let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, self.nice) };
            if done != 0 {
                bail!("cannot set nice {}", self.nice);
            }
        }
        if self.realtime {
            become_realtime()?;
        }
        if self.idle {
            set_policy(libc::SCHED_IDLE, 0)?;
        }
        if !self.cgroup.is_empty() {
            fs::write(format!("{}/cgroup.procs", self.cgroup), "0")
                .with_context(|| format!("cannot move to {}", self.cgroup))?;
        }
        if !self.cpus.is_empty() {
            allow(Pid::from_raw(0), self.cpus.iter().copied())?;
        }
        Ok(())
    }
}

fn run_and_sleep(run: Duration, pause: Duration) -> ! {
    loop {
        run_for(run);
        std::thread::sleep(pause);
    }
}

/// The first period begins at `first`.
fn run_in_step(first: Instant, run: Duration, period: Duration) -> ! {
    loop {
        run_for(run);
        let passed = first.elapsed().as_nanos() % period.as_nanos();
        std::thread::sleep(period - Duration::from_nanos(passed as u64));
    }
}

/// Spins for this wall time, including time without the CPU.
pub fn run_for(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Spins for this CPU time.
fn use_cpu(time: Duration) -> Result<()> {
    let used = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let end = used()? + time;
    while used()? < end {
        std::hint::spin_loop();
    }
    Ok(())
}

/// Runs for good.
pub fn hog() -> ! {
    loop {
        work(usize::MAX);
    }
}

/// Uses a CPU. QEMU switches to the next emulated CPU at each spin_loop(): often enough
/// for others to wake in time, rarely enough to keep the overhead low.
pub fn work(rounds: usize) {
    let mut x = 1_u64;
    for _ in 0..rounds {
        for n in 0..16 {
            x = std::hint::black_box(x.rotate_left(7).wrapping_mul(0x9e37_79b9) ^ n);
            x = (x ^ (x >> 31)).wrapping_add(n).rotate_left(11) ^ (x << 5);
            x = (x ^ (x >> 17)).wrapping_add(n).rotate_left(23) ^ (x << 9);
        }
        std::hint::spin_loop();
    }
}

/// CPU time of each hog within `window`.
pub fn shares(hogs: &[Hog], window: Duration) -> Result<Vec<Duration>> {
    let times = || hogs.iter().map(Hog::cpu_time).collect::<Result<Vec<_>>>();
    let before = times()?;
    std::thread::sleep(window);
    Ok(times()?.iter().zip(before).map(|(a, b)| *a - b).collect())
}

/// In seconds.
pub fn sum(times: &[Duration]) -> f64 {
    times.iter().map(Duration::as_secs_f64).sum()
}

/// CPU usage of hogs since a start time.
pub struct Usage<'a> {
    hogs: &'a [Hog],
    from: Vec<(Instant, Duration)>,
}

impl<'a> Usage<'a> {
    pub fn start(hogs: &'a [Hog]) -> Result<Self> {
        // Reading is slow with many emulated CPUs, so each hog has its own start time.
        let times = hogs.iter().map(|hog| Ok((Instant::now(), hog.cpu_time()?)));
        let from = times.collect::<Result<_>>()?;
        Ok(Usage { hogs, from })
    }

    /// Fraction of a CPU that each has used since.
    pub fn parts(&self) -> Result<Vec<f64>> {
        let parts = self
            .hogs
            .iter()
            .zip(&self.from)
            .map(|(hog, (start, used))| {
                let time = start.elapsed();
                Ok((hog.cpu_time()? - *used).div_duration_f64(time))
            });
        parts.collect()
    }
}
