// SPDX-License-Identifier: GPL-2.0-only
//! Other schedulers come and go; ours gives way and is reattached. The VM has no udev, so the
//! tests run the command of the udev rule; the suite `boot_standby` tests the rule itself.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Test;
use crate::other::{self, Other};
use crate::preload::{
    eject, is_ours, load, load_override, object, refused, status, udev, udev_resumes, unload,
    unload_any,
};
use crate::sys::{
    SCX_PRELOAD, enable_seq, end_with_sysrq, poll, run, run_ok, scx_ops, scx_state, wait_for,
};
use crate::tests;

/// Tests that depend on kernel interfaces.
pub const HANDOVER: &[Test] = tests![
    another_takes_over,
    comes_back_after_the_other,
    comes_back_with_its_maps,
    another_that_starts_meanwhile_gets_its_turn,
    two_loads_at_once,
    sysrq_means_out_until_load,
    sysrq_on_another_means_out,
    error_brings_the_defaults_once,
];

pub const TESTS: &[Test] = tests![
    waits_for_who_is_loading,
    comes_back_after_a_probe,
    own_loads_are_no_reason_to_leave,
    another_that_was_loaded_before_gets_its_turn,
    follows_at_boot,
    stands_by_until_asked,
    errors_are_forgotten_by_load,
    run_hands_over_and_comes_back,
    run_gives_the_exit_code,
    run_is_held_against_udev,
    run_passes_signals_on,
    unload_while_another_runs,
    pins_removed_by_hand,
];

const LIMIT: Duration = Duration::from_secs(20);

/// `resume` refuses with a message that contains `words`, and nothing changes.
fn stays_out(words: &[&str]) -> Result<()> {
    let before = (scx_state()?, scx_ops());
    refused(&["resume"], 1, words)?;
    let said = udev()?;
    for word in words {
        ensure!(said.contains(word), "{said}");
    }
    ensure!(before == (scx_state()?, scx_ops()), "{before:?}");
    let status = status()?;
    let why = status["stands_by"].as_str().unwrap_or_default();
    ensure!(words.iter().all(|word| why.contains(word)), "{status}");
    Ok(())
}

/// An unmodified scheduler attaches without EBUSY.
fn another_takes_over() -> Result<()> {
    load(&[])?;
    for _ in 0..5 {
        let other = Other::fixture()?;
        stays_out(&["other", "when it has ended"])?;
        other.stop()?;
        udev_resumes()?;
    }
    Ok(())
}

fn comes_back_after_the_other() -> Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        load(&[])?;
        let other = Other::fixture()?;
        kill(Pid::from_raw(other.pid() as i32), signal)?;
        // The event comes once it has begun to end, possibly while the kernel is still
        // disabling it.
        poll(LIMIT, Duration::from_millis(1), || {
            ensure!(scx_state()? != "enabled");
            Ok(())
        })?;
        udev_resumes()?;
    }
    load(&[])?;
    let other = Other::fixture()?;
    eject()?;
    udev_resumes()?;
    drop(other);
    is_ours()
}

/// Nothing is loaded again: counters and settings are kept.
fn comes_back_with_its_maps() -> Result<()> {
    load_override("hook_task_slice", &["--set", "slice_ns=3000000"])?;
    let programs = run_ok(SCX_PRELOAD, &["status", "--json"])?;
    let calls =
        |status: &serde_json::Value| crate::preload::hook(status, "hook_task_slice", "calls");
    let before = calls(&serde_json::from_str(&programs)?)?;
    ensure!(before > 0);
    Other::fixture()?.stop()?;
    udev_resumes()?;
    let after = status()?;
    ensure!(after["settings"]["slice_ns"] == 3_000_000, "{after}");
    ensure!(calls(&after)? >= before, "{before} calls, then {after}");
    ensure!(after["exit"]["kind"] == 0, "{}", after["exit"]);
    // The override is still called.
    let now = calls(&status()?)?;
    wait_for(LIMIT, || {
        ensure!(calls(&status()?)? > now, "the override is not called");
        Ok(())
    })
}

