// SPDX-License-Identifier: GPL-2.0-only
//! Soft bypass: with faulty overrides (`tests/fixtures/faults.bpf.c`) the defaults take over
//! and the reason is reported. Also on request of an override or the user.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Test;
use crate::hog::{Hog, Kind, ONLY, shares};
use crate::preload::{counter, load_override, status, unload};
use crate::sys::{SCX_PRELOAD, run_ok, set_online};
use crate::tests;

pub const TESTS: &[Test] = tests![
    drops,
    never_dispatches,
    cpu_zero,
    bad_cpus,
    garbage,
    loops,
    spins,
    leaks,
    starves,
    asks,
    backs_off,
    user_turns_it_on_and_off,
    loses_no_task,
    weights_are_respected,
];

/// For PREEMPT_RT, where the watch is part of ticks and dispatches.
pub const WITHOUT_TIMER: &[Test] = tests![
    never_dispatches,
    starves,
    backs_off,
    user_turns_it_on_and_off
];

const SECOND: Duration = Duration::from_secs(1);

/// Longer than any test.
const HOLD: [&str; 2] = ["--set", "bypass_hold_ms=60000"];

/// More tasks than CPUs, some of them sleepers, and one that some faults single out.
struct Load {
    hogs: Vec<Hog>,
    sleepers: Vec<Hog>,
}

impl Load {
    fn start() -> Result<Self> {
        let mut hogs = Hog::start_many(11, Kind::default())?;
        hogs.push(Hog::start(Kind {
            comm: "victim",
            ..Kind::default()
        })?);
        let pattern = Some((Duration::from_millis(1), Duration::from_millis(8)));
        let kind = Kind {
            pattern,
            ..Kind::default()
        };
        let sleepers = Hog::start_many(4, kind)?;
        Ok(Load { hogs, sleepers })
    }

    /// Every task gets CPU time, and no CPU is idle for long.
    fn runs(&self) -> Result<()> {
        let before: Vec<u64> = self
            .sleepers
            .iter()
            .map(Hog::sleeps)
            .collect::<Result<_>>()?;
        let shares = shares(&self.hogs, 2 * SECOND)?;
        let total: f64 = shares.iter().map(Duration::as_secs_f64).sum();
        let slept = self.sleepers.iter().zip(before);
        let slept: Vec<u64> = slept
            .map(|(hog, before)| Ok(hog.sleeps()? - before))
            .collect::<Result<_>>()?;
        println!("{shares:.2?}, in all {total:.1} s; {slept:?} sleeps");
        // 8 CPUs for 12 hogs: ideally 1.33 of 2 s each.
        ensure!(
            shares.iter().all(|s| *s > SECOND * 2 / 5),
            "a task starves: {shares:.2?}"
        );
        ensure!(total > 12.0, "{total:.1} of 16 s were used");
        ensure!(slept.iter().all(|n| *n > 5), "a sleeper starves: {slept:?}");
        Ok(())
    }
}

fn bypass_reason() -> Result<Option<String>> {
    Ok(status()?["bypass"]["on"].as_str().map(String::from))
}

/// Waits for a soft bypass; returns the status with its reason.
fn begins() -> Result<Value> {
    let start = Instant::now();
    loop {
        let status = status()?;
        if !status["bypass"]["on"].is_null() {
            println!("after {:.1?}: {}", start.elapsed(), status["bypass"]);
            return Ok(status);
        }
        ensure!(
            start.elapsed() < 6 * SECOND,
            "no soft bypass after 6 s, {}",
            status["kernel"]
        );
        sleep(SECOND / 10);
    }
}

/// The override `fault_<what>` is bypassed for `reason`, the message contains `text`, and all
/// tasks run.
fn fault(what: &str, reason: &str, text: &str) -> Result<()> {
    fault_of(&format!("fault_{what}"), reason, text)
}

