// SPDX-License-Identifier: GPL-2.0-only
//! Paths of this build's programs and objects.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::step;

/// The directory of the build profile, which has the other programs of this build.
pub fn dir() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("cannot find this program")?;
    Ok(exe
        .parent()
        .context("this program has no directory")?
        .to_path_buf())
}

pub fn target_dir() -> Result<PathBuf> {
    Ok(dir()?
        .parent()
        .context("the build directory has no parent")?
        .to_path_buf())
}

/// A program of this workspace.
pub fn find(name: &str) -> Result<PathBuf> {
    let path = dir()?.join(name);
    ensure!(
        path.exists(),
        "{} is missing; build the whole workspace first",
        path.display()
    );
    Ok(path)
}

/// The BPF objects that tests/build.rs built.
pub fn objects() -> Result<Vec<PathBuf>> {
    let dir = env!("SCX_PRELOAD_OBJECTS");
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {dir}"))? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".bpf.o") {
            objects.push(path);
        }
    }
    objects.sort();
    Ok(objects)
}

/// One of them: NAME.bpf.o.
pub fn object(name: &str) -> Result<PathBuf> {
    let file = format!("{name}.bpf.o");
    let found = objects()?.into_iter().find(|path| path.ends_with(&file));
    found.with_context(|| format!("tests/build.rs built no {file}"))
}

/// The same, linked with the defaults like an author's override.
pub fn linked(name: &str) -> Result<PathBuf> {
    let to = target_dir()?.join(format!("{name}.linked.bpf.o"));
    let mut link = Command::new(find("scx_preload")?);
    link.arg("link").arg("-o").arg(&to).arg(object(name)?);
    step::run(&format!("link {name}"), &mut link)?;
    Ok(to)
}

/// The shared libraries of programs, including the dynamic linker.
pub fn libraries(programs: &[&Path]) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for program in programs {
        let out = Command::new("ldd")
            .arg(program)
            .output()
            .context("cannot run ldd")?;
        // "libelf.so.1 => /lib/…/libelf.so.1 (0x…)", "/lib64/ld-linux-x86-64.so.2 (0x…)"
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        for line in text.lines() {
            ensure!(
                !line.contains("not found"),
                "{}: {}",
                program.display(),
                line.trim()
            );
            found.extend(
                line.split_whitespace()
                    .find(|w| w.starts_with('/'))
                    .map(PathBuf::from),
            );
        }
    }
    Ok(found)
}
