// SPDX-License-Identifier: GPL-2.0-only
//! The user's switch of soft bypass. The BPF side turns soft bypass on and off; this
//! sends it the request.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::abi::WISHES_MAP;
use crate::state::live::Live;
use crate::state::soft_bypass::SoftBypass;
use crate::state::write_map;
use crate::{Error, Result};

/// The BPF side looks for a request every 125 ms, later on a busy system.
const LIMIT: Duration = Duration::from_secs(3);

/// A request of the user: `enum wish`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BypassSwitch {
    /// Soft bypass until it is switched off.
    On = 1,
    /// No soft bypass; earlier ones are forgotten.
    Off,
}

/// Send the request to the loaded scheduler and wait until it is done. Fails if ours is
/// not loaded, if it has no overrides to bypass, or if soft bypass is on again as soon as
/// overrides are called.
pub fn switch_soft_bypass(to: BypassSwitch) -> Result<()> {
    let before = state()?;
    if !before.watched {
        return Err(Error::NothingToBypass);
    }
    write_map(WISHES_MAP, to as u32)?;
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        let now = state()?;
        match (to, now.on) {
            (BypassSwitch::On, Some(_)) | (BypassSwitch::Off, None) => return Ok(()),
            // It has been off in between.
            (BypassSwitch::Off, Some(_)) if now.changes > before.changes + 1 => {
                let why = now.why().unwrap_or_default().into();
                return Err(Error::BypassedAgain(why));
            }
            _ => sleep(Duration::from_millis(20)),
        }
    }
    Err(Error::NoAnswer(LIMIT.as_secs()))
}

fn state() -> Result<SoftBypass> {
    let live = Live::read()?.ok_or(Error::NotLoaded)?;
    live.soft_bypass.ok_or(Error::NothingToBypass)
}