fn fault_of(name: &str, reason: &str, text: &str) -> Result<()> {
    load_override(name, &HOLD)?;
    let load = Load::start()?;
    let seen = begins()?;
    let said = &seen["bypass"]["log"][0];
    ensure!(seen["bypass"]["on"] == reason, "{}", seen["bypass"]);
    ensure!(
        said["text"].as_str().is_some_and(|t| t.contains(text)),
        "{said}"
    );
    sleep(SECOND / 2);
    load.runs()?;
    let seen = status()?;
    ensure!(seen["ours"] == true, "{}", seen["kernel"]);
    unload()
}

fn drops() -> Result<()> {
    fault("drops", "stall", "was runnable on CPU")
}

fn never_dispatches() -> Result<()> {
    fault("never_dispatches", "stall", "was runnable on CPU")
}

fn cpu_zero() -> Result<()> {
    fault("cpu_zero", "bad", "hook_pick_idle_cpu")
}

fn bad_cpus() -> Result<()> {
    set_online([5], false)?;
    let done = fault("bad_cpus", "bad", "hook_pick_idle_cpu");
    set_online([5], true)?;
    done
}

fn garbage() -> Result<()> {
    fault_of("bad_results", "bad", "returned results out of range")
}

fn loops() -> Result<()> {
    fault("loops", "slow", "hook_task_slice takes too much")
}

fn spins() -> Result<()> {
    fault("spins", "slow", "hook_task_slice takes too much")
}

fn leaks() -> Result<()> {
    fault("leaks", "stall", "was runnable on CPU")
}

/// Three hogs share a CPU; the override never lets one of them run.
fn starves() -> Result<()> {
    load_override("fault_starves", &HOLD)?;
    let kind = Kind {
        cpus: ONLY[3],
        ..Kind::default()
    };
    let victim = Kind {
        comm: "victim",
        ..kind
    };
    let hogs = [Hog::start(victim)?, Hog::start(kind)?, Hog::start(kind)?];
    let seen = begins()?;
    ensure!(seen["bypass"]["on"] == "stall", "{}", seen["bypass"]);
    let text = seen["bypass"]["log"][0]["text"].as_str().unwrap_or("");
    ensure!(
        text.starts_with("victim[") && text.contains("on CPU 3"),
        "{text}"
    );
    sleep(SECOND / 2);
    let shares = shares(&hogs, 3 * SECOND)?;
    println!("{shares:.2?}");
    ensure!(shares.iter().all(|s| *s > SECOND / 2), "{shares:.2?}");
    unload()
}

fn asks() -> Result<()> {
    fault(
        "asks",
        "override",
        "an override asked for it: my map is full",
    )
}

/// Each soft bypass lasts four times as long as the previous one, the last until the user ends
/// it.
fn backs_off() -> Result<()> {
    load_override(
        "fault_asks",
        &["--set", "bypass_hold_ms=200", "--set", "bypass_max=3"],
    )?;
    let _load = Load::start()?;
    let start = Instant::now();
    let seen = loop {
        sleep(SECOND / 5);
        let seen = status()?;
        if seen["bypass"]["times"] == 3 {
            break seen;
        }
        ensure!(start.elapsed() < 10 * SECOND, "{}", seen["bypass"]);
    };
    println!("{}", seen["bypass"]);
    let log = seen["bypass"]["log"].as_array().context("no log")?;
    let at = |n: usize| log[n]["at"].as_f64().unwrap_or(0.0);
    ensure!(log.len() == 5, "{log:?}");
    let (first, second) = (at(1) - at(0), at(3) - at(2));
    // The watch timer checks every 125 ms, later under load.
    ensure!((0.2..0.6).contains(&first), "the first lasts {first} s");
    ensure!((0.8..1.4).contains(&second), "the second lasts {second} s");
    ensure!(seen["bypass"]["until"].is_null(), "{}", seen["bypass"]);
    sleep(2 * SECOND);
    ensure!(bypass_reason()?.as_deref() == Some("override"));
    // This override requests it again at once.
    let err = run_ok(SCX_PRELOAD, &["bypass", "off"]).err();
    let err = err
        .context("soft bypass ended although the override requests it")?
        .to_string();
    ensure!(
        err.contains("began again: an override asked for it"),
        "{err}"
    );
    unload()
}

