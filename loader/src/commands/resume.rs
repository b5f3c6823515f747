// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload resume`

use std::time::Duration;

use scx_preload::Error;
use scx_preload::abi::OPS;
use scx_preload::object::source::Source;
use scx_preload::scheduler::{self, Resumed};

/// Attach the scheduler that is loaded, if no other one runs
///
/// It needs no load and no verifier: what was loaded stays pinned when another scheduler
/// takes over. The udev rule runs this whenever a sched_ext scheduler has ended, so that
/// it is rarely needed by hand: to attach what `load --standby` has put there.
///
/// If the kernel has ended our own scheduler for an error, the built-in defaults are
/// loaded without any overrides; if that happens again within an hour, or if somebody has
/// pressed sysrq-S, we stay out until `scx_preload load`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long to wait, in seconds, while somebody is loading another scheduler
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,

    /// Behave as a udev rule wants it: having nothing to do is no failure
    #[arg(long)]
    pub udev: bool,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    scheduler::hurry();
    let wait = Duration::from_secs(args.wait);
    match scheduler::resume(wait, &Source::built_in()) {
        Ok(Resumed::Attached) => log::info!("{} is back", OPS),
        Ok(Resumed::Defaults) => log::warn!("the built-in defaults run, without overrides"),
        Err(Error::NotLoaded | Error::AlreadyLoaded) if args.udev => {}
        Err(Error::StaysOut(why)) if args.udev => log::info!("not attached: {why}"),
        Err(err) => return Err(err.into()),
    }
    Ok(())
}
