// SPDX-License-Identifier: GPL-2.0-only
//! Helpers to run the program under test.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::other;
use crate::sys::{SCX_PRELOAD, bpf_objects, run, run_ok, scx_ops, scx_state, wait_for};

/// Where the overrides and fixtures are.
pub const OBJECTS: &str = "/objects";

/// The pin that keeps the scheduler attached.
pub const PIN: &str = "/sys/fs/bpf/scx_preload/loaded/link";

/// All pins of the loaded scheduler.
pub const LOADED: &str = "/sys/fs/bpf/scx_preload/loaded";

/// The path of an override or fixture.
pub fn object(name: &str) -> String {
    format!("{OBJECTS}/{name}.bpf.o")
}

/// Runs `scx_preload`, which must exit with `code` and print all `words` to stderr.
pub fn refused(args: &[&str], code: i32, words: &[&str]) -> Result<()> {
    let out = run(SCX_PRELOAD, args)?;
    ensure!(
        out.code == Some(code),
        "{args:?} exited with {:?}: {}",
        out.code,
        out.stderr
    );
    for word in words {
        ensure!(
            out.stderr.contains(word),
            "{args:?} does not print {word:?}: {}",
            out.stderr
        );
    }
    Ok(())
}

pub fn disabled_and_unpinned() -> Result<()> {
    ensure!(scx_state()? == "disabled", "{}", scx_state()?);
    ensure!(!fs::exists(LOADED)?, "{LOADED} still exists");
    Ok(())
}

/// Our scheduler is enabled.
pub fn is_ours() -> Result<()> {
    let (state, ops) = (scx_state()?, scx_ops());
    ensure!(
        state == "enabled" && ops.as_deref() == Some("preload"),
        "{state} with {ops:?}"
    );
    Ok(())
}

/// Runs the command of the udev rule; returns its messages.
pub fn udev() -> Result<String> {
    Ok(run(SCX_PRELOAD, &["resume", "--udev"])?.stderr)
}

/// The udev rule reattaches our scheduler.
pub fn udev_resumes() -> Result<()> {
    let start = Instant::now();
    let said = udev()?;
    println!("resume took {:?}: {}", start.elapsed(), said.trim());
    is_ours().context(said)
}

/// Runs `scx_preload load` with further arguments, after unloading what an earlier test
/// left loaded.
pub fn load(args: &[&str]) -> Result<()> {
    unload_any()?;
    let all: Vec<&str> = ["load"].iter().chain(args).copied().collect();
    run_ok(SCX_PRELOAD, &all).map(drop)
}

/// Path of an override linked with the defaults.
pub const LINKED: &str = "/run/linked.bpf.o";

/// Links the override `name` with the defaults.
pub fn link(name: &str) -> Result<()> {
    link_all(&[name])
}

/// Links several overrides with the defaults.
pub fn link_all(names: &[&str]) -> Result<()> {
    let objects: Vec<String> = names.iter().map(|name| object(name)).collect();
    let mut args = vec!["link", "-o", LINKED];
    args.extend(objects.iter().map(String::as_str));
    run_ok(SCX_PRELOAD, &args).map(drop)
}

/// Links the override `name` and loads the result, with further arguments of `load`.
pub fn load_override(name: &str, args: &[&str]) -> Result<()> {
    load_overrides(&[name], args)
}

/// The same with several overrides in one scheduler.
pub fn load_overrides(names: &[&str], args: &[&str]) -> Result<()> {
    link_all(names)?;
    load(&[&["--object", LINKED], args].concat())
}

/// Exactly `hooks` are overridden and called, there was no soft bypass, and no bad results but
/// one in a hundred, as an idle CPU that a hook picks may be busy by the time it is checked.
pub fn is_fine(hooks: &[&str]) -> Result<()> {
    let status = status()?;
    ensure!(status["ours"] == true, "{}", status["kernel"]);
    let log = &status["bypass"]["log"];
    ensure!(log.as_array().is_none_or(Vec::is_empty), "{log}");
    for hook in status["hooks"].as_array().context("no hooks")? {
        let due = hooks.iter().any(|name| hook["name"] == *name);
        let (calls, bad) = (hook["calls"].as_u64(), hook["bad"].as_u64());
        let (calls, bad) = calls.zip(bad).context("no counters")?;
        ensure!(hook["overridden"] == due && bad * 100 <= calls, "{hook}");
        ensure!(!due || calls != 0, "{hook}");
    }
    Ok(())
}

/// Unloads our scheduler if it is loaded.
pub fn unload_any() -> Result<()> {
    if fs::exists(LOADED)? {
        unload()?;
    }
    Ok(())
}

/// Makes the kernel eject the running scheduler, as for an error.
pub fn eject() -> Result<()> {
    run_ok(other::PROGRAM, &[&object("eject")]).map(drop)
}

pub fn unload() -> Result<()> {
    run_ok(SCX_PRELOAD, &["unload"]).map(drop)
}

/// Number of BPF objects without ours, after a first load has mounted bpffs.
pub fn objects_when_unloaded() -> Result<[usize; 3]> {
    load(&[])?;
    unload()?;
    let mut last = bpf_objects();
    wait_for(Duration::from_secs(20), || {
        sleep(Duration::from_millis(200));
        let before = std::mem::replace(&mut last, bpf_objects());
        ensure!(before == last, "{before:?}, {last:?}");
        Ok(())
    })?;
    Ok(last)
}

/// `scx_preload status --json`
pub fn status() -> Result<Value> {
    let text = run_ok(SCX_PRELOAD, &["status", "--json"])?;
    serde_json::from_str(&text).with_context(|| format!("status is not JSON: {text}"))
}

/// The counter `calls`, `dfl` or `bad` of a hook.
pub fn hook(status: &Value, name: &str, count: &str) -> Result<u64> {
    let hooks = status["hooks"].as_array().context("status has no hooks")?;
    let hook = hooks.iter().find(|h| h["name"] == name);
    hook.and_then(|h| h[count].as_u64())
        .with_context(|| format!("status has no {count} of {name}"))
}

/// An event counter.
pub fn counter(status: &Value, name: &str) -> Result<u64> {
    let count = status["counters"][name].as_u64();
    count.with_context(|| format!("status has no counter {name}"))
}
