// SPDX-License-Identifier: GPL-2.0-only
//! QEMU, always that of trixie. With one thread per CPU, it races with the kernel's code
//! patching (static keys, when sched_ext is enabled), and the machine dies with
//! "Oops: int3": half of the boots with bookworm's 7.2, one in some dozens with 10.0.
//! A few others hang while the kernel starts. Neither happens under icount.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::apt::Mirror;
use crate::cache::{Cache, Key};
use crate::step;

/// A directory with QEMU and its libraries.
pub struct Emulator {
    dir: PathBuf,
}

impl Emulator {
    pub fn get(cache: &Cache, mirror: &Mirror) -> Result<Self> {
        let line = mirror.line("trixie");
        let name = format!("qemu/{}", Key::default().with(&line).name());
        let dir = cache.get(&name, |dir| unpack(&line, dir))?;
        Ok(Emulator { dir })
    }

    /// Runs it with its own dynamic linker, without a chroot.
    pub fn command(&self) -> Command {
        let usr = self.dir.join("usr");
        let mut qemu = Command::new(usr.join("lib64/ld-linux-x86-64.so.2"));
        qemu.arg("--library-path")
            .arg(usr.join("lib/x86_64-linux-gnu"))
            .arg(usr.join("bin/qemu-system-x86_64"));
        for firmware in ["share/qemu", "share/seabios"] {
            qemu.arg("-L").arg(usr.join(firmware));
        }
        qemu
    }
}

/// Whether QEMU is to blame: our code cannot make the kernel hit its own breakpoint, nor
/// hang a boot before /init runs.
pub fn failed(console: &Path) -> bool {
    // No log: QEMU did not start and has printed why. A quiet kernel prints neither
    // line.
    let log = fs::read(console).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let hung = log.contains("Linux version") && !log.contains("Run /init");
    hung || log.contains("Oops: int3")
}

fn unpack(line: &str, dir: &Path) -> Result<()> {
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap
        .args(["--variant=extract", "--include=qemu-system-x86"])
        .args(["--aptopt=Acquire::Languages \"none\"", "trixie"])
        .arg(dir)
        .arg(line);
    step::run("QEMU", &mut mmdebstrap)
}