fn waits_for_who_is_loading() -> Result<()> {
    load(&[])?;
    let other = Other::loading(3)?;
    other::disabled()?;
    let start = Instant::now();
    let said = udev()?;
    // It waits until the other scheduler is loaded, not until it ends.
    ensure!(
        said.contains("other") && scx_ops().as_deref() == Some("other"),
        "{said}"
    );
    println!(
        "the other scheduler was enabled after {:?}",
        start.elapsed()
    );
    other.stop()?;
    udev_resumes()?;

    // Waiting for a slow loader is limited.
    let other = Other::loading(60)?;
    other::disabled()?;
    let start = Instant::now();
    run_ok(SCX_PRELOAD, &["resume", "--wait", "2"])?;
    let waited = start.elapsed();
    ensure!((1..10).contains(&waited.as_secs()), "{waited:?}");
    is_ours()?;
    drop(other);
    is_ours()
}

/// `resume` does not wait for a process that created a struct_ops map and exited.
fn comes_back_after_a_probe() -> Result<()> {
    load(&[])?;
    let probe = Other::loading(60)?;
    other::disabled()?;
    drop(probe);
    let start = Instant::now();
    udev_resumes()?;
    let waited = start.elapsed();
    ensure!(waited < Duration::from_secs(10), "{waited:?}");
    Ok(())
}

fn own_loads_are_no_reason_to_leave() -> Result<()> {
    load(&[])?;
    let before = enable_seq()?;
    run_ok(SCX_PRELOAD, &["verify"])?;
    let linked = crate::preload::LINKED;
    crate::preload::link("hook_task_slice")?;
    run_ok(SCX_PRELOAD, &["verify", linked])?;
    refused(&["load"], 1, &["loaded already"])?;
    is_ours()?;
    ensure!(enable_seq()? == before);
    Ok(())
}

fn another_that_was_loaded_before_gets_its_turn() -> Result<()> {
    unload_any()?;
    let other = Other::loading(4)?;
    // Until its struct_ops map exists.
    sleep(Duration::from_secs(2));
    refused(&["load"], 1, &["other", "--standby"])?;
    ensure!(scx_ops().as_deref() == Some("other"));
    other.stop()
}

/// At any moment of our load: the other scheduler attaches, and `load` reports it.
fn another_that_starts_meanwhile_gets_its_turn() -> Result<()> {
    for tenths in 0..6 {
        unload_any()?;
        let mut load = Command::new(SCX_PRELOAD).arg("load").spawn()?;
        sleep(Duration::from_millis(100 * tenths));
        let other = Other::fixture()?;
        let code = load.wait()?.code();
        println!("after {tenths}/10 s: load ended with {code:?}");
        ensure!(code == Some(0) || code == Some(1), "{code:?}");
        ensure!(scx_ops().as_deref() == Some("other"), "{:?}", scx_ops());
        other.stop()?;
        udev()?;
    }
    Ok(())
}

fn follows_at_boot() -> Result<()> {
    unload_any()?;
    let other = Other::fixture()?;
    refused(&["load", "--boot"], 0, &["stands by", "other"])?;
    stays_out(&["other", "when it has ended"])?;
    other.stop()?;
    udev_resumes()
}

fn stands_by_until_asked() -> Result<()> {
    let before = enable_seq()?;
    load(&["--standby"])?;
    ensure!(scx_state()? == "disabled" && enable_seq()? == before);
    let why = status()?["stands_by"].to_string();
    ensure!(why.contains("resume"), "{why}");
    run_ok(SCX_PRELOAD, &["resume"])?;
    is_ours()?;
    ensure!(status()?["stands_by"].is_null());
    unload()?;

    load(&["--standby"])?;
    Other::fixture()?.stop()?;
    udev_resumes()?;
    unload()?;

    // A scheduler on standby can be replaced, and survives a failed load.
    load(&["--standby"])?;
    let reject = object("reject");
    refused(&["load", "--object", &reject], 1, &[])?;
    ensure!(!status()?["stands_by"].is_null());
    run_ok(SCX_PRELOAD, &["load"])?;
    is_ours()
}

fn sysrq_means_out_until_load() -> Result<()> {
    load(&[])?;
    end_with_sysrq()?;
    stays_out(&["sysrq-S", "scx_preload load"])?;
    stays_out(&["sysrq-S"])?;
    run_ok(SCX_PRELOAD, &["load"])?;
    is_ours()
}

fn sysrq_on_another_means_out() -> Result<()> {
    load(&[])?;
    let other = Other::fixture()?;
    end_with_sysrq()?;
    drop(other);
    stays_out(&["sysrq-S", "scx_preload load"])
}

