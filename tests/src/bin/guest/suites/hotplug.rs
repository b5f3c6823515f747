// SPDX-License-Identifier: GPL-2.0-only
//! CPU hotplug: the scheduler stays attached and updates its topology.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Test;
use crate::hog::{Hog, Kind, shares};
use crate::other::Other;
use crate::preload::{load, status, udev_resumes};
use crate::sys::{set_online, wait_for};
use crate::tests;

pub const TESTS: &[Test] = tests![
    every_cpu_but_one_under_load,
    a_whole_llc_goes_and_comes_back,
    loads_with_cpus_offline,
    an_llc_goes_while_another_runs,
];

/// Our scheduler runs, and its topology soon has this many CPUs, in all and in LLC 1.
fn sees(online: u64, in_llc_1: u64) -> Result<()> {
    wait_for(Duration::from_secs(1), || has(online, in_llc_1))
}

fn has(online: u64, in_llc_1: u64) -> Result<()> {
    let status = status()?;
    ensure!(status["ours"] == true, "{}", status["kernel"]);
    let topology = &status["topology"];
    ensure!(
        topology["nr_online"] == online,
        "the topology has {} CPUs",
        topology["nr_online"]
    );
    let llc = &topology["llcs"][1]["nr_cpus"];
    ensure!(*llc == in_llc_1, "the topology has {llc} CPUs in LLC 1");
    Ok(())
}

fn all_run(hogs: &[Hog]) -> Result<()> {
    let shares = shares(hogs, Duration::from_secs(2))?;
    let least = shares.iter().min().context("no hogs")?;
    ensure!(
        *least > Duration::from_millis(20),
        "a task starves: {shares:?}"
    );
    Ok(())
}

fn every_cpu_but_one_under_load() -> Result<()> {
    load(&[])?;
    let hogs = Hog::start_many(12, Kind::default())?;
    sleep(Duration::from_millis(500));
    set_online(1..8, false)?;
    sees(1, 0)?;
    all_run(&hogs)?;
    set_online((1..8).rev(), true)?;
    sees(8, 4)?;
    all_run(&hogs)
}

fn a_whole_llc_goes_and_comes_back() -> Result<()> {
    load(&[])?;
    let hogs = Hog::start_many(12, Kind::default())?;
    for _ in 0..3 {
        set_online(4..8, false)?;
        sees(4, 0)?;
        all_run(&hogs)?;
        set_online(4..8, true)?;
        sees(8, 4)?;
    }
    all_run(&hogs)
}

/// CPU numbers have holes at load time, which are filled later.
fn loads_with_cpus_offline() -> Result<()> {
    set_online([1, 4, 6], false)?;
    load(&[])?;
    sees(5, 2)?;
    set_online([6, 1, 4], true)?;
    sees(8, 4)?;
    all_run(&Hog::start_many(10, Kind::default())?)
}

/// Ours gives way, an LLC goes off-line and one of its CPUs comes back, and ours comes back. DSQs
/// and tables are of the new start.
fn an_llc_goes_while_another_runs() -> Result<()> {
    load(&[])?;
    let hogs = Hog::start_many(12, Kind::default())?;
    let other = Other::fixture()?;
    set_online(4..8, false)?;
    set_online([6], true)?;
    other.stop()?;
    udev_resumes()?;
    sees(5, 1)?;
    all_run(&hogs)?;
    set_online([4, 5, 7], true)?;
    sees(8, 4)?;
    all_run(&hogs)
}
