// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's own bypass: while it enables or disables a scheduler, and during
//! suspend, it asks no BPF program. Each CPU then has a plain queue, and a timer
//! evens them out. A parameter says how often, and from which excess on: at least
//! as many tasks as run for a quarter of the interval, 25 by default.
//!
//! The loaded object keeps what was changed, so that whichever process unloads it
//! can change it back.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::elf;
use crate::live::Live;
use crate::object::{Setting, Source};

const PARAMETER: &str = "/sys/module/sched_ext/parameters/bypass_lb_intv_us";

/// `SCX_BYPASS_LB_DFL_INTV_US`; whatever else is there, somebody has chosen.
const DEFAULT_US: u64 = 500_000;

/// 20 hogs, max/min CPU time: 1.8 up to here, 3 at 50 ms; at 500 ms, 7 of 8 CPUs idle.
const OURS_US: u64 = 20_000;

/// The rodata variable with [`LbInterval::set_us`].
pub const SET: &str = "kernel_bypass_lb_us";

/// The rodata variable with [`LbInterval::before_us`].
pub const BEFORE: &str = "kernel_bypass_lb_before_us";

/// How often the kernel balances in its bypass, as a load changed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LbInterval {
    /// What it was set to, in µs; 0 if it was left alone.
    pub set_us: u64,
    /// What it was before, in µs.
    pub before_us: u64,
}

impl LbInterval {
    /// Shorten the kernel's default, if `source` can keep what it was.
    pub fn shorten(source: &Source) -> Self {
        // Linked with defaults from before there were these variables.
        if !elf::defines(&source.bytes, SET) || !elf::defines(&source.bytes, BEFORE) {
            log::debug!("{} cannot keep what {PARAMETER} was", source.name);
            return Self::default();
        }
        Self::shorten_at(Path::new(PARAMETER))
    }

    /// That of the loaded scheduler, or of one that has ended and is still pinned.
    pub fn of_loaded() -> Self {
        match Live::read() {
            Ok(live) => live.map(|live| live.kernel_bypass).unwrap_or_default(),
            Err(err) => {
                log::debug!("leaving {PARAMETER} alone: {err}");
                Self::default()
            }
        }
    }

    /// Change it back, unless somebody else has changed it since.
    pub fn restore(self) {
        self.restore_at(Path::new(PARAMETER));
    }

    /// For the object that is to keep it.
    pub fn settings(self) -> Vec<Setting> {
        let setting = |name: &str, value: u64| Setting {
            name: name.into(),
            value: value.to_string(),
        };
        if self.set_us == 0 {
            return Vec::new();
        }
        vec![setting(SET, self.set_us), setting(BEFORE, self.before_us)]
    }

    fn shorten_at(path: &Path) -> Self {
        match read(path) {
            Some(DEFAULT_US) if write(path, OURS_US) => Self {
                set_us: OURS_US,
                before_us: DEFAULT_US,
            },
            Some(DEFAULT_US) | None => Self::default(),
            Some(chosen) => {
                log::debug!("leaving {} at {chosen}, not the default", path.display());
                Self::default()
            }
        }
    }

    fn restore_at(self, path: &Path) {
        if self.set_us != 0 && read(path) == Some(self.set_us) {
            write(path, self.before_us);
        }
    }
}

/// None on a kernel without it.
fn read(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn write(path: &Path, us: u64) -> bool {
    let written = fs::write(path, us.to_string());
    if let Err(err) = &written {
        log::debug!("cannot set {} to {us}: {err}", path.display());
    }
    written.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn file(name: &str, content: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("{name}.{}", std::process::id()));
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn default_is_shortened_and_comes_back() {
        let path = file("lb_default", "500000\n");
        let interval = LbInterval::shorten_at(&path);
        assert_eq!(read(&path), Some(OURS_US));
        assert_eq!(interval.settings().len(), 2);
        interval.restore_at(&path);
        assert_eq!(read(&path), Some(DEFAULT_US));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_somebody_chose_stays() {
        for chosen in [0, OURS_US, 100_000] {
            let path = file("lb_chosen", &chosen.to_string());
            let interval = LbInterval::shorten_at(&path);
            assert_eq!(interval, LbInterval::default());
            assert!(interval.settings().is_empty());
            interval.restore_at(&path);
            assert_eq!(read(&path), Some(chosen));
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_was_changed_since_stays() {
        let path = file("lb_changed", "500000\n");
        let interval = LbInterval::shorten_at(&path);
        fs::write(&path, "70000\n").unwrap();
        interval.restore_at(&path);
        assert_eq!(read(&path), Some(70_000));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn kernel_without_it_is_left_alone() {
        let path = Path::new("/nonexistent/bypass_lb_intv_us");
        assert_eq!(LbInterval::shorten_at(path), LbInterval::default());
        LbInterval {
            set_us: OURS_US,
            before_us: DEFAULT_US,
        }
        .restore_at(path);
    }

    #[test]
    fn defaults_can_keep_it() {
        for name in [SET, BEFORE] {
            assert!(elf::defines(scx_preload_defaults::OBJECT, name), "{name}");
        }
        assert!(!elf::defines(scx_preload_defaults::OBJECT, "kernel_bypass"));
    }
}
