// SPDX-License-Identifier: GPL-2.0-only
//! Detach our scheduler, and remove its pins.

use super::lb_interval::LbInterval;
use super::lock;
use crate::abi::{OPS, STATE_LIMIT};
use crate::state::bpffs;
use crate::state::sched_ext::SchedExt;
use crate::{Error, Result};

/// Detach our scheduler and remove its pins. Returns whether it was still running.
pub fn unload() -> Result<bool> {
    let before = SchedExt::read()?;
    let pins = lock::lock_existing()?.ok_or(Error::NotLoaded)?;
    if bpffs::open_ops()?.is_none() {
        return Err(Error::NotLoaded);
    }
    let ran = before.runs(OPS);
    let after = detach(ran)?;
    pins.unpin()?;
    pins.forget()?;
    LbInterval::restore(&pins);
    if after.runs(OPS) {
        return Err(Error::Busy(format!(
            "the scheduler is still {} after {} s",
            after.state,
            STATE_LIMIT.as_secs()
        )));
    }
    Ok(ran)
}

/// Detach our scheduler if it `runs`, and wait until the kernel has disabled it.
pub(crate) fn detach(runs: bool) -> Result<SchedExt> {
    if let Some(link) = bpffs::open_link()?.filter(|_| runs) {
        link.detach()
            .map_err(Error::libbpf("cannot detach the scheduler"))?;
    }
    SchedExt::wait(STATE_LIMIT, |now| {
        !now.runs(OPS) && now.state != "disabling"
    })
}
