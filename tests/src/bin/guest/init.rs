// SPDX-License-Identifier: GPL-2.0-only
//! What /init of the tiny VM does before the tests.

use std::fs::create_dir_all;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

/// bpffs is missing on purpose: mounting it where nobody has is the loader's work.
const MOUNTS: &[(&str, &str)] = &[
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/dev/shm"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("tracefs", "/sys/kernel/tracing"),
];

pub fn mount_all() -> Result<()> {
    for (fstype, dir) in MOUNTS {
        // sysfs has its mount points already and refuses new directories.
        if !dir.starts_with("/sys/") {
            create_dir_all(dir).with_context(|| format!("cannot make {dir}"))?;
        }
        mount(
            Some(*fstype),
            *dir,
            Some(*fstype),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("cannot mount {fstype} on {dir}"))?;
    }
    Ok(())
}
