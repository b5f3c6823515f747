// SPDX-License-Identifier: GPL-2.0-only
//! One process wakes many, one after the other, and waits until all have replied: how fast
//! they are placed and run.

use std::io::{PipeWriter, Read, Write, pipe};
use std::time::Instant;

use anyhow::Result;

use super::{Values, times, value};
use crate::bench::proc::Worker;

/// Total over all rounds.
const WAKEUPS: usize = 4800;

pub fn run(scale: f64) -> Result<Values> {
    Ok(vec![value("fan_out", ns_a_round(16, scale)?)])
}

pub fn narrow(scale: f64) -> Result<Values> {
    Ok(vec![value("fan_out_4", ns_a_round(4, scale)?)])
}

pub fn wide(scale: f64) -> Result<Values> {
    Ok(vec![value("fan_out_32", ns_a_round(32, scale)?)])
}

fn ns_a_round(count: usize, scale: f64) -> Result<f64> {
    let rounds = times(WAKEUPS / count, scale);
    let (mut answers, answer) = pipe()?;
    let mut wakes = Vec::new();
    let mut workers = Vec::new();
    for _ in 0..count {
        let (mut wait, wake) = pipe()?;
        wakes.push(wake);
        let mut answer = &answer;
        workers.push(Worker::start(|| {
            for _ in 0..rounds {
                wait.read_exact(&mut [0])?;
                answer.write_all(&[0])?;
            }
            Ok(())
        })?);
    }
    let mut bytes = vec![0; count];
    let mut round = || -> Result<()> {
        wakes.iter().try_for_each(wake)?;
        Ok(answers.read_exact(&mut bytes)?)
    };
    let start = Instant::now();
    for _ in 0..rounds {
        round()?;
    }
    let ns = start.elapsed().as_nanos() as f64 / rounds as f64;
    workers.into_iter().try_for_each(Worker::finish)?;
    Ok(ns)
}

fn wake(mut who: &PipeWriter) -> std::io::Result<()> {
    who.write_all(&[0])
}
