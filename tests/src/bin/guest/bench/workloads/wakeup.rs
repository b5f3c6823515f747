// SPDX-License-Identifier: GPL-2.0-only
//! Sleepers beside hogs: how late the sleepers run after their timers expire, and how fairly
//! the hogs share the rest.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use nix::unistd::Pid;

use super::{Values, cpus, now, percentile_us, value};
use crate::bench::proc::Worker;
use crate::bench::workloads::shares::fairness;
use crate::hog::{Hog, Kind, allow, shares};
use crate::sys::become_realtime;

const HOGS_A_CPU: usize = 2;
const SLEEPERS_A_CPU: usize = 1;
const WINDOW: Duration = Duration::from_secs(4);

/// On one CPU: few hogs, and a crowd.
const FEW: usize = 16;
const CROWD: usize = 300;
const CROWD_SETTLE: Duration = Duration::from_secs(1);

const SETTLE: Duration = Duration::from_millis(200);
/// How long a sleeper runs; its sleeps last at least `sleep_us` and less than three times as long.
#[derive(Clone, Copy)]
struct Pattern {
    run: Duration,
    sleep_us: u64,
}

const OFTEN: Pattern = Pattern {
    run: Duration::from_micros(100),
    sleep_us: 1000,
};

/// Less than a fair share beside the crowd.
const SELDOM: Pattern = Pattern {
    run: Duration::from_micros(10),
    sleep_us: 5000,
};

pub fn run(scale: f64) -> Result<Values> {
    become_realtime()?;
    let window = WINDOW.mul_f64(scale);
    let hogs = Hog::start_many(HOGS_A_CPU * cpus()?, Kind::default())?;
    sleep(SETTLE);
    let mut sleepers = Vec::new();
    for seed in 0..SLEEPERS_A_CPU * cpus()? {
        sleepers.push(Sleeper::start(seed as u64, window, OFTEN, None)?);
    }
    let fair = fairness(&shares(&hogs, window)?);
    let late = latencies(sleepers)?;
    Ok(vec![
        value("wakeup_p99", percentile_us(&late, 99)),
        value("wakeup_p50", percentile_us(&late, 50)),
        value("hogs_fair", fair),
        value("wakeups", late.len() as f64),
    ])
}

/// A sleeper and hogs on one CPU: first few hogs, then many.
pub fn crowd(scale: f64) -> Result<Values> {
    const CPU: usize = 0;
    become_realtime()?;
    let window = 2 * WINDOW.mul_f64(scale);
    let mut p99 = Vec::new();
    for hogs in [FEW, CROWD] {
        let hogs = Hog::start_many(
            hogs,
            Kind {
                cpus: &[CPU],
                ..Kind::default()
            },
        )?;
        sleep(CROWD_SETTLE);
        let late = latencies([Sleeper::start(0, window, SELDOM, Some(CPU))?])?;
        p99.push(percentile_us(&late, 99));
        Hog::end_all(hogs);
    }
    Ok(vec![
        value("crowd", p99[1]),
        value("crowd_growth", p99[1] / p99[0]),
    ])
}

/// A process that writes all its wakeup latencies to a pipe at the end of the window.
struct Sleeper {
    worker: Worker,
    from: PipeReader,
}

impl Sleeper {
    /// May run on one CPU, if it is given.
    fn start(seed: u64, window: Duration, pattern: Pattern, cpu: Option<usize>) -> Result<Self> {
        let (from, to) = pipe()?;
        let worker = Worker::start(|| {
            if let Some(cpu) = cpu {
                allow(Pid::from_raw(0), [cpu])?;
            }
            sleep_and_measure(seed, window, pattern, to)
        })?;
        Ok(Sleeper { worker, from })
    }
}

/// Waits for the sleepers' ends; sorted, ns.
fn latencies(sleepers: impl IntoIterator<Item = Sleeper>) -> Result<Vec<u64>> {
    let mut late = Vec::new();
    for Sleeper { worker, mut from } in sleepers {
        let mut data = Vec::new();
        from.read_to_end(&mut data)?;
        worker.finish()?;
        late.extend(data.as_chunks().0.iter().map(|ns| u64::from_ne_bytes(*ns)));
    }
    late.sort_unstable();
    Ok(late)
}

fn sleep_and_measure(
    seed: u64,
    window: Duration,
    pattern: Pattern,
    mut to: PipeWriter,
) -> Result<()> {
    let mut late = Vec::new();
    let mut random = seed * 7919 + 1;
    let end = now()? + window;
    while now()? < end {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
        let us = pattern.sleep_us + (random >> 33) % (2 * pattern.sleep_us);
        let due = now()? + Duration::from_micros(us);
        clock_nanosleep(
            ClockId::CLOCK_MONOTONIC,
            ClockNanosleepFlags::TIMER_ABSTIME,
            &TimeSpec::from(due),
        )?;
        let woken = now()?;
        late.extend(((woken - due).as_nanos() as u64).to_ne_bytes());
        while now()? < woken + pattern.run {}
    }
    Ok(to.write_all(&late)?)
}
