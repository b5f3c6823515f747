// SPDX-License-Identifier: GPL-2.0-only
//! Fork, exec and exit.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, bail};
use nix::sys::wait::wait;
use nix::unistd::execv;

use super::{Values, cpus, ms, times, value};
use crate::bench::proc::{Worker, exit};

const SPAWNS: usize = 500;
const EXECS: usize = 60;

const SLOTS_A_CPU: usize = 2;
const JOBS: usize = 120;
/// Iterations of a loop, a few ms.
const JOB: u32 = 1_000_000;

pub fn spawn(scale: f64) -> Result<Values> {
    each("spawn", times(SPAWNS, scale), || Ok(()))
}

pub fn exec(scale: f64) -> Result<Values> {
    each("exec", times(EXECS, scale), || become_helper(c"nothing"))
}

fn each(name: &str, count: usize, body: fn() -> Result<()>) -> Result<Values> {
    let start = Instant::now();
    for _ in 0..count {
        Worker::start(body)?.finish()?;
    }
    let ns = start.elapsed().as_nanos() as f64 / count as f64;
    Ok(vec![value(name, ns)])
}

/// Like make -j: the next job starts as soon as one ends.
pub fn make_like(scale: f64) -> Result<Values> {
    let jobs = times(JOBS, scale);
    let slots = jobs.min(SLOTS_A_CPU * cpus()?);
    let start = Instant::now();
    for job in 0..jobs {
        if job >= slots {
            wait()?;
        }
        Worker::start(|| become_helper(c"job"))?;
    }
    for _ in 0..slots {
        wait()?;
    }
    Ok(vec![value("make_like", ms(start.elapsed()))])
}

fn become_helper(what: &'static std::ffi::CStr) -> Result<()> {
    execv(c"/proc/self/exe", &[c"guest", c"--helper", what])?;
    Ok(())
}

/// The body of the processes after exec.
pub fn run_helper(what: &str) -> Result<()> {
    match what {
        "nothing" => exit(0),
        "job" => {
            (0..JOB).for_each(|n| {
                black_box(n);
            });
            exit(0)
        }
        _ => bail!("unknown helper {what:?}"),
    }
}
