// SPDX-License-Identifier: GPL-2.0-only
//! Kernel bypass: our balancing interval is set, takes effect, and is restored.

use std::fs::{self, File};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Test;
use crate::hog::{Hog, Kind, shares};
use crate::preload::{OBJECTS, load, status, unload, unload_any};
use crate::sys::{
    BYPASS_LB_INTERVAL, HIBERNATION, SCX_PRELOAD, become_realtime, end_with_sysrq, read, run,
    run_ok,
};
use crate::tests;

pub const TESTS: &[Test] = tests![
    kernel_lb_is_set_while_loaded,
    kernel_lb_of_others_stays,
    kernel_lb_comes_back_after_sysrq,
    kernel_lb_comes_back_after_a_failed_load,
    kernel_bypass_spreads_hogs,
];

const PARAMETER: &str = BYPASS_LB_INTERVAL;
const DEFAULT_US: u64 = 500_000;

/// The parameter at its default. On a kernel without it, checks that a load works and returns
/// `None`.
fn at_default() -> Result<Option<Parameter>> {
    unload_any()?;
    if !fs::exists(PARAMETER)? {
        println!("this kernel has no {PARAMETER}");
        load(&[])?;
        ensure!(kept()?["set_us"] == 0, "{}", kept()?);
        unload()?;
        return Ok(None);
    }
    let parameter = Parameter;
    parameter.is(DEFAULT_US)?;
    Ok(Some(parameter))
}

/// Restored to the kernel's default when dropped.
struct Parameter;

impl Parameter {
    fn set(&self, us: u64) -> Result<()> {
        fs::write(PARAMETER, us.to_string()).context(PARAMETER)
    }

    fn is(&self, us: u64) -> Result<()> {
        let now = read(PARAMETER)?;
        ensure!(now == us.to_string(), "{PARAMETER} is {now}, not {us}");
        Ok(())
    }

    /// The parameter has our value, as reported by `status`.
    fn is_ours(&self) -> Result<()> {
        let kept = kept()?;
        let ours = kept["set_us"].as_u64().context("no set_us")?;
        ensure!((1..=100_000).contains(&ours), "our value is {ours}");
        ensure!(kept["before_us"] == DEFAULT_US, "{kept}");
        self.is(ours)
    }
}

impl Drop for Parameter {
    fn drop(&mut self) {
        let _ = self.set(DEFAULT_US);
    }
}

/// The record of the change that the loaded scheduler keeps.
fn kept() -> Result<Value> {
    Ok(status()?["kernel_bypass"].clone())
}

fn kernel_lb_is_set_while_loaded() -> Result<()> {
    let Some(parameter) = at_default()? else {
        return Ok(());
    };
    for _ in 0..2 {
        load(&[])?;
        parameter.is_ours()?;
        let settings = status()?["settings"].clone();
        ensure!(
            !settings.to_string().contains("kernel_bypass"),
            "listed as a user setting: {settings}"
        );
        unload()?;
        parameter.is(DEFAULT_US)?;
    }
    Ok(())
}

/// Values set by the user before a load, including 0 (never) and ours, or after it.
fn kernel_lb_of_others_stays() -> Result<()> {
    let Some(parameter) = at_default()? else {
        return Ok(());
    };
    for chosen in [0, 20_000, 123_456] {
        parameter.set(chosen)?;
        load(&[])?;
        parameter.is(chosen)?;
        unload()?;
        parameter.is(chosen)?;
    }
    parameter.set(DEFAULT_US)?;
    load(&[])?;
    parameter.set(123_456)?;
    unload()?;
    parameter.is(123_456)
}

/// Restored by unload; also after a load that finds the pin of an ended scheduler.
fn kernel_lb_comes_back_after_sysrq() -> Result<()> {
    let Some(parameter) = at_default()? else {
        return Ok(());
    };
    load(&[])?;
    end_with_sysrq()?;
    parameter.is_ours()?;
    unload()?;
    parameter.is(DEFAULT_US)?;

    load(&[])?;
    end_with_sysrq()?;
    run_ok(SCX_PRELOAD, &["load"])?;
    parameter.is_ours()?;
    unload()?;
    parameter.is(DEFAULT_US)
}

fn kernel_lb_comes_back_after_a_failed_load() -> Result<()> {
    let Some(parameter) = at_default()? else {
        return Ok(());
    };
    let object = |name| format!("{OBJECTS}/{name}.bpf.o");
    for (name, args) in [
        ("reject", &[][..]),
        ("init_fails", &[]),
        ("hook_init", &["--set", "slice_ns=-1"]),
    ] {
        let linked = format!("/run/{name}.bpf.o");
        run_ok(SCX_PRELOAD, &["link", "-o", &linked, &object(name)])?;
        let out = run(
            SCX_PRELOAD,
            &[&["load", "--object", &linked], args].concat(),
        )?;
        ensure!(out.code == Some(1), "{name}: {:?}", out.code);
        parameter.is(DEFAULT_US)?;
    }
    Ok(())
}

/// 20 hogs on CPU 0 that are then allowed everywhere. With the kernel's interval they would
/// stay, as balancing then starts at an imbalance of 25.
fn kernel_bypass_spreads_hogs() -> Result<()> {
    let Some(parameter) = at_default()? else {
        return Ok(());
    };
    load(&[])?;
    parameter.is_ours()?;
    if !fs::exists(HIBERNATION)? {
        println!("this kernel has no {HIBERNATION}, which starts kernel bypass");
        return Ok(());
    }
    become_realtime()?;
    let before = bypassed()?;
    let _bypass = File::open(HIBERNATION).context(HIBERNATION)?;
    let hogs = Hog::start_many(
        20,
        Kind {
            cpus: &[0],
            ..Kind::default()
        },
    )?;
    sleep(Duration::from_millis(300));
    for hog in &hogs {
        hog.allow(0..8)?;
    }
    let window = Duration::from_secs(3);
    let shares = shares(&hogs, window)?;
    let busy = shares.iter().sum::<Duration>().div_duration_f64(window);
    println!("{busy:.1} CPUs busy: {shares:.2?}");
    ensure!(bypassed()? > before, "kernel bypass did not start");
    ensure!(busy > 6.0, "{busy:.1} of 8 CPUs busy: {shares:.2?}");
    let least = shares.iter().min().context("no hogs")?;
    ensure!(*least > window / 20, "a hog got {least:.2?}");
    Ok(())
}

/// How many times the kernel dispatched a task while it bypassed the scheduler.
fn bypassed() -> Result<u64> {
    let events = &status()?["kernel"]["events"]["SCX_EV_BYPASS_DISPATCH"];
    events.as_u64().context("no SCX_EV_BYPASS_DISPATCH")
}
