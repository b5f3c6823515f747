// SPDX-License-Identifier: GPL-2.0-only
//! The program under test, as the suites use it.

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::sys::{SCX_PRELOAD, run_ok, scx_ops, scx_state, wait_for};

/// Where the overrides and fixtures are.
pub const OBJECTS: &str = "/objects";

/// `scx_preload load` with further arguments; whatever an earlier test left
/// loaded goes first.
pub fn load(args: &[&str]) -> Result<()> {
    if fs::exists("/sys/fs/bpf/scx_preload/link")? {
        unload()?;
    }
    let all: Vec<&str> = ["load"].iter().chain(args).copied().collect();
    run_ok(SCX_PRELOAD, &all).map(drop)
}

/// Links the override `name` with the defaults and loads the result.
pub fn load_override(name: &str) -> Result<()> {
    let object = format!("{OBJECTS}/{name}.bpf.o");
    run_ok(SCX_PRELOAD, &["link", "-o", "/run/linked.bpf.o", &object])?;
    load(&["--object", "/run/linked.bpf.o"])
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

/// Somebody else's scheduler, attached as long as this lives.
pub struct Other(Child);

impl Other {
    pub fn start() -> Result<Self> {
        let child = Command::new("/usr/bin/other").spawn();
        let mut other = Self(child.context("cannot start the other scheduler")?);
        wait_for(Duration::from_secs(20), || {
            if let Some(status) = other.0.try_wait()? {
                bail!("the other scheduler ended: {status}");
            }
            ensure!(scx_ops().as_deref() == Some("other") && scx_state()? == "enabled");
            Ok(())
        })?;
        Ok(other)
    }

    pub fn stop(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        wait_for(Duration::from_secs(20), || {
            ensure!(scx_state()? == "disabled", "{}", scx_state()?);
            Ok(())
        })
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
