// SPDX-License-Identifier: GPL-2.0-only
//! Our switches on the kernel command line. They are dotted, since the kernel
//! complains of undotted parameters that it does not know.

use std::fs;
use std::path::Path;

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootMode {
    /// Nothing against loading.
    Load,
    /// `scx_preload.mode=standby`: load, but attach only when asked or when another
    /// scheduler has ended.
    Standby,
    /// `scx_preload.mode=off`: not at all.
    Off,
    /// `rd.scx_preload=0`: not from the initramfs.
    NotInInitrd,
}

impl BootMode {
    /// Read `/proc/cmdline`; `initrd` says that this is an initramfs. One with systemd
    /// says so itself.
    pub fn read(initrd: bool) -> Self {
        let initrd = initrd || Path::new("/etc/initrd-release").exists();
        Self::parse(
            &fs::read_to_string("/proc/cmdline").unwrap_or_default(),
            initrd,
        )
    }

    fn parse(cmdline: &str, initrd: bool) -> Self {
        // As everywhere on that line, the last one counts.
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
    fn nothing_said_means_load() {
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
    fn standby_is_less_than_not_now() {
        let line = "scx_preload.mode=standby";
        assert_eq!(BootMode::parse(line, true), BootMode::Standby);
        let line = "scx_preload.mode=standby rd.scx_preload=0";
        assert_eq!(BootMode::parse(line, true), BootMode::NotInInitrd);
        assert_eq!(BootMode::parse(line, false), BootMode::Standby);
    }

    #[test]
    fn last_one_counts() {
        let line = "scx_preload.mode=off scx_preload.mode=on";
        assert_eq!(BootMode::parse(line, false), BootMode::Load);
    }
}
