// SPDX-License-Identifier: GPL-2.0-only
//! What has to be known after the loaded scheduler has ended or was replaced. It lives
//! in a pinned map, as long as the kernel does or until a person loads or unloads.

use std::fs;
use std::time::Duration;

use serde::Serialize;

use super::bpffs::PinDir;
use super::record::Record;
use super::sched_ext::monotonic;
use crate::Result;
use crate::abi::HISTORY_PIN;

/// Errors are forgotten after so long.
const ERROR_AGE: Duration = Duration::from_secs(3600);

const RECORD: Record<4> = Record {
    path: HISTORY_PIN,
    name: "preload_history",
};

/// Why we stay out until a person loads again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StayOutReason {
    /// Somebody has pressed sysrq-S.
    Sysrq,
    /// The defaults alone were ejected, too.
    Errors,
}

/// The content of the map.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct History {
    /// How often the kernel has ejected us, of late.
    pub errors: u64,
    /// When it did so last, CLOCK_MONOTONIC, ns.
    last_error: u64,
    /// Until a person loads again.
    pub out: Option<StayOutReason>,
    /// The process of a `run`, which wants to end before we are back, and in the upper
    /// half when it began; or 0.
    hold: u64,
}

impl History {
    /// What is pinned, or nothing.
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

    /// Count an error, and forget those of long ago.
    pub fn count_error(&mut self) {
        let now = monotonic();
        if now.saturating_sub(Duration::from_nanos(self.last_error)) > ERROR_AGE {
            self.errors = 0;
        }
        self.errors += 1;
        self.last_error = now.as_nanos() as u64;
    }

    /// Let nobody bring us back as long as this process lives.
    pub fn hold(&mut self) {
        self.hold = alive(std::process::id()).unwrap_or(0);
    }

    /// End that.
    pub fn release(&mut self) {
        self.hold = 0;
    }

    /// The process that holds us back, if it is still there.
    pub fn held_by(&self) -> Option<u32> {
        let pid = self.hold as u32;
        (self.hold != 0 && alive(pid) == Some(self.hold)).then_some(pid)
    }
}

/// A process as `hold` has it: after it has ended its number may be another's.
fn alive(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in front may have anything in it; the start time is field 22.
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
        // A machine that has not been up for an hour cannot have such a time.
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
        // One of this number that began at another time.
        history.hold ^= 1 << 32;
        assert_eq!(history.held_by(), None);
        history.hold = u64::from(u32::MAX);
        assert_eq!(history.held_by(), None);
    }
}
