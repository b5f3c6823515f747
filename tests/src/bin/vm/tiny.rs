// SPDX-License-Identifier: GPL-2.0-only
//! The small initramfs: the guest as /init, the loader, another scheduler, the BPF
//! objects and the required libraries. No modules, no shell.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cpio::Archive;
use crate::programs;

/// Path inside the initramfs and source of each file.
pub fn files() -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for (inside, name) in [
        ("init", "guest"),
        ("usr/bin/scx_preload", "scx_preload"),
        ("usr/bin/other", "other"),
    ] {
        files.push((inside.into(), programs::find(name)?));
    }
    let programs: Vec<&Path> = files.iter().map(|(_, from)| from.as_path()).collect();
    for library in programs::libraries(&programs)? {
        files.push((library.display().to_string(), library));
    }
    for object in programs::objects()? {
        let name = object.file_name().unwrap_or_default().display().to_string();
        files.push((format!("objects/{name}"), object));
    }
    Ok(files)
}

pub fn write(files: &[(String, PathBuf)], to: &Path) -> Result<()> {
    let mut archive = Archive::default();
    for (inside, from) in files {
        archive.copy(inside, 0o755, from)?;
    }
    std::fs::write(to, archive.finish()).with_context(|| format!("cannot write {}", to.display()))
}
