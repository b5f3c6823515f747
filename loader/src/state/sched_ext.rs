// SPDX-License-Identifier: GPL-2.0-only
//! State of the kernel's sched_ext: `/sys/kernel/sched_ext`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::abi::VMLINUX_BTF;
use crate::{Error, Result};

const SYSFS: &str = "/sys/kernel/sched_ext";

/// The state of sched_ext at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct SchedExt {
    /// `enabled`, `enabling`, `disabling` or `disabled`.
    pub state: String,
    /// Name of the root scheduler, if any.
    pub ops: Option<String>,
    /// How many schedulers have been enabled since boot.
    pub enable_seq: u64,
    /// The root scheduler's event counters, under the kernel's names.
    pub events: BTreeMap<String, u64>,
}

impl SchedExt {
    /// Read the state. Fails with [`Error::Unsupported`] on a kernel without
    /// sched_ext.
    pub fn read() -> Result<Self> {
        let state = fs::read_to_string(format!("{SYSFS}/state")).map_err(|_| {
            Error::Unsupported(format!(
                "{SYSFS} is missing; it requires CONFIG_SCHED_CLASS_EXT=y and a mounted /sys"
            ))
        })?;
        let text = |file| fs::read_to_string(format!("{SYSFS}/{file}")).unwrap_or_default();
        let ops = text("root/ops").trim().to_owned();
        let events = text("root/events");
        Ok(Self {
            state: state.trim().to_owned(),
            ops: Some(ops).filter(|ops| !ops.is_empty()),
            enable_seq: text("enable_seq").trim().parse().unwrap_or(0),
            events: events
                .lines()
                .filter_map(|line| line.split_once(' '))
                .filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)))
                .collect(),
        })
    }

    /// Is a scheduler of this name the enabled root?
    pub fn runs(&self, ops: &str) -> bool {
        self.state == "enabled" && self.ops.as_deref() == Some(ops)
    }

    /// Read until `done` or until `limit` has passed; returns the last state read.
    pub fn wait(limit: Duration, done: impl Fn(&Self) -> bool) -> Result<Self> {
        let end = Instant::now() + limit;
        loop {
            let now = Self::read()?;
            if done(&now) || Instant::now() >= end {
                return Ok(now);
            }
            sleep(Duration::from_millis(10));
        }
    }
}

/// The time of `bpf_ktime_get_ns()`, CLOCK_MONOTONIC.
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(Duration::from)
        .unwrap_or_default()
}

/// Fail with [`Error::Unsupported`] if this kernel cannot load a scheduler.
pub fn require_sched_ext() -> Result<()> {
    SchedExt::read()?;
    if !Path::new(VMLINUX_BTF).exists() {
        return Err(Error::Unsupported(format!(
            "{VMLINUX_BTF} is missing; it requires CONFIG_DEBUG_INFO_BTF=y"
        )));
    }
    Ok(())
}
