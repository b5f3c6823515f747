// SPDX-License-Identifier: GPL-2.0-only
//! A producer computes, sends an item and keeps computing; a consumer receives items and
//! computes. The producer does not sleep after a wakeup, so its CPU is a bad choice for the
//! consumer, although a pipe's wakeup is marked WF_SYNC.

use std::io::{Read, Write, pipe};
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sched::sched_getcpu;
use nix::sys::resource::{UsageWho, getrusage};

use super::{Values, now, percentile_us, times, value};
use crate::bench::proc::Worker;
use crate::hog::work;

const ITEMS: usize = 400;

/// Work per item. The consumer is faster, so that it sleeps before each item and catches up
/// after a delay.
const FIRST: Duration = Duration::from_micros(300);
const SECOND: Duration = Duration::from_micros(240);

pub fn run(scale: f64) -> Result<Values> {
    let items = times(ITEMS, scale);
    let (first, second) = (rounds(FIRST), rounds(SECOND));
    let (mut from, mut to) = pipe()?;
    let producer = Worker::start(|| {
        for _ in 0..items {
            work(first);
            let cpu = sched_getcpu()? as u64;
            let item = [now()?.as_nanos() as u64, cpu].map(u64::to_ne_bytes);
            to.write_all(item.as_flattened())?;
        }
        Ok(())
    })?;
    drop(to);

    let (mut late, mut delay) = (Vec::new(), 0);
    let mut stacked = 0;
    for _ in 0..items {
        let slept = sleeps()?;
        let mut item = [[0; 8]; 2];
        from.read_exact(item.as_flattened_mut())?;
        let woken = now()?.as_nanos() as u64;
        let cpu = sched_getcpu()? as u64;
        let [sent, sender] = item.map(u64::from_ne_bytes);
        let ns = woken.saturating_sub(sent);
        delay += ns;
        // With only two processes, other CPUs are idle.
        if sleeps()? > slept {
            late.push(ns);
            stacked += u32::from(cpu == sender);
        }
        work(second);
    }
    producer.finish()?;
    late.sort_unstable();
    Ok(vec![
        value("pipeline", percentile_us(&late, 50)),
        value("pipeline_delay", delay as f64 / items as f64 / 1e3),
        value(
            "pipeline_stacked",
            f64::from(stacked) / late.len().max(1) as f64,
        ),
        value("pipeline_wakeups", late.len() as f64),
    ])
}

/// How many times this process has slept.
fn sleeps() -> Result<i64> {
    Ok(getrusage(UsageWho::RUSAGE_SELF)?.voluntary_context_switches())
}

/// Rounds of work that take this long on an idle system. A count rather than a time, because
/// under icount the clock also advances while other CPUs execute.
fn rounds(time: Duration) -> usize {
    const TRIAL: usize = 2000;
    let start = Instant::now();
    work(TRIAL);
    (TRIAL as f64 * time.div_duration_f64(start.elapsed())).ceil() as usize
}
