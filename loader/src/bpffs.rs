// SPDX-License-Identifier: GPL-2.0-only
//! The BPF file system and our directory in it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use libbpf_rs::{ErrorKind, Link};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::unistd::geteuid;

use crate::{Error, Result};

const BPFFS: &str = "/sys/fs/bpf";

/// Our directory, mode 0700.
pub const DIR: &str = "/sys/fs/bpf/scx_preload";

/// The pinned link; as long as it is there the scheduler needs no process.
pub const LINK: &str = "/sys/fs/bpf/scx_preload/link";

/// The pinned map of the watch: its timer stops when user space holds it no more.
pub const WATCH: &str = "/sys/fs/bpf/scx_preload/watch";

/// Our directory, created and locked: loads and unloads exclude each other.
#[derive(Debug)]
pub struct PinDir {
    _lock: Flock<File>,
}

impl PinDir {
    /// Mount the BPF file system if nothing has, create the directory, and wait
    /// for the lock.
    pub fn lock() -> Result<Self> {
        require_root()?;
        mount_bpffs()?;
        match DirBuilder::new().mode(0o700).create(DIR) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io(format!("cannot create {DIR}"))(err));
            }
            _ => {}
        }
        Self::lock_existing()?.ok_or(Error::NotLoaded)
    }

    /// Wait for the lock of the directory, if it is there.
    pub fn lock_existing() -> Result<Option<Self>> {
        require_root()?;
        let dir = match File::open(DIR) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            dir => dir.map_err(Error::io(format!("cannot open {DIR}")))?,
        };
        let lock = Flock::lock(dir, FlockArg::LockExclusive)
            .map_err(|(_, errno)| Error::io(format!("cannot lock {DIR}"))(errno.into()))?;
        Ok(Some(Self { _lock: lock }))
    }

    /// Remove our pins, if there are any.
    pub fn unpin(&self) -> Result<()> {
        for pin in [LINK, WATCH] {
            match fs::remove_file(pin) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("cannot remove {pin}"))(err));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Fail with [`Error::NotRoot`] for everybody else, who cannot look into [`DIR`].
pub fn require_root() -> Result<()> {
    if geteuid().is_root() {
        Ok(())
    } else {
        Err(Error::NotRoot(DIR))
    }
}

/// The pinned link, if there is one.
pub fn open_link() -> Result<Option<Link>> {
    match Link::open(LINK) {
        Ok(link) => Ok(Some(link)),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => Err(Error::libbpf(format!("cannot open {LINK}"))(err)),
    }
}

/// Names in our directory; empty if there is none.
pub fn pins() -> Vec<String> {
    let Ok(dir) = fs::read_dir(DIR) else {
        return Vec::new();
    };
    let mut names: Vec<_> = dir
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .collect();
    names.sort();
    names
}

fn mount_bpffs() -> Result<()> {
    match statfs(BPFFS) {
        Ok(fs) if fs.filesystem_type() == BPF_FS_MAGIC => return Ok(()),
        Ok(_) => {}
        Err(Errno::ENOENT) => {
            return Err(Error::Unsupported(format!(
                "{BPFFS} is missing (it needs CONFIG_BPF_SYSCALL=y and a mounted /sys)"
            )));
        }
        Err(errno) => return Err(Error::io(format!("cannot stat {BPFFS}"))(errno.into())),
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RELATIME;
    mount(
        Some("bpf"),
        Path::new(BPFFS),
        Some("bpf"),
        flags,
        Some("mode=700"),
    )
    .map_err(|errno| {
        Error::io(format!("cannot mount the BPF file system on {BPFFS}"))(errno.into())
    })
}
