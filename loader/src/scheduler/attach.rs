// SPDX-License-Identifier: GPL-2.0-only
//! Attach an ops table, which is the same for one that has just been loaded and for
//! one that is pinned.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libbpf_rs::{AsRawLibbpf, MapMut, libbpf_sys};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::abi::{OPS, STATE_LIMIT};
use crate::state::sched_ext::SchedExt;
use crate::{Error, Result};

/// An `init_task` or a first decision that goes wrong shows only after attach.
const SETTLE: Duration = Duration::from_millis(100);

/// What keeps a scheduler attached: as long as this, or a pin made of it, exists.
#[derive(Debug)]
pub(crate) struct SchedulerLink(OwnedFd);

impl SchedulerLink {
    /// Keep it attached when this process has ended.
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

/// Give the kernel the ops table of a loaded object, so that it can be attached.
pub(crate) fn make_ready(ops: &mut MapMut<'_>) -> Result<()> {
    let failed = |errno: Errno| Error::io("cannot fill in the ops table")(errno.into());
    // libbpf does both in one call and keeps to itself what it fills in. Without a free
    // file descriptor the kernel gives up on the link before it looks at the table.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).map_err(failed)?;
    // SAFETY: the map is that of a live, loaded object.
    let link = unsafe { libbpf_sys::bpf_map__attach_struct_ops(ops.as_libbpf_object().as_ptr()) };
    let errno = Errno::last();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).map_err(failed)?;
    if !link.is_null() {
        // SAFETY: it is ours, and used no more.
        unsafe { libbpf_sys::bpf_link__destroy(link) };
        return Err(failed(Errno::EEXIST));
    }
    match errno {
        Errno::EMFILE => Ok(()),
        errno => Err(failed(errno)),
    }
}

/// Attach `ops` and see that the kernel still runs it a moment later, or say what it
/// runs instead. A scheduler that is still going is waited for.
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
            // SAFETY: the kernel has just made it, for us.
            break SchedulerLink(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        let now = SchedExt::wait(STATE_LIMIT, |now| now.state != "disabling")?;
        match Errno::from_raw(-fd) {
            // Who was there before is gone, but its link or this one's last is not yet.
            Errno::EBUSY if now.state == "disabled" && start.elapsed() < STATE_LIMIT => {
                sleep(Duration::from_millis(2));
            }
            Errno::EBUSY => return Ok(Err(now)),
            errno => return Err(Error::io("cannot attach the scheduler")(errno.into())),
        }
    };
    // A link proves nothing: look at the state until it is settled, and again.
    // By now it may be another one that is enabled.
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
