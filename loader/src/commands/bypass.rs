// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload bypass`

use clap::ValueEnum;
use scx_preload::scheduler::{BypassSwitch, switch_soft_bypass};

/// Leave the overrides out and let the defaults decide alone, or end that
///
/// The scheduler does so by itself when an override gives results out of range,
/// takes too much time, or leaves a task without a CPU; `scx_preload status` says
/// why. That ends by itself, each time later, and after some times only by `off`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// on: until `off`. off: ask the overrides again, and forget what was wrong
    state: State,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    On,
    Off,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    match args.state {
        State::On => {
            switch_soft_bypass(BypassSwitch::On)?;
            log::info!("bypass is on: the defaults decide, overrides are not asked");
        }
        State::Off => {
            switch_soft_bypass(BypassSwitch::Off)?;
            log::info!("bypass is off: overrides are asked again");
        }
    }
    Ok(())
}
