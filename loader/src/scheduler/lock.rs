// SPDX-License-Identifier: GPL-2.0-only
//! The lock of our pins. Taking it cleans up after a killed load.

use super::lb_interval::LbInterval;
use crate::Result;
use crate::state::bpffs::PinDir;

/// Create the directory of our pins and wait for its lock.
pub(super) fn lock() -> Result<PinDir> {
    PinDir::lock().map(clean)
}

/// Wait for the lock of the directory of our pins, if there is one.
pub(super) fn lock_existing() -> Result<Option<PinDir>> {
    Ok(PinDir::lock_existing()?.map(clean))
}

/// Without a loaded scheduler the interval must be the user's.
fn clean(pins: PinDir) -> PinDir {
    if !pins.has_loaded() {
        LbInterval::restore(&pins);
    }
    pins
}
