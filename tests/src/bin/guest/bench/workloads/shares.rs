// SPDX-License-Identifier: GPL-2.0-only
//! Hogs that share the CPUs: utilization and fairness.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use scx_preload_tests::fair::{Group, ONE_BESIDE_SOME_THAT_MAY_LEAVE, fair_shares};

use super::{Values, cpus, value};
use crate::hog::{Hog, Kind, shares};
use crate::sys::become_realtime;

const WINDOW: Duration = Duration::from_secs(4);
const SETTLE: Duration = Duration::from_millis(500);

/// A pinned hog on each CPU, and three quarters as many free ones.
pub fn pinned(scale: f64) -> Result<Values> {
    let cpus = cpus()?;
    let each: Vec<_> = (0..cpus).map(|cpu| vec![cpu]).collect();
    let free = cpus * 3 / 4;
    let time = measure(&each, free, WINDOW.mul_f64(scale))?;
    let fair = cpus as f64 / (cpus + free) as f64;
    let mean = time.of[..cpus]
        .iter()
        .sum::<Duration>()
        .div_f64(cpus as f64);
    Ok(vec![
        value("pinned_use", time.used()),
        value("pinned_fair", fairness(&time.of[..cpus])),
        value(
            "pinned_error",
            (mean.div_duration_f64(time.window) / fair - 1.0).abs(),
        ),
    ])
}

/// Hogs that may run on some of four CPUs only.
pub fn affinity(scale: f64) -> Result<Values> {
    let groups = &ONE_BESIDE_SOME_THAT_MAY_LEAVE;
    let of_group = |group: &Group| vec![group.cpus().collect(); group.tasks];
    let each: Vec<_> = groups.iter().flat_map(of_group).collect();
    let time = measure(&each, 0, 2 * WINDOW.mul_f64(scale))?;
    let parts = time.of.iter().zip(fair_shares(groups));
    let parts = parts.map(|(of, fair)| of.div_duration_f64(time.window) / fair);
    Ok(vec![value("affinity", parts.fold(f64::MAX, f64::min))])
}

/// One and a half times as many hogs as CPUs.
pub fn odd(scale: f64) -> Result<Values> {
    let time = measure(&[], cpus()? * 3 / 2, WINDOW.mul_f64(scale))?;
    Ok(vec![
        value("odd_fair", fairness(&time.of)),
        value("odd_use", time.used()),
    ])
}

/// CPU time of each hog within a window, the pinned hogs first.
struct Time {
    of: Vec<Duration>,
    window: Duration,
    cpus: usize,
}

impl Time {
    fn used(&self) -> f64 {
        let used: Duration = self.of.iter().sum();
        used.div_duration_f64(self.window) / self.cpus as f64
    }
}

fn measure(pinned: &[Vec<usize>], free: usize, window: Duration) -> Result<Time> {
    become_realtime()?;
    let mut hogs = Vec::new();
    for cpus in pinned {
        let hog = Hog::start(Kind::default())?;
        hog.allow(cpus.iter().copied())?;
        hogs.push(hog);
    }
    hogs.extend(Hog::start_many(free, Kind::default())?);
    sleep(SETTLE);
    let start = Instant::now();
    let of = shares(&hogs, window)?;
    Ok(Time {
        of,
        window: start.elapsed(),
        cpus: cpus()?,
    })
}

/// Ratio of the least to the greatest time.
pub fn fairness(times: &[Duration]) -> f64 {
    let min = times.iter().min().copied().unwrap_or_default();
    let max = times.iter().max().copied().unwrap_or_default();
    if max.is_zero() {
        return 0.0;
    }
    min.div_duration_f64(max)
}
