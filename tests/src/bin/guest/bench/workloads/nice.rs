// SPDX-License-Identifier: GPL-2.0-only
//! Hogs of several nice levels, more than CPUs: how close each comes to the share that its
//! weight gives it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Values, cpus, value};
use crate::hog::{Hog, Kind, shares};
use crate::sys::become_realtime;

/// Levels and their weights: the kernel's sched_prio_to_weight[].
const LEVELS: &[(i32, f64)] = &[(-5, 3121.0), (0, 1024.0), (5, 335.0), (10, 110.0)];
/// Hogs of each level per 8 CPUs.
const EACH: usize = 3;
const WINDOW: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_millis(500);

pub fn run(scale: f64) -> Result<Values> {
    become_realtime()?;
    let cpus = cpus()?;
    let each = (cpus * EACH / 8).max(2);
    let mut hogs = Vec::new();
    for &(nice, _) in LEVELS {
        let kind = Kind {
            nice,
            ..Kind::default()
        };
        hogs.extend(Hog::start_many(each, kind)?);
    }
    sleep(SETTLE);
    let start = Instant::now();
    let got = shares(&hogs, WINDOW.mul_f64(scale))?;
    let window = start.elapsed();

    let weights: Vec<f64> = LEVELS.iter().map(|(_, weight)| *weight).collect();
    let ideal = ideal(&weights, each as f64, cpus as f64);
    let mut values = Vec::new();
    let mut error: f64 = 0.0;
    for ((got, ideal), (nice, _)) in got.chunks(each).zip(ideal).zip(LEVELS) {
        let got: Duration = got.iter().sum();
        let got = got.div_duration_f64(window) / each as f64;
        error = error.max((got / ideal - 1.0).abs());
        values.push(value(format!("nice_share/{nice}"), got / ideal));
    }
    values.push(value("nice_error", error));
    Ok(values)
}

/// The weight of a nice level.
pub fn weight(nice: i32) -> Option<f64> {
    let level = LEVELS.iter().find(|(level, _)| *level == nice);
    level.map(|(_, weight)| *weight)
}

/// CPUs for each task of each level: by weight, but at most one; the rest is distributed among
/// the others.
fn ideal(weights: &[f64], each: f64, mut cpus: f64) -> Vec<f64> {
    let mut shares = vec![None; weights.len()];
    loop {
        let open = |n: &usize| shares[*n].is_none();
        let sum: f64 = (0..weights.len())
            .filter(open)
            .map(|n| weights[n] * each)
            .sum();
        let full: Vec<_> = (0..weights.len())
            .filter(open)
            .filter(|n| cpus * weights[*n] / sum > 1.0)
            .collect();
        if full.is_empty() {
            let share = |n: usize| shares[n].unwrap_or(cpus * weights[n] / sum);
            return (0..weights.len()).map(share).collect();
        }
        for n in full {
            shares[n] = Some(1.0);
            cpus -= each;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ideal;

    #[test]
    fn by_weight() {
        assert_eq!(ideal(&[3.0, 1.0], 2.0, 2.0), [0.75, 0.25]);
    }

    #[test]
    fn none_gets_more_than_a_cpu() {
        let shares = ideal(&[30.0, 3.0, 1.0], 2.0, 4.0);
        assert_eq!(shares, [1.0, 0.75, 0.25]);
    }
}
