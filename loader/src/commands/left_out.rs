// SPDX-License-Identifier: GPL-2.0-only
//! Messages about drop-ins that are left out.

use scx_preload::object::dropins::LeftOut;

/// Log a warning for each.
pub fn warn_of(left_out: &[LeftOut]) {
    for one in left_out {
        log::warn!("{}", one.text());
    }
}

/// Fail with what to do if there is a broken drop-in.
pub fn refuse(left_out: Vec<LeftOut>) -> anyhow::Result<()> {
    match left_out.into_iter().next() {
        None => Ok(()),
        Some(first) => {
            let remedy = first.remedy();
            Err(anyhow::Error::new(first.error).context(remedy))
        }
    }
}