/// The override is notified, and not called until the user ends the bypass.
fn user_turns_it_on_and_off() -> Result<()> {
    let err = run_ok(SCX_PRELOAD, &["bypass", "on"]).err();
    let err = err
        .context("soft bypass began without a scheduler")?
        .to_string();
    ensure!(err.contains("not loaded"), "{err}");
    load_override("own_queue", &[])?;
    let _hogs = Hog::start_many(12, Kind::default())?;
    let variable = |name: &str| -> Result<u64> {
        let seen = status()?;
        seen["variables"][name]
            .as_u64()
            .with_context(|| format!("no {name}"))
    };
    run_ok(SCX_PRELOAD, &["bypass", "on"])?;
    sleep(SECOND / 2);
    let (before, begun) = (variable("dispatched")?, variable("begun")?);
    sleep(SECOND);
    let after = variable("dispatched")?;
    ensure!(
        begun == 1 && after == before,
        "{begun} begun, {before} then {after}"
    );
    ensure!(bypass_reason()?.as_deref() == Some("user"));
    run_ok(SCX_PRELOAD, &["bypass", "off"])?;
    sleep(SECOND);
    let (later, ended) = (variable("dispatched")?, variable("ended")?);
    ensure!(
        ended == 1 && later > after,
        "{ended} ended, {after} then {later}"
    );
    ensure!(bypass_reason()?.is_none());
    unload()
}

/// Soft bypass turned on and off often, with tasks on the DSQs of the override and of the
/// defaults: all make progress.
fn loses_no_task() -> Result<()> {
    load_override("own_queue", &[])?;
    let load = Load::start()?;
    let pinned = Hog::start_many(
        2,
        Kind {
            cpus: ONLY[6],
            ..Kind::default()
        },
    )?;
    for _ in 0..12 {
        run_ok(SCX_PRELOAD, &["bypass", "on"])?;
        sleep(SECOND / 10);
        run_ok(SCX_PRELOAD, &["bypass", "off"])?;
        sleep(SECOND / 10);
    }
    for state in ["on", "off"] {
        run_ok(SCX_PRELOAD, &["bypass", state])?;
        sleep(SECOND / 2);
        let pinned = shares(&pinned, SECOND)?;
        ensure!(
            pinned.iter().all(|s| *s > SECOND / 20),
            "{state}: {pinned:.2?}"
        );
        load.runs().with_context(|| format!("bypass {state}"))?;
    }
    let seen = status()?;
    ensure!(seen["ours"] == true, "{}", seen["kernel"]);
    println!("{} rescued", counter(&seen, "bypass_rescue")?);
    ensure!(
        counter(&seen, "bypass_rescue")? > 0,
        "no task was on the override's DSQ"
    );
    unload()
}

/// The override ignores nice levels; the defaults honor them.
fn weights_are_respected() -> Result<()> {
    load_override("own_queue", &[])?;
    run_ok(SCX_PRELOAD, &["bypass", "on"])?;
    let kind = Kind {
        cpus: ONLY[2],
        ..Kind::default()
    };
    let hogs = [Hog::start(kind)?, Hog::start(Kind { nice: 5, ..kind })?];
    sleep(SECOND / 2);
    let shares = shares(&hogs, 5 * SECOND)?;
    let ratio = shares[0].as_secs_f64() / shares[1].as_secs_f64();
    println!("{ratio:.2}");
    // Ideal is 3.06; FIFO order gives 1.
    ensure!((2.2..4.2).contains(&ratio), "nice 0 to nice 5: {ratio:.2}");
    unload()
}
