// SPDX-License-Identifier: GPL-2.0-only
//! Each scheduler of the benchmark starts while ours is attached, runs tasks and ends, and
//! ours is reattached.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use scx_preload_tests::bench::PEERS;

use super::Test;
use crate::hog::{Hog, Kind, shares};
use crate::other::{Other, peers};
use crate::preload;
use crate::sys::{poll, scx_ops, scx_state};

/// One test per scheduler.
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
    let peer = peer.context("the scheduler was not built")?;
    preload::load(&[])?;
    let other = start(name, &peer.command)?;

    let hogs = Hog::start_many(12, Kind::default())?;
    let shares = shares(&hogs, Duration::from_secs(3))?;
    println!("CPU times of 12 tasks in 3 s: {shares:.1?}");
    let none = shares.iter().filter(|share| share.is_zero()).count();
    ensure!(none == 0, "{none} of 12 tasks did not run for 3 s");
    ensure!(scx_state()? == "enabled", "the scheduler was detached");
    drop(hogs);
    let pid = Pid::from_raw(other.pid() as i32);
    comes_back("SIGINT", || Ok(kill(pid, Signal::SIGINT)?))?;
    drop(other);

    let other = start(name, &peer.command)?;
    let pid = Pid::from_raw(other.pid() as i32);
    comes_back("SIGKILL", || Ok(kill(pid, Signal::SIGKILL)?))?;
    drop(other);

    let _other = start(name, &peer.command)?;
    comes_back("an error", preload::eject)
}

fn start(name: &str, command: &[String]) -> Result<Other> {
    let start = Instant::now();
    let other = Other::start(name, command)?;
    let seconds = start.elapsed().as_secs_f32();
    println!("{} after {seconds:.1} s", scx_ops().unwrap_or_default());
    Ok(other)
}

/// Runs the command of the udev rule, as there is no udev in this VM.
fn comes_back(how: &str, end: impl FnOnce() -> Result<()>) -> Result<()> {
    let name = scx_ops();
    let start = Instant::now();
    end()?;
    poll(Duration::from_secs(20), Duration::from_millis(1), || {
        ensure!(scx_ops() != name, "still attached after {how}");
        Ok(())
    })?;
    let ended = start.elapsed();
    preload::udev_resumes()?;
    let back = start.elapsed();
    println!("{how}: detached after {ended:?}, ours reattached after {back:?}");
    Ok(())
}
