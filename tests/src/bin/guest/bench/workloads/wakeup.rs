// SPDX-License-Identifier: GPL-2.0-only
//! Sleepers beside hogs: how late the sleepers run after their timers expire, and how fairly
//! the hogs share the rest.

use std::io::{PipeReader, Read, Write, pipe};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

use super::{Values, cpus, now, percentile_us, value};
use crate::bench::proc::Worker;
use crate::bench::workloads::shares::fairness;
use crate::hog::{Hog, Kind, shares};
use crate::sys::become_realtime;

const HOGS_A_CPU: usize = 2;
const SLEEPERS_A_CPU: usize = 1;
const WINDOW: Duration = Duration::from_secs(4);

const SETTLE: Duration = Duration::from_millis(200);
const RUN: Duration = Duration::from_micros(100);
/// Sleeps last at least this long and less than three times as long.
const SLEEP_US: u64 = 1000;

pub fn run(scale: f64) -> Result<Values> {
    become_realtime()?;
    let window = WINDOW.mul_f64(scale);
    let hogs = Hog::start_many(HOGS_A_CPU * cpus()?, Kind::default())?;
    sleep(SETTLE);
    let mut sleepers = Vec::new();
    for seed in 0..SLEEPERS_A_CPU * cpus()? {
        sleepers.push(sleeper(seed as u64, window)?);
    }
    let fair = fairness(&shares(&hogs, window)?);
    let mut late = Vec::new();
    for (worker, mut from) in sleepers {
        let mut data = Vec::new();
        from.read_to_end(&mut data)?;
        worker.finish()?;
        late.extend(data.as_chunks().0.iter().map(|ns| u64::from_ne_bytes(*ns)));
    }
    late.sort_unstable();
    Ok(vec![
        value("wakeup_p99", percentile_us(&late, 99)),
        value("wakeup_p50", percentile_us(&late, 50)),
        value("hogs_fair", fair),
        value("wakeups", late.len() as f64),
    ])
}

/// Writes all its wakeup latencies to the pipe at the end of the window.
fn sleeper(seed: u64, window: Duration) -> Result<(Worker, PipeReader)> {
    let (from, mut to) = pipe()?;
    let worker = Worker::start(|| {
        let mut late = Vec::new();
        let mut random = seed * 7919 + 1;
        let end = now()? + window;
        while now()? < end {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
            let us = SLEEP_US + (random >> 33) % (2 * SLEEP_US);
            let due = now()? + Duration::from_micros(us);
            clock_nanosleep(
                ClockId::CLOCK_MONOTONIC,
                ClockNanosleepFlags::TIMER_ABSTIME,
                &TimeSpec::from(due),
            )?;
            let woken = now()?;
            late.extend(((woken - due).as_nanos() as u64).to_ne_bytes());
            while now()? < woken + RUN {}
        }
        Ok(to.write_all(&late)?)
    })?;
    Ok((worker, from))
}
