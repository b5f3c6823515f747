// SPDX-License-Identifier: GPL-2.0-only
//! scx_loader and scxctl switch between other schedulers, in any order with ours. Between them
//! and at the end, the udev rule reattaches ours.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Test;
use crate::preload::is_ours;
use crate::sys::{SCX_PRELOAD, enable_seq, run_ok, scx_ops, scx_state, wait_for};
use crate::tests;

pub const TESTS: &[Test] = tests![
    starts_beside_ours,
    switches,
    starts_again_what_was_killed,
    ours_is_back_when_it_stops,
    loaded_while_it_starts_one,
    follows_what_was_there_first,
    its_default_starts_at_once,
    ours_is_back_when_it_is_killed,
    each_came_at_the_first_try,
];

const UNIT: &str = "scx_loader.service";

/// Its schedulers take up to 20 s to load on emulated CPUs.
const LIMIT: Duration = Duration::from_secs(100);

/// Waits until a scheduler is enabled, and checks that it still is after 2 s.
fn stays(name: &str, is_there: impl Fn() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    wait_for(LIMIT, &is_there)?;
    println!("{name} after {:?}", start.elapsed());
    sleep(Duration::from_secs(2));
    is_there()
}

fn runs(ops: &str) -> Result<()> {
    stays(ops, || named(ops))
}

fn named(ops: &str) -> Result<()> {
    let (state, now) = (scx_state()?, scx_ops().unwrap_or_default());
    ensure!(
        state == "enabled" && now.starts_with(ops),
        "{state} with {now:?}, not {ops}"
    );
    Ok(())
}

fn ours() -> Result<()> {
    stays("ours", is_ours)
}

fn scxctl(args: &[&str]) -> Result<()> {
    let said = run_ok("scxctl", args)?;
    println!("scxctl {}: {}", args.join(" "), said.trim());
    Ok(())
}

fn starts_beside_ours() -> Result<()> {
    ours()?;
    run_ok("systemctl", &["start", UNIT])?;
    scxctl(&["start", "--sched", "bpfland"])?;
    runs("bpfland")
}

fn switches() -> Result<()> {
    for name in ["cosmos", "bpfland", "lavd", "cosmos"] {
        scxctl(&["switch", "--sched", name])?;
        runs(name)?;
    }
    Ok(())
}

fn starts_again_what_was_killed() -> Result<()> {
    let seq = enable_seq()?;
    run_ok("pkill", &["-KILL", "-x", "scx_cosmos"])?;
    wait_for(LIMIT, || {
        ensure!(enable_seq()? > seq, "no scheduler was enabled");
        named("cosmos")
    })?;
    runs("cosmos")
}

fn ours_is_back_when_it_stops() -> Result<()> {
    scxctl(&["stop"])?;
    ours()
}

/// The order of attaching is random; in the end the scheduler that the user requested runs.
fn loaded_while_it_starts_one() -> Result<()> {
    for late in [0, 200, 500, 1000] {
        run_ok(SCX_PRELOAD, &["unload"])?;
        scxctl(&["start", "--sched", "bpfland"])?;
        sleep(Duration::from_millis(late));
        run_ok(SCX_PRELOAD, &["load", "--boot"])?;
        runs("bpfland").with_context(|| format!("{late} ms late"))?;
        scxctl(&["stop"])?;
        ours().with_context(|| format!("{late} ms late"))?;
    }
    Ok(())
}

fn follows_what_was_there_first() -> Result<()> {
    run_ok(SCX_PRELOAD, &["unload"])?;
    scxctl(&["start", "--sched", "cosmos"])?;
    runs("cosmos")?;
    run_ok(SCX_PRELOAD, &["load", "--standby"])?;
    named("cosmos")?;
    scxctl(&["stop"])?;
    ours()
}

fn its_default_starts_at_once() -> Result<()> {
    fs::write("/etc/scx_loader.toml", "default_sched = \"scx_bpfland\"\n")?;
    run_ok("systemctl", &["restart", UNIT])?;
    runs("bpfland")?;
    run_ok("systemctl", &["stop", UNIT])?;
    ours()
}

fn ours_is_back_when_it_is_killed() -> Result<()> {
    run_ok("systemctl", &["start", UNIT])?;
    runs("bpfland")?;
    run_ok("systemctl", &["kill", "--signal=KILL", UNIT])?;
    ours()
}

/// Except the one that was killed: scx_loader makes up to five attempts.
fn each_came_at_the_first_try() -> Result<()> {
    let log = run_ok("journalctl", &["--boot", "--no-pager", "--unit", UNIT])?;
    let failed = log.lines().filter(|line| line.contains("(attempt "));
    let failed: Vec<_> = failed.collect();
    ensure!(failed.len() == 1, "{failed:#?}\n{log}");
    Ok(())
}
