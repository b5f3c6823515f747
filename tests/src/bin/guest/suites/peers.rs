// SPDX-License-Identifier: GPL-2.0-only
//! Each scheduler that the benchmark compares with starts, runs tasks and ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Test;
use crate::hog::{Hog, Kind, shares};
use crate::preload::Other;
use crate::sys::{read, scx_ops, scx_state};
use crate::tests;

pub const TESTS: &[Test] = tests![simple, bpfland, cosmos, beerland, lavd, rusty, p2dq];

fn simple() -> Result<()> {
    works("simple")
}

fn bpfland() -> Result<()> {
    works("bpfland")
}

fn cosmos() -> Result<()> {
    works("cosmos")
}

fn beerland() -> Result<()> {
    works("beerland")
}

fn lavd() -> Result<()> {
    works("lavd")
}

fn rusty() -> Result<()> {
    works("rusty")
}

fn p2dq() -> Result<()> {
    works("p2dq")
}

fn works(name: &str) -> Result<()> {
    let commands: BTreeMap<String, Vec<String>> = serde_json::from_str(&read("/peers.json")?)?;
    let command = commands.get(name).context("it could not be built")?;
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let start = Instant::now();
    // lavd takes the verifier a million instructions.
    let mut peer = Other::start_program(&command, name, Duration::from_secs(100))?;
    let seconds = start.elapsed().as_secs_f32();
    println!("{} after {seconds:.1} s", scx_ops().unwrap_or_default());

    let hogs = Hog::start_many(12, Kind::default())?;
    let shares = shares(&hogs, Duration::from_secs(3))?;
    println!("12 tasks had, of 3 s: {shares:.1?}");
    let none = shares.iter().filter(|share| share.is_zero()).count();
    ensure!(none == 0, "{none} of 12 tasks did not run for 3 s");
    ensure!(scx_state()? == "enabled", "it did not stay");
    drop(hogs);
    peer.stop()
}
