// SPDX-License-Identifier: GPL-2.0-only
//! Where a sleeper wakes up while some CPUs are busy.

use std::io::{PipeReader, Read, Write, pipe};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use nix::sched::sched_getcpu;
use nix::unistd::Pid;

use super::{Values, cpus, sharing, times, value};
use crate::bench::proc::Worker;
use crate::hog::{self, Hog, Kind};

const WAKEUPS: usize = 500;
const SLEEP: Duration = Duration::from_micros(500);
const SETTLE: Duration = Duration::from_millis(100);

/// The CPUs near CPU 0.
struct Near {
    /// All CPUs of its LLC.
    llc: Vec<usize>,
    /// The first thread of each of its cores.
    firsts: Vec<usize>,
    /// The threads of CPU 0's own core.
    core: Vec<usize>,
}

impl Near {
    /// `None` if the test makes no sense on this topology.
    fn look(needs_far: bool) -> Result<Option<Self>> {
        const THREADS: &str = "topology/thread_siblings_list";
        let llc = sharing(0, "cache/index3/shared_cpu_list")?;
        let mut firsts = Vec::new();
        for &cpu in &llc {
            if sharing(cpu, THREADS)?.first() == Some(&cpu) {
                firsts.push(cpu);
            }
        }
        let core = sharing(0, THREADS)?;
        let has_far = llc.len() < cpus()?;
        let makes_sense = core.len() > 1 && firsts.len() > 1 && (has_far || !needs_far);
        Ok(makes_sense.then_some(Near { llc, firsts, core }))
    }
}

/// One thread of each core of the LLC is busy and the sleeper was on an idle sibling: only
/// other LLCs have idle cores.
pub fn llc_leave(scale: f64) -> Result<Values> {
    let Some(near) = Near::look(true)? else {
        return Ok(Vec::new());
    };
    let _hogs = hogs(&near.firsts)?;
    let all: Vec<_> = (0..cpus()?).collect();
    let home = near.core[1];
    let share = share_of_wakeups(times(WAKEUPS, scale), || {
        wake_from(home, &all).map(|cpu| !near.llc.contains(&cpu))
    })?;
    Ok(vec![value("llc_leave", share)])
}

/// One thread of the core is busy, the sleeper was on its sibling, and another core of the LLC
/// is wholly idle.
pub fn smt_busy_core(scale: f64) -> Result<Values> {
    let Some(near) = Near::look(false)? else {
        return Ok(Vec::new());
    };
    let _hogs = hogs(&near.core[..1])?;
    let home = near.core[1];
    let share = share_of_wakeups(times(WAKEUPS, scale), || {
        wake_from(home, &near.llc).map(|cpu| near.core.contains(&cpu))
    })?;
    Ok(vec![value("smt_busy_core", share)])
}

fn hogs(cpus: &[usize]) -> Result<Vec<Hog>> {
    let mut hogs = Vec::new();
    for &cpu in cpus {
        let hog = Hog::start(Kind::default())?;
        hog.allow([cpu])?;
        hogs.push(hog);
    }
    sleep(SETTLE);
    Ok(hogs)
}

/// Sleeps on `home`, then may wake up on any of `cpus`; returns where it did.
fn wake_from(home: usize, cpus: &[usize]) -> Result<usize> {
    allow(&[home])?;
    sleep(SLEEP);
    allow(cpus)?;
    sleep(SLEEP);
    Ok(sched_getcpu()?)
}

/// Runs `wakeup` in a worker, which is not a realtime task.
fn share_of_wakeups(count: usize, mut wakeup: impl FnMut() -> Result<bool>) -> Result<f64> {
    let (mut from, mut to): (PipeReader, _) = pipe()?;
    let worker = Worker::start(|| {
        for _ in 0..count {
            to.write_all(&[wakeup()?.into()])?;
        }
        Ok(())
    })?;
    let mut hits = vec![0; count];
    from.read_exact(&mut hits)?;
    worker.finish()?;
    Ok(hits.iter().map(|hit| f64::from(*hit)).sum::<f64>() / count as f64)
}

fn allow(cpus: &[usize]) -> Result<()> {
    hog::allow(Pid::from_raw(0), cpus.iter().copied())
}
