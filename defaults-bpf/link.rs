// SPDX-License-Identifier: GPL-2.0-only
//! Static linking in the only order that works.
//!
//! Overrides come first and the defaults last, and the result is linked once
//! more by itself: a single pass leaves wrong BTF offsets for maps and data that
//! are declared in one object and defined in another.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use libbpf_rs::{AsRawLibbpf, Linker, libbpf_sys};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Link `objects`, in this order, into one BPF object.
///
/// Fails with the error that libbpf returns; the reason goes to libbpf's print callback.
pub fn link(objects: &[&[u8]]) -> io::Result<Vec<u8>> {
    let once = link_once(objects)?;
    link_once(&[&once])
}

/// A file in memory for libbpf, which needs a path. It exists while the descriptor is open.
pub fn memory_file() -> io::Result<(OwnedFd, String)> {
    let fd = memfd_create(c"scx_preload", MFdFlags::MFD_CLOEXEC)?;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok((fd, path))
}

/// libbpf-rs expects positive error numbers here and panics in a debug build.
fn done(err: i32) -> io::Result<()> {
    match err {
        0 => Ok(()),
        err => Err(io::Error::from_raw_os_error(-err)),
    }
}

fn link_once(objects: &[&[u8]]) -> io::Result<Vec<u8>> {
    // In memory, so that a failed link leaves no partial file behind.
    let (_fd, path) = memory_file()?;
    let linker = Linker::new(&path).map_err(io::Error::other)?;
    let raw = linker.as_libbpf_object().as_ptr();
    for object in objects {
        let data = object.as_ptr().cast_mut().cast();
        // SAFETY: `linker` outlives the call, and libbpf only reads the buffer during it.
        let err = unsafe {
            libbpf_sys::bpf_linker__add_buf(raw, data, object.len() as _, ptr::null_mut())
        };
        done(err)?;
    }
    // SAFETY: `linker` outlives the call.
    done(unsafe { libbpf_sys::bpf_linker__finalize(raw) })?;
    drop(linker);
    fs::read(path)
}
