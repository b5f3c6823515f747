// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload resume`

use std::time::Duration;

use scx_preload::Error;
use scx_preload::abi::OPS;
use scx_preload::cli::ResumeArgs;
use scx_preload::object::source::Source;
use scx_preload::scheduler::{self, Resumed};

pub fn run(args: &ResumeArgs) -> anyhow::Result<()> {
    scheduler::hurry();
    let wait = Duration::from_secs(args.wait);
    match scheduler::resume(wait, &Source::built_in()) {
        Ok(Resumed::Attached) => log::info!("{OPS} is attached again"),
        Ok(Resumed::Defaults) => log::warn!("attached the built-in defaults, without overrides"),
        Err(Error::NotLoaded | Error::AlreadyLoaded) if args.udev => {}
        Err(Error::StaysOut(why)) if args.udev => log::info!("not attached: {why}"),
        Err(err) => return Err(err.into()),
    }
    Ok(())
}
