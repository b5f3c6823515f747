// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's own bypass: our interval of its balancer comes, works, and goes.

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

/// None, after a look at what that means to a load, on a kernel without it.
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

/// At the kernel's default again when dropped.
struct Parameter;

impl Parameter {
    fn set(&self, us: u64) -> Result<()> {
        fs::write(PARAMETER, us.to_string()).context(PARAMETER)
    }

    fn is(&self, us: u64) -> Result<()> {
        let now = read(PARAMETER)?;
        ensure!(now == us.to_string(), "{PARAMETER} is {now} and not {us}");
        Ok(())
    }

    /// Ours, as `status` says.
    fn is_ours(&self) -> Result<()> {
        let kept = kept()?;
        let ours = kept["set_us"].as_u64().context("no set_us")?;
        ensure!((1..=100_000).contains(&ours), "ours is {ours}");
        ensure!(kept["before_us"] == DEFAULT_US, "{kept}");
        self.is(ours)
    }
}

impl Drop for Parameter {
    fn drop(&mut self) {
        let _ = self.set(DEFAULT_US);
    }
}

/// What the loaded scheduler keeps of the change.
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
            "a setting of the user's: {settings}"
        );
        unload()?;
        parameter.is(DEFAULT_US)?;
    }
    Ok(())
}

/// What was chosen before a load, 0 for never and ours included, and after it.
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

/// By unload, and by a load that finds the pin of what has ended.
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

/// 20 hogs on CPU 0, which may then go everywhere. Without our interval they stay,
/// as balancing starts at 25 too many.
fn kernel_bypass_spreads_hogs() -> Result<()> {
    let Some(parameter) = at_default()? else {
        return Ok(());
    };
    load(&[])?;
    parameter.is_ours()?;
    if !fs::exists(HIBERNATION)? {
        println!("this kernel has no {HIBERNATION} to hold it in bypass by");
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
    ensure!(bypassed()? > before, "the kernel does not bypass");
    ensure!(busy > 6.0, "{busy:.1} of 8 CPUs busy: {shares:.2?}");
    let least = shares.iter().min().context("no hogs")?;
    ensure!(*least > window / 20, "a hog got {least:.2?}");
    Ok(())
}

/// How many times tasks were queued by the kernel, as it bypassed.
fn bypassed() -> Result<u64> {
    let events = &status()?["kernel"]["events"]["SCX_EV_BYPASS_DISPATCH"];
    events.as_u64().context("no SCX_EV_BYPASS_DISPATCH")
}
