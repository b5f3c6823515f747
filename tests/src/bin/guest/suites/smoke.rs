// SPDX-License-Identifier: GPL-2.0-only
//! The VM has what the other suites require.

use anyhow::{Result, ensure};

use super::Test;
use crate::sys::{read, scx_state};
use crate::tests;

pub const TESTS: &[Test] = tests![sched_ext_is_there, eight_cpus_online, kernel_btf_is_there];

fn sched_ext_is_there() -> Result<()> {
    let state = scx_state()?;
    ensure!(state == "disabled", "state is {state:?}");
    Ok(())
}

fn eight_cpus_online() -> Result<()> {
    let online = read("/sys/devices/system/cpu/online")?;
    ensure!(online == "0-7", "online: {online}");
    Ok(())
}

fn kernel_btf_is_there() -> Result<()> {
    ensure!(std::fs::metadata("/sys/kernel/btf/vmlinux")?.len() > 0);
    Ok(())
}