fn error_brings_the_defaults_once() -> Result<()> {
    load_override("hook_task_slice", &[])?;
    eject()?;
    let said = udev()?;
    is_ours().context(said.clone())?;
    ensure!(said.contains("without overrides"), "{said}");
    let overridden = status()?["hooks"]
        .to_string()
        .contains("\"overridden\":true");
    ensure!(!overridden, "a hook is still overridden");
    eject()?;
    other::disabled()?;
    stays_out(&["twice", "scx_preload load"])?;
    // Nor is it reattached when another scheduler ends.
    Other::fixture()?.stop()?;
    stays_out(&["twice"])
}

fn errors_are_forgotten_by_load() -> Result<()> {
    for _ in 0..2 {
        load(&[])?;
        eject()?;
        udev_resumes()?;
        unload()?;
    }
    Ok(())
}

fn run_hands_over_and_comes_back() -> Result<()> {
    load(&[])?;
    let mut run = other::start_run(&[other::PROGRAM, &object("other")])?;
    other::fixture_runs()?;
    // Ctrl-C goes to the whole group.
    let pid = child_of(run.id())?;
    kill(Pid::from_raw(pid), Signal::SIGINT)?;
    let code = run.wait()?.code();
    ensure!(code == Some(130), "{code:?}");
    is_ours()
}

fn run_gives_the_exit_code() -> Result<()> {
    load(&[])?;
    for (command, code) in [
        (&[SCX_PRELOAD, "--version"][..], 0),
        (&[SCX_PRELOAD, "--no-such-option"], 2),
        (&["/no/such/program"], 127),
        (&["/"], 126),
    ] {
        let out = run(SCX_PRELOAD, &[&["run", "--"], command].concat())?;
        ensure!(
            out.code == Some(code),
            "{command:?}: {:?}: {}",
            out.code,
            out.stderr
        );
        is_ours()?;
    }
    unload()?;
    refused(&["run", "--", SCX_PRELOAD], 1, &["not loaded"])
}

fn run_is_held_against_udev() -> Result<()> {
    load(&[])?;
    let mut run = other::start_run(SLOW)?;
    other::disabled()?;
    stays_out(&["scx_preload run"])?;
    refused(&["run", "--", SCX_PRELOAD], 1, &["scx_preload run"])?;
    // A killed `run` holds no lock; it cannot end its command, which is orphaned.
    let orphan = Pid::from_raw(child_of(run.id())?);
    run.kill()?;
    run.wait()?;
    run_ok(SCX_PRELOAD, &["resume", "--wait", "0"])?;
    is_ours()?;
    Ok(kill(orphan, Signal::SIGKILL)?)
}

fn run_passes_signals_on() -> Result<()> {
    load(&[])?;
    let mut run = other::start_run(SLOW)?;
    other::disabled()?;
    child_of(run.id())?;
    kill(Pid::from_raw(run.id() as i32), Signal::SIGTERM)?;
    let code = run.wait()?.code();
    ensure!(code == Some(143), "{code:?}");
    is_ours()
}

/// Another scheduler that attaches long after it was loaded.
const SLOW: &[&str] = &[other::PROGRAM, "--after", "600", "/objects/other.bpf.o"];

fn child_of(pid: u32) -> Result<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let mut child = None;
    wait_for(LIMIT, || {
        let list = fs::read_to_string(&path)?;
        child = list
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok());
        ensure!(child.is_some(), "no child");
        Ok(())
    })?;
    child.context("no child")
}

fn unload_while_another_runs() -> Result<()> {
    load(&[])?;
    let other = Other::fixture()?;
    unload()?;
    refused(&["resume"], 1, &["not loaded"])?;
    ensure!(scx_ops().as_deref() == Some("other"));
    other.stop()?;
    ensure!(udev()?.is_empty() && scx_state()? == "disabled");
    Ok(())
}

fn two_loads_at_once() -> Result<()> {
    unload_any()?;
    let start = || Command::new(SCX_PRELOAD).arg("load").spawn();
    let mut loads = [start()?, start()?];
    let mut codes = Vec::new();
    for load in &mut loads {
        codes.push(load.wait()?.code());
    }
    codes.sort();
    ensure!(codes == [Some(0), Some(1)], "{codes:?}");
    is_ours()
}

/// Without its pins, the scheduler ends and can be loaded again.
fn pins_removed_by_hand() -> Result<()> {
    load(&[])?;
    fs::remove_dir_all("/sys/fs/bpf/scx_preload")?;
    other::disabled()?;
    ensure!(udev()?.is_empty());
    refused(&["unload"], 1, &["not loaded"])?;
    load(&[])?;
    is_ours()?;
    unload()
}
