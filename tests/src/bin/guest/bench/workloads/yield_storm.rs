// SPDX-License-Identifier: GPL-2.0-only
//! Two processes per CPU that only yield.

use anyhow::Result;
use nix::sched::sched_yield;

use super::{Values, cpus, ms, times, value};
use crate::bench::proc::Race;

const PROCESSES_A_CPU: usize = 2;
const YIELDS: usize = 1500;

pub fn run(scale: f64) -> Result<Values> {
    let yields = times(YIELDS, scale);
    let mut race = Race::new()?;
    for _ in 0..PROCESSES_A_CPU * cpus()? {
        race.add(|| {
            for _ in 0..yields {
                sched_yield()?;
            }
            Ok(())
        })?;
    }
    Ok(vec![value("yield_storm", ms(race.run()?))])
}
