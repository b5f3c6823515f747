// SPDX-License-Identifier: GPL-2.0-only
//! Errors, and reasons to stay out, that outlive the loaded scheduler. They are kept in a
//! pinned map until the kernel ends or the user loads or unloads.

use std::fs;
use std::time::Duration;

use serde::Serialize;

use super::bpffs::PinDir;
use super::record::Record;
use super::sched_ext::monotonic;
use crate::Result;
use crate::abi::HISTORY_PIN;

/// Age after which errors are forgotten.
const ERROR_AGE: Duration = Duration::from_secs(3600);

const RECORD: Record<4> = Record {
    path: HISTORY_PIN,
    name: "preload_history",
};

/// Why our scheduler stays out until the user loads it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StayOutReason {
    /// sysrq-S was pressed.
    Sysrq,
    /// The kernel has ejected the defaults without overrides, too.
    Errors,
}

/// The content of the map.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct History {
    /// How often the kernel has ejected our scheduler, each time within an hour of the last.
    pub errors: u64,
    /// When it last did, CLOCK_MONOTONIC, ns.
    last_error: u64,
    /// Why our scheduler stays out until the user loads it again.
    pub out: Option<StayOutReason>,
    /// The process of a `run`, during which nothing reattaches our scheduler, with its
    /// start time in the upper half; or 0.
    hold: u64,
}

impl History {
    /// The pinned history; the default if there is none.
    pub fn read() -> Result<Self> {
        let [errors, last_error, out, hold] = RECORD.read()?.unwrap_or_default();
        Ok(Self {
            errors,
            last_error,
            out: match out {
                0 => None,
                1 => Some(StayOutReason::Sysrq),
                _ => Some(StayOutReason::Errors),
            },
            hold,
        })
    }

    /// Pin it.
    pub fn write(&self, _locked: &PinDir) -> Result<()> {
        let out = match self.out {
            None => 0,
            Some(StayOutReason::Sysrq) => 1,
            Some(StayOutReason::Errors) => 2,
        };
        RECORD.write([self.errors, self.last_error, out, self.hold])
    }

    /// Count an error, and forget old ones.
    pub fn count_error(&mut self) {
        let now = monotonic();
        if now.saturating_sub(Duration::from_nanos(self.last_error)) > ERROR_AGE {
            self.errors = 0;
        }
        self.errors += 1;
        self.last_error = now.as_nanos() as u64;
    }

    /// Let no other process reattach our scheduler while this one lives.
    pub fn hold(&mut self) {
        self.hold = alive(std::process::id()).unwrap_or(0);
    }

    /// End [`Self::hold`].
    pub fn release(&mut self) {
        self.hold = 0;
    }

    /// The process that holds our scheduler back, if it is alive.
    pub fn held_by(&self) -> Option<u32> {
        let pid = self.hold as u32;
        (self.hold != 0 && alive(pid) == Some(self.hold)).then_some(pid)
    }
}

/// A live process in the format of `hold`. Its start time tells it from a later process
/// with the same PID.
fn alive(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything, parentheses too; the start time is field 22.
    let (_, fields) = stat.rsplit_once(')')?;
    let start: u64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    Some(start << 32 | u64::from(pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_add_up_until_they_are_old() {
        let mut history = History::default();
        history.count_error();
        history.count_error();
        assert_eq!(history.errors, 2);
        let long_ago = monotonic().saturating_sub(ERROR_AGE + Duration::from_secs(1));
        // There is no such time on a system that has been up for less than an hour.
        if !long_ago.is_zero() {
            history.last_error = long_ago.as_nanos() as u64;
            history.count_error();
            assert_eq!(history.errors, 1);
        }
    }

    #[test]
    fn held_by_processes_that_live() {
        let mut history = History::default();
        assert_eq!(history.held_by(), None);
        history.hold();
        assert_eq!(history.held_by(), Some(std::process::id()));
        // Another start time: another process.
        history.hold ^= 1 << 32;
        assert_eq!(history.held_by(), None);
        history.hold = u64::from(u32::MAX);
        assert_eq!(history.held_by(), None);
    }
}
