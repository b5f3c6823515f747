// SPDX-License-Identifier: GPL-2.0-only
//! The parts of the `scx_preload` program: three trips, a folder each.
//!
//! - [`object`]: what an author's object goes through. It is read and checked, linked with
//!   the defaults, or built from its source.
//! - [`scheduler`]: what the running scheduler goes through. The kernel verifies it, it is
//!   attached and pinned, gives way to another scheduler and is reattached.
//! - [`state`]: what is read back from the kernel. Nothing is remembered elsewhere.
//!
//! `scheduler` uses `object` and `state`, which do not use each other. All three use the
//! leaves: [`abi`] (names and numbers that others rely on), [`btf`], [`error`],
//! [`libbpf_log`]. [`cli`] is the command line that the program reads and its man page
//! describes. No module uses one that uses it.

pub mod abi;
pub mod btf;
pub mod cli;
pub mod error;
pub mod libbpf_log;
pub mod object;
pub mod scheduler;
pub mod state;

pub use error::{Error, Result};
