// SPDX-License-Identifier: GPL-2.0-only
//! Static linking in the one order that works.
//!
//! Overrides come first and the defaults last, and the result is linked once
//! more by itself: a single pass leaves wrong BTF offsets for maps and data that
//! one object declares and another defines.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use libbpf_rs::Linker;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Link `objects`, in this order, to one BPF object.
///
/// Fails with what libbpf returns; the reason goes to libbpf's print callback.
pub fn link(objects: &[&[u8]]) -> io::Result<Vec<u8>> {
    let once = link_once(objects)?;
    link_once(&[&once])
}

fn link_once(objects: &[&[u8]]) -> io::Result<Vec<u8>> {
    // In memory, so that a failed link leaves no partial file behind.
    let fd: OwnedFd = memfd_create(c"linked.bpf.o", MFdFlags::MFD_CLOEXEC)?;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let mut linker = Linker::new(&path).map_err(io::Error::other)?;
    for object in objects {
        linker.add_buf(object).map_err(io::Error::other)?;
    }
    linker.link().map_err(io::Error::other)?;
    drop(linker);
    fs::read(path)
}
