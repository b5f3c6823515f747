// SPDX-License-Identifier: GPL-2.0-only
//! Each scheduler that the benchmark compares with starts, runs tasks and ends.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use scx_preload_tests::bench::PEERS;

use super::Test;
use crate::hog::{Hog, Kind, shares};
use crate::other::{Other, peers};
use crate::sys::{scx_ops, scx_state};

/// One for each.
pub const TESTS: &[Test] = &{
    let mut tests = [Test {
        name: "",
        run: works,
    }; PEERS.len()];
    let mut n = 0;
    while n < tests.len() {
        tests[n].name = PEERS[n].0;
        n += 1;
    }
    tests
};

fn works(name: &str) -> Result<()> {
    let all = peers()?;
    let peer = all.iter().find(|peer| peer.name == name);
    let peer = peer.context("it could not be built")?;
    let start = Instant::now();
    let other = Other::start(name, &peer.command)?;
    let seconds = start.elapsed().as_secs_f32();
    println!("{} after {seconds:.1} s", scx_ops().unwrap_or_default());

    let hogs = Hog::start_many(12, Kind::default())?;
    let shares = shares(&hogs, Duration::from_secs(3))?;
    println!("12 tasks had, of 3 s: {shares:.1?}");
    let none = shares.iter().filter(|share| share.is_zero()).count();
    ensure!(none == 0, "{none} of 12 tasks did not run for 3 s");
    ensure!(scx_state()? == "enabled", "it did not stay");
    drop(hogs);
    other.stop()
}
