// SPDX-License-Identifier: GPL-2.0-only
//! The fault of each drill, as files added to the dracut image.

use std::path::Path;

use anyhow::Result;

use crate::cpio::Archive;
use crate::programs;

/// The administrator's object.
const OBJECT: &str = "etc/scx_preload/scheduler.bpf.o";

pub fn garbage_object(archive: &mut Archive) -> Result<()> {
    archive.file(OBJECT, 0o644, b"not an object at all\n");
    Ok(())
}

pub fn rejected_object(archive: &mut Archive) -> Result<()> {
    object(archive, &programs::linked("reject")?)
}

/// Installs a file as the administrator's object.
pub fn object(archive: &mut Archive, file: &Path) -> Result<()> {
    archive.copy(OBJECT, 0o644, file)
}

/// Another scheduler, loaded in the initrd before ours by a unit of its own.
pub fn other_first(archive: &mut Archive) -> Result<()> {
    let units = "etc/systemd/system";
    archive.file(
        &format!("{units}/other_scheduler.service"),
        0o644,
        OTHER_UNIT.as_bytes(),
    );
    archive.symlink(
        &format!("{units}/sysinit.target.wants/other_scheduler.service"),
        "../other_scheduler.service",
    );
    archive.copy("usr/bin/other", 0o755, &programs::find("other")?)?;
    archive.copy("other.bpf.o", 0o644, &programs::object("other")?)
}

const OTHER_UNIT: &str = "\
[Unit]
DefaultDependencies=no
Before=scx_preload.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/other /other.bpf.o /sys/fs/bpf/other
";
