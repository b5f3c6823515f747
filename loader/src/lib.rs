// SPDX-License-Identifier: GPL-2.0-only
//! What the `scx_preload` program is made of: one file a concept.
//!
//! An object flows one way: [`elf`] reads what it says of itself, [`linker`]
//! puts overrides in front of the defaults, [`dropins`] those that nobody named,
//! [`object`] opens it and adapts it to the running kernel, [`scheduler`] loads,
//! attaches, confirms and pins it. [`live`] then reads back from the kernel what is running; nothing is
//! remembered elsewhere. When another scheduler has come and gone, [`resume`] attaches
//! what is pinned again.

pub mod attach;
pub mod bpffs;
pub mod btf;
pub mod bypass;
pub mod cmdline;
pub mod dropins;
pub mod elf;
pub mod error;
pub mod history;
pub mod kernel;
pub mod kernel_bypass;
pub mod kfuncs;
pub mod libbpf_log;
pub mod linker;
pub mod live;
pub mod man;
pub mod object;
mod record;
pub mod resume;
pub mod scheduler;
pub mod signature;
pub mod template;
pub mod vmlinux;

pub use error::{Error, Result};
