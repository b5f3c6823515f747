// SPDX-License-Identifier: GPL-2.0-only
//! The workloads by name. Each runs in a process of its own and returns values. The constants
//! at the top of its file give the amount of work at a scale of 1.

mod bpf_cost;
mod fan_out;
mod groups;
mod isolated;
mod messaging;
mod nice;
mod ping_pong;
mod pipeline;
mod placement;
mod shares;
pub mod skew;
mod spawn;
mod switch_storm;
mod wakeup;
mod yield_storm;

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use scx_preload_tests::bench::ISOLATED;

use super::Values;

pub use spawn::run_helper;

type Run = fn(f64) -> Result<Values>;

const ALL: &[(&str, Run)] = &[
    ("ping_pong", ping_pong::run),
    ("ping_pong_4", ping_pong::four),
    ("pipeline", pipeline::run),
    ("messaging", messaging::messaging),
    ("hackbench", messaging::hackbench),
    ("switch_storm", switch_storm::run),
    ("yield_storm", yield_storm::run),
    ("fan_out", fan_out::run),
    ("fan_out_4", fan_out::narrow),
    ("fan_out_32", fan_out::wide),
    ("spawn", spawn::spawn),
    ("exec", spawn::exec),
    ("make_like", spawn::make_like),
    ("wakeup_p99", wakeup::run),
    ("crowd", wakeup::crowd),
    ("pinned_use", shares::pinned),
    ("affinity", shares::affinity),
    (ISOLATED, isolated::run),
    ("odd_fair", shares::odd),
    ("nice_error", nice::run),
    ("group_error", groups::run),
    ("llc_leave", placement::llc_leave),
    ("smt_busy_core", placement::smt_busy_core),
    ("bpf_ms_5000", bpf_cost::run_time),
    ("verified_insns", bpf_cost::verified_insns),
];

pub fn find(name: &str) -> Result<Run> {
    let found = ALL.iter().find(|(n, _)| *n == name);
    found
        .map(|(_, run)| *run)
        .with_context(|| format!("unknown workload {name:?}"))
}

fn value(name: impl Into<String>, value: f64) -> (String, f64) {
    (name.into(), value)
}

/// A count times the scale, at least 1.
fn times(count: usize, scale: f64) -> usize {
    ((count as f64 * scale).round() as usize).max(1)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// CLOCK_MONOTONIC, which is comparable across CPUs.
fn now() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_MONOTONIC)?.into())
}

fn percentile_us(sorted: &[u64], percent: usize) -> f64 {
    let at = sorted.len() * percent / 100;
    sorted.get(at).map_or(0.0, |ns| *ns as f64 / 1e3)
}

fn cpus() -> Result<usize> {
    Ok(thread::available_parallelism()?.get())
}

/// Parses a CPU list of sysfs such as `0-3,8`.
fn cpu_list(text: &str) -> Result<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse()?..=last.parse::<usize>()?);
    }
    Ok(cpus)
}

/// CPUs that share something with `cpu`: the list in file `what` of its sysfs directory.
fn sharing(cpu: usize, what: &str) -> Result<Vec<usize>> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/{what}");
    cpu_list(&fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(cpu_list("0-2,8\n").unwrap(), [0, 1, 2, 8]);
        assert_eq!(cpu_list("\n").unwrap(), [0; 0]);
    }

    #[test]
    fn every_workload_of_the_table_is_here() {
        let skewed = skew::LOADS.iter().map(|load| load.name);
        let here: Vec<_> = ALL.iter().map(|(name, _)| *name).chain(skewed).collect();
        assert_eq!(here, scx_preload_tests::bench::workloads());
    }
}
