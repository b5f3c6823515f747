// SPDX-License-Identifier: GPL-2.0-only
//! The load-balancing interval of the kernel's bypass, scx_bypass(). While the kernel
//! enables or disables a scheduler, and during suspend, it calls no BPF program. Each CPU
//! then has a FIFO DSQ, and a timer balances these. A module parameter sets its interval and
//! the smallest imbalance that it acts on: as many tasks as run in a quarter of the
//! interval, 25 by default.
//!
//! A pinned map records the change before it is made, so that the next process can revert
//! it.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::Result;
use crate::abi::LB_INTERVAL_PIN;
use crate::state::bpffs::PinDir;
use crate::state::record::Record;

const PARAMETER: &str = "/sys/module/sched_ext/parameters/bypass_lb_intv_us";

/// `SCX_BYPASS_LB_DFL_INTV_US`. Any other value is the user's choice.
const DEFAULT_US: u64 = 500_000;

/// 20 hogs, max/min CPU time: 1.8 up to here, 3 at 50 ms; at 500 ms, 7 of 8 CPUs idle.
const OURS_US: u64 = 20_000;

const RECORD: Record<2> = Record {
    path: LB_INTERVAL_PIN,
    name: "preload_lb",
};

/// The change of the interval by a load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LbInterval {
    /// The new interval in µs; 0 if it was left alone.
    pub set_us: u64,
    /// The interval before, in µs.
    pub before_us: u64,
}

impl LbInterval {
    /// The current change, whether or not the scheduler runs.
    pub fn read() -> Result<Self> {
        let [set_us, before_us] = RECORD.read()?.unwrap_or_default();
        Ok(Self { set_us, before_us })
    }

    /// Shorten the kernel's default, if the change can be recorded.
    pub(crate) fn shorten(_locked: &PinDir) {
        let path = Path::new(PARAMETER);
        let due = Self::due(path);
        if due.set_us == 0 {
            return;
        }
        match RECORD.write([due.set_us, due.before_us]) {
            Ok(()) => due.set_at(path),
            Err(err) => log::debug!("leaving {PARAMETER} alone: {err}"),
        }
    }

    /// Restore it, unless it has changed since.
    pub(crate) fn restore(locked: &PinDir) {
        let restored = Self::read().and_then(|changed| {
            changed.restore_at(Path::new(PARAMETER));
            locked.forget_interval()
        });
        if let Err(err) = restored {
            log::debug!("leaving {PARAMETER} alone: {err}");
        }
    }

    /// The change to make.
    fn due(path: &Path) -> Self {
        match read(path) {
            Some(DEFAULT_US) => Self {
                set_us: OURS_US,
                before_us: DEFAULT_US,
            },
            None => Self::default(),
            Some(chosen) => {
                log::debug!(
                    "leaving {} at {chosen}, which is not the default",
                    path.display()
                );
                Self::default()
            }
        }
    }

    fn set_at(self, path: &Path) {
        write(path, self.set_us);
    }

    fn restore_at(self, path: &Path) {
        if self.set_us != 0 && read(path) == Some(self.set_us) {
            write(path, self.before_us);
        }
    }
}

/// None on a kernel without the parameter.
fn read(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn write(path: &Path, us: u64) {
    if let Err(err) = fs::write(path, us.to_string()) {
        log::debug!("cannot set {} to {us}: {err}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::{NamedTempFile, TempPath};

    fn file(content: &str) -> TempPath {
        let path = NamedTempFile::new().unwrap().into_temp_path();
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn default_is_shortened_and_restored() {
        let path = file("500000\n");
        let interval = LbInterval::due(&path);
        interval.set_at(&path);
        assert_eq!(read(&path), Some(OURS_US));
        interval.restore_at(&path);
        assert_eq!(read(&path), Some(DEFAULT_US));
    }

    #[test]
    fn a_chosen_interval_stays() {
        for chosen in [0, OURS_US, 100_000] {
            let path = file(&chosen.to_string());
            let interval = LbInterval::due(&path);
            assert_eq!(interval, LbInterval::default());
            interval.restore_at(&path);
            assert_eq!(read(&path), Some(chosen));
        }
    }

    #[test]
    fn a_later_change_stays() {
        let path = file("500000\n");
        let interval = LbInterval::due(&path);
        interval.set_at(&path);
        fs::write(&path, "70000\n").unwrap();
        interval.restore_at(&path);
        assert_eq!(read(&path), Some(70_000));
    }

    #[test]
    fn kernel_without_the_parameter_is_left_alone() {
        let path = Path::new("/nonexistent/bypass_lb_intv_us");
        assert_eq!(LbInterval::due(path), LbInterval::default());
        LbInterval {
            set_us: OURS_US,
            before_us: DEFAULT_US,
        }
        .restore_at(path);
    }
}
