// SPDX-License-Identifier: GPL-2.0-only
//! The program under test, as the suites use it.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::sys::{SCX_PRELOAD, run_ok};

/// Where the overrides and fixtures are.
pub const OBJECTS: &str = "/objects";

/// `scx_preload load` with further arguments; whatever an earlier test left
/// loaded goes first.
pub fn load(args: &[&str]) -> Result<()> {
    unload_any()?;
    let all: Vec<&str> = ["load"].iter().chain(args).copied().collect();
    run_ok(SCX_PRELOAD, &all).map(drop)
}

/// Where an override is when it is linked with the defaults.
pub const LINKED: &str = "/run/linked.bpf.o";

/// Links the override `name` with the defaults.
pub fn link(name: &str) -> Result<()> {
    let object = format!("{OBJECTS}/{name}.bpf.o");
    run_ok(SCX_PRELOAD, &["link", "-o", LINKED, &object]).map(drop)
}

/// Links the override `name` and loads the result, with further arguments of `load`.
pub fn load_override(name: &str, args: &[&str]) -> Result<()> {
    link(name)?;
    load(&[&["--object", LINKED], args].concat())
}

/// Whatever is loaded of ours, if anything.
pub fn unload_any() -> Result<()> {
    if fs::exists("/sys/fs/bpf/scx_preload/link")? {
        unload()?;
    }
    Ok(())
}

pub fn unload() -> Result<()> {
    run_ok(SCX_PRELOAD, &["unload"]).map(drop)
}

/// `scx_preload status --json`
pub fn status() -> Result<Value> {
    let text = run_ok(SCX_PRELOAD, &["status", "--json"])?;
    serde_json::from_str(&text).with_context(|| format!("status is no JSON: {text}"))
}

/// One counter of one hook, `calls`, `dfl` or `bad`.
pub fn hook(status: &Value, name: &str, count: &str) -> Result<u64> {
    let hooks = status["hooks"].as_array().context("status has no hooks")?;
    let hook = hooks.iter().find(|h| h["name"] == name);
    hook.and_then(|h| h[count].as_u64())
        .with_context(|| format!("status has no {count} of {name}"))
}

/// One event counter.
pub fn counter(status: &Value, name: &str) -> Result<u64> {
    let count = status["counters"][name].as_u64();
    count.with_context(|| format!("status has no counter {name}"))
}
