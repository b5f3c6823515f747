// SPDX-License-Identifier: GPL-2.0-only
//! One byte goes to and fro between two processes: what a wakeup and a switch
//! cost when nothing else is there.

use std::fs;
use std::io::{Read, Write, pipe};
use std::time::Instant;

use anyhow::{Context, Result};

use super::{Values, times, value};
use crate::bench::proc::Worker;

const ROUND_TRIPS: usize = 6000;

pub fn run(scale: f64) -> Result<Values> {
    let count = times(ROUND_TRIPS, scale);
    let switches = switches_of_mine()?;
    let ns = round_trips(count)?;
    let switches = switches_of_mine()? - switches;
    Ok(vec![
        value("ping_pong", ns),
        // The other one switches as often.
        value("ping_pong_switches", 2.0 * switches as f64 / count as f64),
    ])
}

/// ns a round trip.
pub fn round_trips(count: usize) -> Result<f64> {
    let (mut to_read, mut to_write) = pipe()?;
    let (mut back_read, mut back_write) = pipe()?;
    let other = Worker::start(|| {
        let mut byte = [0];
        for _ in 0..count {
            to_read.read_exact(&mut byte)?;
            back_write.write_all(&byte)?;
        }
        Ok(())
    })?;
    let mut byte = [0];
    let start = Instant::now();
    for _ in 0..count {
        to_write.write_all(&byte)?;
        back_read.read_exact(&mut byte)?;
    }
    let time = start.elapsed();
    other.finish()?;
    Ok(time.as_nanos() as f64 / count as f64)
}

fn switches_of_mine() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mut sum = 0;
    for name in ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"] {
        let line = status.lines().find_map(|l| l.strip_prefix(name));
        sum += line
            .context("no switches in status")?
            .trim()
            .parse::<u64>()?;
    }
    Ok(sum)
}
