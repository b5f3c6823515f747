// SPDX-License-Identifier: GPL-2.0-only
//! The cost of a scheduler's BPF programs, at run time and in the verifier.

use std::fs;

use anyhow::{Context, Result};

use super::{Values, ping_pong, value};
use crate::bench::bpf::{Program, programs};

const ROUND_TRIPS: usize = 5000;
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Time in BPF for a fixed number of round trips, whatever the scale.
pub fn run_time(_: f64) -> Result<Values> {
    if programs().is_empty() {
        return Ok(Vec::new());
    }
    fs::write(STATS, "1").with_context(|| format!("cannot write {STATS}"))?;
    let before = programs();
    let done = ping_pong::round_trips(ROUND_TRIPS);
    let after = programs();
    fs::write(STATS, "0")?;
    done?;

    let mut values = Vec::new();
    let mut sum = 0;
    for program in after {
        let id = program.id;
        let earlier = before.iter().find(|p| p.id == id);
        let (ns, runs) = earlier.map_or((0, 0), |p| (p.run_ns, p.runs));
        let (ns, runs) = (program.run_ns - ns, program.runs - runs);
        sum += ns;
        if runs > 0 {
            let name = &program.callback;
            values.push(value(format!("ns/{name}"), ns as f64 / runs as f64));
            values.push(value(format!("calls/{name}"), runs as f64));
        }
    }
    values.push(value("bpf_ms_5000", sum as f64 / 1e6));
    Ok(values)
}

pub fn verified_insns(_: f64) -> Result<Values> {
    let programs = programs();
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let one = |p: &Program| value(format!("insns/{}", p.callback), p.verified_insns.into());
    let mut values: Vec<_> = programs.iter().map(one).collect();
    let sum = programs.iter().map(|p| f64::from(p.verified_insns)).sum();
    values.push(value("verified_insns", sum));
    Ok(values)
}
