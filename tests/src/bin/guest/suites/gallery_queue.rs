// SPDX-License-Identifier: GPL-2.0-only
//! Example overrides of when a task runs and for how long: each has an effect that is absent
//! with the defaults.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::unistd::Pid;

use super::Test;
use crate::hog::{Hog, Kind, ONLY, allow, run_for, shares};
use crate::preload::{counter, hook, is_fine, load, load_override, status, unload};
use crate::tests;

pub const TESTS: &[Test] = tests![chaos, cosmos, tickless];

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// This task's wakeup latencies after `count` sleeps, sorted. It works in between.
fn lateness(count: usize, work: Duration, pause: Duration) -> Vec<Duration> {
    let mut late = Vec::new();
    for _ in 0..count {
        run_for(work);
        let start = Instant::now();
        sleep(pause);
        late.push(start.elapsed().saturating_sub(pause));
    }
    late.sort();
    late
}

/// Runs `what` with this task pinned to one CPU.
fn alone_on<T>(cpu: usize, what: impl FnOnce() -> Result<T>) -> Result<T> {
    allow(Pid::from_raw(0), [cpu])?;
    let done = what();
    allow(Pid::from_raw(0), 0..8)?;
    done
}

const DELAY: Duration = Duration::from_millis(30);

/// How many of 60 wakeups were delayed as much as chaos does.
fn delayed() -> usize {
    let late = lateness(60, MS, 4 * MS);
    println!("median {:.1?}, 9/10 {:.1?}", late[30], late[54]);
    late.iter().filter(|late| **late >= DELAY).count()
}

fn chaos() -> Result<()> {
    load(&[])?;
    let defaults = delayed();
    load_override(
        "chaos",
        &["--set", "chaos_percent=50", "--set", "chaos_delay_ms=30"],
    )?;
    let free = delayed();
    let pinned = alone_on(3, || Ok(delayed()))?;
    // Busy CPUs must release delayed tasks, too.
    let hogs = Hog::start_many(12, Kind::default())?;
    let busy = delayed();
    let shares = shares(&hogs, SECOND)?;
    drop(hogs);
    is_fine(&["hook_pick_idle_cpu", "hook_enqueue", "hook_dispatch"])?;
    println!("of 60 delayed: {defaults}, {free}, pinned {pinned}, busy {busy}");
    ensure!(defaults < 6, "{defaults} of 60 are late with the defaults");
    let half = |n| (15..=48).contains(&n);
    ensure!(half(free) && half(pinned), "{free}, pinned {pinned} of 60");
    ensure!(busy >= 15, "{busy} of 60 beside hogs");
    ensure!(
        shares.iter().all(|s| *s > SECOND / 4),
        "hogs got {shares:.2?}"
    );
    unload()
}

/// Number of tasks inserted into the defaults' DSQs in 2 s while these run on two CPUs.
fn through_defaults_queues(_tasks: Vec<Hog>) -> Result<u64> {
    let count = || -> Result<u64> {
        let now = status()?;
        Ok(counter(&now, "enqueue_llc")? + counter(&now, "enqueue_affine")?)
    };
    sleep(SECOND);
    let before = count()?;
    sleep(2 * SECOND);
    Ok(count()? - before)
}

fn cosmos() -> Result<()> {
    let two_cpus = Kind {
        cpus: &[2, 3],
        ..Kind::default()
    };
    // All wake up at the same time, and use three eighths of the two CPUs.
    let light = || Hog::start_in_step(6, two_cpus, MS, 8 * MS);
    load(&[])?;
    let defaults = through_defaults_queues(light()?)?;
    load_override("cosmos", &[])?;
    let cosmos = through_defaults_queues(light()?)?;
    let now = status()?;
    let local = hook(&now, "hook_enqueue", "calls")? - hook(&now, "hook_enqueue", "dfl")?;
    let saturated = through_defaults_queues(Hog::start_many(5, two_cpus)?)?;
    is_fine(&["hook_enqueue", "hook_cpu_perf"])?;
    println!("light: {defaults}, {cosmos} and {local} local; hogs: {saturated}");
    ensure!(defaults > 50, "{defaults} with the defaults");
    ensure!(
        cosmos * 2 < defaults && local > 50,
        "{cosmos} instead of {defaults}, {local} local"
    );
    ensure!(saturated > 50, "{saturated} of hogs");
    unload()
}

/// How many times in a second the slice of a hog that is alone on its CPU was extended.
fn asks() -> Result<u64> {
    let _hog = Hog::start(Kind {
        cpus: ONLY[5],
        ..Kind::default()
    })?;
    sleep(SECOND / 4);
    let before = counter(&status()?, "dispatch_keep")?;
    sleep(SECOND);
    Ok(counter(&status()?, "dispatch_keep")? - before)
}

fn tickless() -> Result<()> {
    load(&[])?;
    let defaults = asks()?;
    load_override("tickless", &[])?;
    let tickless = asks()?;
    println!("slices: {defaults}, {tickless}");
    ensure!(defaults > 50, "{defaults} slices a second");
    ensure!(tickless * 4 < defaults, "{tickless} slices a second");
    // A second hog on the same CPU gets its half, and a waking task gets to run.
    let kind = Kind {
        cpus: ONLY[5],
        ..Kind::default()
    };
    let mut hogs = vec![Hog::start(kind)?];
    sleep(SECOND / 4);
    let late = alone_on(5, || Ok(lateness(30, MS, 5 * MS)))?;
    hogs.push(Hog::start(kind)?);
    sleep(SECOND / 4);
    let pair = shares(&hogs, SECOND)?;
    drop(hogs);
    // More hogs than CPUs, started in two batches.
    let mut hogs = Hog::start_many(8, Kind::default())?;
    sleep(SECOND / 2);
    hogs.extend(Hog::start_many(4, Kind::default())?);
    sleep(SECOND);
    let crowd = shares(&hogs, 2 * SECOND)?;
    is_fine(&["hook_task_slice", "hook_cpu_perf"])?;
    println!(
        "late {:.1?} to {:.1?}, {pair:.2?}, {crowd:.2?}",
        late[15], late[29]
    );
    ensure!(
        late[15] < 20 * MS && late[29] < SECOND / 4,
        "late {late:.1?}"
    );
    ensure!(pair.iter().all(|s| *s > SECOND * 3 / 10), "{pair:.2?}");
    ensure!(crowd.iter().all(|s| *s > SECOND * 6 / 10), "{crowd:.2?}");
    unload()
}
