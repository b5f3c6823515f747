// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload unload`

use scx_preload::scheduler;

/// Give the machine back to the kernel's own scheduler
///
/// Detaches our scheduler and removes its pins. Fails if nothing of ours is
/// loaded; another sched_ext scheduler is left alone.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> anyhow::Result<()> {
    if scheduler::unload()? {
        log::info!("unloaded; the kernel's own scheduler is back");
    } else {
        log::info!("the scheduler had ended before; its pins are removed");
    }
    Ok(())
}
