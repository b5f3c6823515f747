// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload unload`

use scx_preload::cli::UnloadArgs;
use scx_preload::scheduler;

pub fn run(_args: &UnloadArgs) -> anyhow::Result<()> {
    if scheduler::unload()? {
        log::info!("unloaded; the kernel's own scheduler is running");
    } else {
        log::info!("removed the pins of a scheduler that had ended");
    }
    Ok(())
}
