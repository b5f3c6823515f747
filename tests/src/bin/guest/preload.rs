// SPDX-License-Identifier: GPL-2.0-only
//! The program under test, as the suites use it.

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::sys::{SCX_PRELOAD, run_ok, scx_ops, scx_state, wait_for};

/// Where the overrides and fixtures are.
pub const OBJECTS: &str = "/objects";

/// Enabling and disabling walk every task; the host may be slow.
const OTHER_LIMIT: Duration = Duration::from_secs(20);

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
    /// That of the fixtures.
    pub fn start() -> Result<Self> {
        let object = format!("{OBJECTS}/other.bpf.o");
        Self::start_program(&["/usr/bin/other", &object], "other", OTHER_LIMIT)
    }

    /// A program whose scheduler's name starts with `ops`.
    pub fn start_program(command: &[&str], ops: &str, limit: Duration) -> Result<Self> {
        let child = Command::new(command[0]).args(&command[1..]).spawn();
        let mut other = Self(child.with_context(|| format!("cannot start {}", command[0]))?);
        let mut ended = None;
        wait_for(limit, || {
            ended = other.0.try_wait()?;
            let attached = || scx_ops().is_some_and(|name| name.starts_with(ops));
            ensure!(
                ended.is_some() || attached() && scx_state()? == "enabled",
                "no {ops}, the state is {}",
                scx_state()?
            );
            Ok(())
        })?;
        if let Some(status) = ended {
            bail!("{} ended: {status}", command[0]);
        }
        Ok(other)
    }

    /// Ends it as Ctrl-C does.
    pub fn stop(&mut self) -> Result<()> {
        kill(Pid::from_raw(self.0.id() as i32), Signal::SIGINT)?;
        self.0.wait()?;
        wait_for(OTHER_LIMIT, || {
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
