// SPDX-License-Identifier: GPL-2.0-only
//! The journal of this boot, including the initrd.

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::sys::run_ok;

pub struct Entry {
    /// Time since the kernel's start.
    pub us: u64,
    /// syslog priority: 4 is a warning, lower is more severe.
    pub priority: u8,
    pub message: String,
    from_pid1: bool,
    /// From the kernel's log, which scx_preload in an initramfs without systemd also writes
    /// to.
    pub from_kmsg: bool,
}

/// Entries of systemd, and those found by `journalctl -u scx_preload` and
/// `journalctl -t scx_preload`, which include the initramfs and the udev rule.
pub fn read() -> Result<Vec<Entry>> {
    find(&[
        "_PID=1",
        "+",
        "_SYSTEMD_UNIT=scx_preload.service",
        "+",
        "_UID=0",
        "OBJECT_SYSTEMD_UNIT=scx_preload.service",
        "+",
        "SYSLOG_IDENTIFIER=scx_preload",
    ])
}

fn find(matches: &[&str]) -> Result<Vec<Entry>> {
    let args = ["--boot", "--no-pager", "--output=json"];
    let text = run_ok("journalctl", &[&args[..], matches].concat())?;
    text.lines().map(entry).collect()
}

fn entry(line: &str) -> Result<Entry> {
    let fields: Value = serde_json::from_str(line).context("journalctl did not print JSON")?;
    let field = |name: &str| fields[name].as_str().unwrap_or_default();
    let from_kmsg = field("_TRANSPORT") == "kernel";
    // When journald received it, or when the kernel did.
    let time = if from_kmsg {
        "_SOURCE_MONOTONIC_TIMESTAMP"
    } else {
        "__MONOTONIC_TIMESTAMP"
    };
    Ok(Entry {
        us: field(time).parse().context("an entry without a time")?,
        priority: field("PRIORITY").parse().unwrap_or(6),
        message: field("MESSAGE").into(),
        from_pid1: field("_PID") == "1",
        from_kmsg,
    })
}

/// The messages of scx_preload.
pub fn ours() -> Result<Vec<Entry>> {
    Ok(read()?.into_iter().filter(|e| !e.from_pid1).collect())
}

/// When the initrd switched to the real root.
pub fn switch_root() -> Result<u64> {
    let entries = read()?;
    let entry = entries
        .iter()
        .find(|e| e.from_pid1 && e.message.starts_with("Switching root"));
    entry
        .map(|e| e.us)
        .context("no \"Switching root\" in the journal")
}

/// When the real root was mounted.
pub fn root_mounted() -> Result<u64> {
    let entries = find(&["_TRANSPORT=kernel"])?;
    let mounted = |e: &&Entry| e.message.starts_with("EXT4-fs (vda): mounted");
    let entry = entries.iter().find(mounted);
    entry
        .map(|e| e.us)
        .context("no EXT4 mount of the root in the kernel's log")
}

/// When our scheduler was attached.
pub fn attached() -> Result<u64> {
    let ours = ours()?;
    let entry = ours.iter().find(|e| e.message.contains("attached"));
    entry
        .map(|e| e.us)
        .with_context(|| format!("no \"attached\" among our messages:{}", text(&ours)))
}

/// The current time on the journal's clock.
pub fn now() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).context("cannot read the clock")?;
    Ok(now.tv_sec() as u64 * 1_000_000 + now.tv_nsec() as u64 / 1000)
}

/// For error messages.
pub fn text(entries: &[Entry]) -> String {
    let lines = entries.iter().map(|e| {
        format!(
            "\n  {:.3} s <{}> {}",
            e.us as f64 / 1e6,
            e.priority,
            e.message
        )
    });
    lines.collect()
}
