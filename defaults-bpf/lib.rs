// SPDX-License-Identifier: GPL-2.0-only
//! The defaults of scx_preload: the linked BPF object, the catalog of its hooks, and the
//! headers, compilation and linking for overrides.

use std::fs;
use std::io;
use std::path::Path;

pub mod compile;
pub mod link;

/// A decision that an override can take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The function to define, `hook_<what>`.
    pub name: &'static str,
    /// One line: what it decides.
    pub summary: &'static str,
    /// Its C declaration.
    pub signature: &'static str,
    /// Name and meaning of each argument.
    pub args: &'static [(&'static str, &'static str)],
    /// The rest of its documentation: titles, such as `When`, and texts.
    pub text: &'static [(&'static str, &'static str)],
}

impl Hook {
    /// The hook with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        HOOKS.iter().find(|hook| hook.name == name)
    }
}

include!(concat!(env!("OUT_DIR"), "/hooks.rs"));

/// The defaults as one linked BPF object without DWARF, to be loaded or to be linked
/// after overrides.
pub const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/defaults.bpf.o"));

/// The same without the code that only overrides need, to be loaded alone: the kernel
/// verifies it in two thirds of the time.
pub const ALONE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/alone.bpf.o"));

/// Version of the hook contract that [`OBJECT`] implements.
pub const CONTRACT_VERSION: u32 = 1;

/// Section in which each object states the contract version it was built for.
pub const CONTRACT_SECTION: &str = ".scx_preload.contract";

/// Section in which objects declare their own DSQs.
pub const QUEUES_SECTION: &str = ".scx_preload.queues";

/// The most that one `PRELOAD_OWN_QUEUES()` may declare.
pub const QUEUES_MAX: u64 = 1024;

include!(concat!(env!("OUT_DIR"), "/headers.rs"));

/// Write [`HEADERS`] below `dir`, for `#include <scx_preload/hooks.bpf.h>` and the like.
pub fn write_headers(dir: &Path) -> io::Result<()> {
    for (name, text) in HEADERS {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(path, text)?;
    }
    Ok(())
}

/// Directory of the `vmlinux.h` that the defaults were compiled with, on the build host.
pub const VMLINUX_DIR: &str = env!("SCX_PRELOAD_VMLINUX");
