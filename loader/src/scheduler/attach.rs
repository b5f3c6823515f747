// SPDX-License-Identifier: GPL-2.0-only
//! Attach a struct_ops map, just loaded or pinned.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libbpf_rs::{AsRawLibbpf, MapMut, libbpf_sys};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::abi::{OPS, STATE_LIMIT};
use crate::state::isolation::Isolation;
use crate::state::sched_ext::SchedExt;
use crate::{Error, Result};

/// Errors in `init_task` or in the first decisions appear only after the attach.
const SETTLE: Duration = Duration::from_millis(100);

/// Keeps a scheduler attached while it, or a pin of it, exists.
#[derive(Debug)]
pub(crate) struct SchedulerLink(OwnedFd);

impl SchedulerLink {
    /// Keep the scheduler attached after this process has ended.
    pub(crate) fn pin(&self, path: &str) -> Result<()> {
        let failed = || Error::io(format!("cannot pin {path}"));
        let c_path = CString::new(path).map_err(|err| failed()(err.into()))?;
        // SAFETY: the descriptor is open, and the path outlives the call.
        let done = unsafe { libbpf_sys::bpf_obj_pin(self.0.as_raw_fd(), c_path.as_ptr()) };
        match done {
            0 => Ok(()),
            err => Err(failed()(Errno::from_raw(-err).into())),
        }
    }
}

/// Write the callbacks of a loaded object to its struct_ops map, without attaching it.
pub(crate) fn make_ready(ops: &mut MapMut<'_>) -> Result<()> {
    let failed = |errno: Errno| Error::io("cannot update the struct_ops map")(errno.into());
    // libbpf updates and attaches in one call and has no API for the update alone. Without
    // a free file descriptor the kernel fails the link before it looks at the map.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).map_err(failed)?;
    // SAFETY: the map is that of a live, loaded object.
    let link = unsafe { libbpf_sys::bpf_map__attach_struct_ops(ops.as_libbpf_object().as_ptr()) };
    let errno = Errno::last();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).map_err(failed)?;
    if !link.is_null() {
        // SAFETY: the link is ours, and not used again.
        unsafe { libbpf_sys::bpf_link__destroy(link) };
        return Err(failed(Errno::EEXIST));
    }
    match errno {
        Errno::EMFILE => Ok(()),
        errno => Err(failed(errno)),
    }
}

/// Attach `ops` and check that the kernel still runs it a moment later; returns the
/// kernel's state if not. Waits for a scheduler that is being disabled.
pub(crate) fn attach(ops: impl AsFd) -> Result<std::result::Result<SchedulerLink, SchedExt>> {
    let start = Instant::now();
    let link = loop {
        // SAFETY: the descriptor is open, and there are no options.
        let fd = unsafe {
            libbpf_sys::bpf_link_create(
                ops.as_fd().as_raw_fd(),
                0,
                libbpf_sys::BPF_STRUCT_OPS,
                ptr::null(),
            )
        };
        if fd >= 0 {
            // SAFETY: the kernel has just created it, and nothing else owns it.
            break SchedulerLink(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        let now = SchedExt::wait(STATE_LIMIT, |now| now.state != "disabling")?;
        match Errno::from_raw(-fd) {
            // The last scheduler is disabled, but its link, or our old one, is not freed yet.
            Errno::EBUSY if now.state == "disabled" && start.elapsed() < STATE_LIMIT => {
                sleep(Duration::from_millis(2));
            }
            Errno::EBUSY => return Ok(Err(now)),
            errno => {
                let isolated = (errno == Errno::EINVAL).then(Isolation::refusal);
                let failed = || Error::io("cannot attach the scheduler")(errno.into());
                return Err(isolated.flatten().unwrap_or_else(failed));
            }
        }
    };
    // A link proves nothing: read the state until it is settled, and once more after that.
    // The enabled scheduler may be another one by now.
    let settled = |now: &SchedExt| now.state == "enabled" || now.state == "disabled";
    let first = SchedExt::wait(STATE_LIMIT, settled)?;
    if !first.runs(OPS) {
        return Ok(Err(first));
    }
    sleep(SETTLE);
    let second = SchedExt::read()?;
    Ok(if second.runs(OPS) {
        Ok(link)
    } else {
        Err(second)
    })
}
