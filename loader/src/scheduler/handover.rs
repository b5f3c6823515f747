// SPDX-License-Identifier: GPL-2.0-only
//! Hand over to another scheduler for as long as this process decides, and take back.

use std::time::Duration;

use super::lock;
use super::resume::resume;
use super::unload::detach;
use crate::abi::OPS;
use crate::object::source::Source;
use crate::state::bpffs;
use crate::state::history::History;
use crate::state::sched_ext::SchedExt;
use crate::{Error, Result};

/// Detach our scheduler. Nothing reattaches it until [`take_back`] or the end of this
/// process.
pub fn hand_over() -> Result<()> {
    let pins = lock::lock_existing()?.ok_or(Error::NotLoaded)?;
    bpffs::open_ops()?.ok_or(Error::NotLoaded)?;
    let now = SchedExt::read()?;
    if let Some(other) = now.ops.as_deref().filter(|ops| *ops != OPS) {
        return Err(Error::Busy(format!(
            "the scheduler {other} is running; stop it first"
        )));
    }
    let mut history = History::read()?;
    if let Some(pid) = history.held_by() {
        return Err(Error::Busy(format!(
            "another `scx_preload run`, process {pid}, is running"
        )));
    }
    history.hold();
    history.write(&pins)?;
    detach(now.runs(OPS))?;
    pins.unlink()
}

/// Reattach our scheduler after [`hand_over`]; see [`resume`] for `defaults`.
pub fn take_back(defaults: &Source) -> Result<()> {
    {
        let pins = lock::lock_existing()?.ok_or(Error::NotLoaded)?;
        let mut history = History::read()?;
        history.release();
        history.write(&pins)?;
    }
    match resume(Duration::ZERO, defaults) {
        Ok(_) | Err(Error::AlreadyLoaded) => Ok(()),
        Err(err) => Err(err),
    }
}
