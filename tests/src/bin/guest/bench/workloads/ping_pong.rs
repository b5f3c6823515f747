// SPDX-License-Identifier: GPL-2.0-only
//! One byte goes back and forth between two processes: the cost of a wakeup and a context
//! switch on an otherwise idle system.

use std::io::{Read, Write, pipe};
use std::time::Instant;

use anyhow::Result;

use super::{Values, times, value};
use crate::bench::context_switches;
use crate::bench::proc::{Race, Worker};

const ROUND_TRIPS: usize = 6000;

pub fn run(scale: f64) -> Result<Values> {
    let count = times(ROUND_TRIPS, scale);
    let before = context_switches()?;
    let ns = round_trips(count)?;
    let switches = context_switches()? - before;
    Ok(vec![
        value("ping_pong", ns),
        // 2 on one CPU; 4 on two, as each switches to and from its idle task.
        value("ping_pong_switches", switches as f64 / count as f64),
    ])
}

/// Four pairs at once.
pub fn four(scale: f64) -> Result<Values> {
    const PAIRS: usize = 4;
    let count = times(ROUND_TRIPS / PAIRS, scale);
    let mut race = Race::new()?;
    for _ in 0..PAIRS {
        race.add(|| round_trips(count).map(drop))?;
    }
    let ns = race.run()?.as_nanos() as f64 / (PAIRS * count) as f64;
    Ok(vec![value("ping_pong_4", ns)])
}

/// Nanoseconds per round trip.
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
