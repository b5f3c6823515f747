// SPDX-License-Identifier: GPL-2.0-only
//! Our parameters on the kernel command line. They have a dot, as the kernel warns of
//! unknown parameters without one.

use std::fs;
use std::path::Path;

/// What the kernel command line requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootMode {
    /// Load and attach.
    Load,
    /// `scx_preload.mode=standby`: load, but attach only on request or when another scheduler
    /// has ended.
    Standby,
    /// `scx_preload.mode=off`: do not load.
    Off,
    /// `rd.scx_preload=0`: do not load from the initramfs.
    NotInInitrd,
}

impl BootMode {
    /// Read `/proc/cmdline`. `initrd` tells that this is an initramfs; one with systemd is
    /// recognized.
    pub fn read(initrd: bool) -> Self {
        let initrd = initrd || Path::new("/etc/initrd-release").exists();
        Self::parse(
            &fs::read_to_string("/proc/cmdline").unwrap_or_default(),
            initrd,
        )
    }

    fn parse(cmdline: &str, initrd: bool) -> Self {
        // The last one wins, as for the kernel's parameters.
        let value = |key: &str| {
            cmdline
                .split_ascii_whitespace()
                .filter_map(|word| word.split_once('='))
                .filter(|(name, _)| *name == key)
                .map(|(_, value)| value.trim_matches('"').to_ascii_lowercase())
                .next_back()
        };
        let off = |key| {
            value(key).is_some_and(|v| matches!(v.as_str(), "0" | "no" | "off" | "false" | "n"))
        };
        if off("scx_preload.mode") {
            Self::Off
        } else if initrd && off("rd.scx_preload") {
            Self::NotInInitrd
        } else if value("scx_preload.mode").as_deref() == Some("standby") {
            Self::Standby
        } else {
            Self::Load
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parameter_means_load() {
        assert_eq!(BootMode::parse("root=/dev/vda quiet", true), BootMode::Load);
        assert_eq!(BootMode::parse("", false), BootMode::Load);
    }

    #[test]
    fn all_spellings_of_no() {
        for no in ["0", "no", "off", "false", "OFF", "\"off\""] {
            let line = format!("quiet scx_preload.mode={no} root=x");
            assert_eq!(BootMode::parse(&line, false), BootMode::Off, "{no}");
            let line = format!("rd.scx_preload={no}");
            assert_eq!(BootMode::parse(&line, true), BootMode::NotInInitrd, "{no}");
        }
    }

    #[test]
    fn rd_switch_is_for_the_initrd_only() {
        assert_eq!(BootMode::parse("rd.scx_preload=0", false), BootMode::Load);
    }

    #[test]
    fn not_from_the_initrd_overrides_standby() {
        let line = "scx_preload.mode=standby";
        assert_eq!(BootMode::parse(line, true), BootMode::Standby);
        let line = "scx_preload.mode=standby rd.scx_preload=0";
        assert_eq!(BootMode::parse(line, true), BootMode::NotInInitrd);
        assert_eq!(BootMode::parse(line, false), BootMode::Standby);
    }

    #[test]
    fn last_one_wins() {
        let line = "scx_preload.mode=off scx_preload.mode=on";
        assert_eq!(BootMode::parse(line, false), BootMode::Load);
    }
}
