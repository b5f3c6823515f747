// SPDX-License-Identifier: GPL-2.0-only
//! Groups in which every sender sends to every receiver: many wakeups, and in hackbench many
//! more tasks than CPUs.

use std::io::{Read, Write, pipe};
use std::os::unix::net::UnixStream;

use anyhow::Result;

use super::{Values, ms, times, value};
use crate::bench::proc::Race;

const SIZE: usize = 100;

struct Shape {
    groups: usize,
    /// Number of senders, and of receivers, in a group.
    each: usize,
    /// Messages from each sender to each receiver.
    messages: usize,
}

const MESSAGING: Shape = Shape {
    groups: 4,
    each: 8,
    messages: 40,
};

const HACKBENCH: Shape = Shape {
    groups: 8,
    each: 20,
    messages: 8,
};

pub fn messaging(scale: f64) -> Result<Values> {
    run("messaging", &MESSAGING, scale, || Ok(UnixStream::pair()?))
}

pub fn hackbench(scale: f64) -> Result<Values> {
    run("hackbench", &HACKBENCH, scale, || Ok(pipe()?))
}

fn run<R: Read, W: Write>(
    name: &str,
    shape: &Shape,
    scale: f64,
    channel: fn() -> Result<(R, W)>,
) -> Result<Values> {
    let messages = times(shape.messages, scale);
    let mut race = Race::new()?;
    for _ in 0..shape.groups {
        let channels: Result<Vec<_>> = (0..shape.each).map(|_| channel()).collect();
        let (mut from, mut to): (Vec<R>, Vec<W>) = channels?.into_iter().unzip();
        for from in &mut from {
            race.add(|| receive(from, shape.each * messages))?;
            race.add(|| send(&mut to, messages))?;
        }
    }
    Ok(vec![value(name, ms(race.run()?))])
}

fn receive(from: &mut impl Read, messages: usize) -> Result<()> {
    let mut message = [0; SIZE];
    for _ in 0..messages {
        from.read_exact(&mut message)?;
    }
    Ok(())
}

fn send(to: &mut [impl Write], messages: usize) -> Result<()> {
    for _ in 0..messages {
        for to in &mut *to {
            to.write_all(&[0; SIZE])?;
        }
    }
    Ok(())
}
