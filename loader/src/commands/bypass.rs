// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload bypass`

use scx_preload::cli::{BypassArgs, BypassState};
use scx_preload::scheduler::{BypassSwitch, switch_soft_bypass};

pub fn run(args: &BypassArgs) -> anyhow::Result<()> {
    match args.state {
        BypassState::On => {
            switch_soft_bypass(BypassSwitch::On)?;
            log::info!("soft bypass is on: the defaults decide without the overrides");
        }
        BypassState::Off => {
            switch_soft_bypass(BypassSwitch::Off)?;
            log::info!("soft bypass is off: overrides are called again");
        }
    }
    Ok(())
}
