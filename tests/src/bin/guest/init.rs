// SPDX-License-Identifier: GPL-2.0-only
//! Set-up by /init of the tiny VM.

use std::fs::create_dir_all;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

/// Without bpffs on purpose: the loader has to mount it.
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
        // Mount points in sysfs exist, and new directories cannot be created.
        if !dir.starts_with("/sys/") {
            create_dir_all(dir).with_context(|| format!("cannot create {dir}"))?;
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
