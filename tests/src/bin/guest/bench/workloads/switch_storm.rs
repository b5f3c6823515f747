// SPDX-License-Identifier: GPL-2.0-only
//! Writers and readers of pipes that hold one message: each message causes a context switch,
//! and there are more pairs than CPUs, like `stress-ng --switch`.

use std::fs::File;
use std::io::{Read, Write};

use anyhow::Result;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

use super::{Values, cpus, ms, times, value};
use crate::bench::proc::{Race, Worker};

const PAIRS_A_CPU: usize = 2;
const MESSAGES: usize = 1000;

pub fn run(scale: f64) -> Result<Values> {
    let messages = times(MESSAGES, scale);
    let mut race = Race::new()?;
    for _ in 0..PAIRS_A_CPU * cpus()? {
        race.add(|| pair(messages))?;
    }
    Ok(vec![value("switch_storm", ms(race.run()?))])
}

fn pair(messages: usize) -> Result<()> {
    // In packet mode each message takes a page, and the kernel rounds the size up to one page.
    let (from, to) = pipe2(OFlag::O_DIRECT)?;
    fcntl(&to, FcntlArg::F_SETPIPE_SZ(1))?;
    let (mut from, mut to) = (File::from(from), File::from(to));
    let reader = Worker::start(|| {
        for _ in 0..messages {
            from.read_exact(&mut [0])?;
        }
        Ok(())
    })?;
    for _ in 0..messages {
        to.write_all(&[0])?;
    }
    reader.finish()
}
