// SPDX-License-Identifier: GPL-2.0-only
//! The commands that an initramfs without systemd and its real root run. The kernel command
//! line of this boot has rd.scx_preload=0.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Test;
use crate::kmsg::KernelLog;
use crate::preload::{disabled_and_unpinned, is_ours, unload, unload_any};
use crate::sys::{SCX_PRELOAD, enable_seq, run};
use crate::tests;

pub const TESTS: &[Test] = tests![leaves_it_to_the_real_root, loads_in_the_real_root_once];

fn leaves_it_to_the_real_root() -> Result<()> {
    unload_any()?;
    let mut log = KernelLog::open()?;
    let status = Command::new(SCX_PRELOAD)
        .args(["load", "--boot", "--initrd"])
        .stderr(log.stdio()?)
        .status()
        .context("cannot run scx_preload")?;
    ensure!(status.success(), "{status}");
    disabled_and_unpinned()?;
    let records = log.records();
    let ours: Vec<_> = records
        .iter()
        .filter(|r| r.contains("scx_preload"))
        .collect();
    // 29 is LOG_DAEMON | LOG_NOTICE, as for our messages in the journal.
    ensure!(
        ours.len() == 1 && ours[0].starts_with("29,") && ours[0].contains("rd.scx_preload"),
        "{records:?}"
    );
    Ok(())
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
        is_ours()?;
        let enables = enable_seq()? - before;
        ensure!(
            enables == u64::from(said == "attached"),
            "{enables} enables"
        );
    }
    unload()
}
