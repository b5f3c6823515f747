// SPDX-License-Identifier: GPL-2.0-only
//! State that the kernel keeps for us, read back from it: sysfs, pins, the maps of the
//! loaded scheduler. This program remembers nothing elsewhere.

pub mod bpffs;
pub mod departure;
pub mod history;
pub mod isolation;
pub mod live;
mod pinned;
pub(crate) mod record;
pub mod sched_ext;
pub mod soft_bypass;

pub(crate) use pinned::write_map;
