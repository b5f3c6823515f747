// SPDX-License-Identifier: GPL-2.0-only
//! What an initramfs without systemd and its real root ask of the program. The kernel
//! command line of this boot has rd.scx_preload=0.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::libc;

use super::Test;
use crate::preload::{disabled_and_unpinned, unload, unload_any};
use crate::sys::{SCX_PRELOAD, enable_seq, run, scx_ops, scx_state};
use crate::tests;

pub const TESTS: &[Test] = tests![leaves_it_to_the_real_root, loads_in_the_real_root_once];

fn leaves_it_to_the_real_root() -> Result<()> {
    unload_any()?;
    let mut log = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")?;
    records(&mut log);
    let status = Command::new(SCX_PRELOAD)
        .args(["load", "--boot", "--initrd"])
        .stderr(log.try_clone()?)
        .status()
        .context("cannot run scx_preload")?;
    ensure!(status.success(), "{status}");
    disabled_and_unpinned()?;
    let records = records(&mut log);
    let ours: Vec<_> = records
        .iter()
        .filter(|r| r.contains("scx_preload"))
        .collect();
    // A daemon's notice, as the journal has our messages, too.
    ensure!(
        ours.len() == 1 && ours[0].starts_with("29,") && ours[0].contains("rd.scx_preload"),
        "{records:?}"
    );
    Ok(())
}

/// What is new in the kernel's log: PRIORITY,NUMBER,TIME,…;MESSAGE
fn records(log: &mut File) -> Vec<String> {
    let mut record = [0; 8192];
    let mut records = Vec::new();
    while let Ok(len @ 1..) = log.read(&mut record) {
        records.push(String::from_utf8_lossy(&record[..len]).into_owned());
    }
    records
}

fn loads_in_the_real_root_once() -> Result<()> {
    for said in ["attached", "loaded already"] {
        let before = enable_seq()?;
        let out = run(SCX_PRELOAD, &["load", "--boot"])?;
        ensure!(
            out.code == Some(0)
                && out.stderr.lines().count() == 1
                && out.stderr.starts_with(&format!("scx_preload: {said}")),
            "ended with {:?}: {}",
            out.code,
            out.stderr
        );
        ensure!(scx_state()? == "enabled" && scx_ops().as_deref() == Some("preload"));
        let enables = enable_seq()? - before;
        ensure!(
            enables == u64::from(said == "attached"),
            "{enables} enables"
        );
    }
    unload()
}
