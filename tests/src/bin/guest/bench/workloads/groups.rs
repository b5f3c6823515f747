// SPDX-License-Identifier: GPL-2.0-only
//! Hogs in cgroups of several weights, more than CPUs: how close each cgroup comes to the
//! share that its weight gives it, however many hogs are in it.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Values, cpus, value};
use crate::hog::{Hog, Kind, shares};
use crate::sys::become_realtime;

const CONTROLLERS: &str = "/sys/fs/cgroup/cgroup.subtree_control";
/// cpu.weight and hogs per 8 CPUs, enough that each cgroup can use its share.
const GROUPS: &[(&str, u32, usize)] = &[
    ("/sys/fs/cgroup/few", 100, 4),
    ("/sys/fs/cgroup/many", 100, 12),
    ("/sys/fs/cgroup/heavy", 300, 6),
];
const WINDOW: Duration = Duration::from_secs(8);
const SETTLE: Duration = Duration::from_secs(2);

pub fn run(scale: f64) -> Result<Values> {
    become_realtime()?;
    fs::write(CONTROLLERS, "+cpu").context("cannot enable the cpu controller")?;
    let result = measure(scale);
    for (cgroup, ..) in GROUPS {
        // Fails while killed hogs are still in the cgroup, which is then reused.
        let _ = fs::remove_dir(cgroup);
    }
    result
}

fn measure(scale: f64) -> Result<Values> {
    let cpus = cpus()?;
    let mut hogs = Vec::new();
    for &(cgroup, weight, count) in GROUPS {
        fs::create_dir_all(cgroup)?;
        fs::write(format!("{cgroup}/cpu.weight"), weight.to_string())?;
        let kind = Kind {
            cgroup,
            ..Kind::default()
        };
        hogs.extend(Hog::start_many((cpus * count).div_ceil(8), kind)?);
    }
    sleep(SETTLE);
    let start = Instant::now();
    let mut got = shares(&hogs, WINDOW.mul_f64(scale))?.into_iter();
    let window = start.elapsed();

    let weights: u32 = GROUPS.iter().map(|(_, weight, _)| weight).sum();
    let mut error: f64 = 0.0;
    for &(_, weight, count) in GROUPS {
        let of_group: Duration = got.by_ref().take((cpus * count).div_ceil(8)).sum();
        let ideal = cpus as f64 * f64::from(weight) / f64::from(weights);
        error = error.max((of_group.div_duration_f64(window) / ideal - 1.0).abs());
    }
    Ok(vec![value("group_error", error)])
}
