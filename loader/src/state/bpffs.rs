// SPDX-License-Identifier: GPL-2.0-only
//! The BPF file system and our pins in it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use libbpf_rs::{ErrorKind, Link, MapHandle};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::unistd::geteuid;

use crate::abi::{
    BPFFS, HISTORY_PIN, LB_INTERVAL_PIN, LINK_PIN, LOADED_DIR, LOADING_DIR, OPS_PIN, PIN_DIR,
};
use crate::{Error, Result};

/// The directory of our pins, locked against other processes that change it.
#[derive(Debug)]
pub struct PinDir {
    _lock: Flock<File>,
}

impl PinDir {
    /// Mount the BPF file system unless it is mounted, create the directory, and wait for
    /// the lock.
    pub(crate) fn lock() -> Result<Self> {
        require_root()?;
        mount_bpffs()?;
        match DirBuilder::new().mode(0o700).create(PIN_DIR) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io(format!("cannot create {PIN_DIR}"))(err));
            }
            _ => {}
        }
        Self::lock_existing()?.ok_or(Error::NotLoaded)
    }

    /// Wait for the lock of the directory, if it exists.
    pub(crate) fn lock_existing() -> Result<Option<Self>> {
        require_root()?;
        let dir = match File::open(PIN_DIR) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            dir => dir.map_err(Error::io(format!("cannot open {PIN_DIR}")))?,
        };
        let lock = Flock::lock(dir, FlockArg::LockExclusive)
            .map_err(|(_, errno)| Error::io(format!("cannot lock {PIN_DIR}"))(errno.into()))?;
        // Left by a load that was killed.
        remove(LOADING_DIR)?;
        Ok(Some(Self { _lock: lock }))
    }

    /// Replace the pins of the loaded scheduler by those that `pin` creates in the directory
    /// passed to it, all at once.
    pub fn replace(&self, pin: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let dir = Path::new(LOADING_DIR);
        DirBuilder::new()
            .mode(0o700)
            .create(dir)
            .map_err(Error::io(format!("cannot create {LOADING_DIR}")))?;
        let replaced = pin(dir).and_then(|()| {
            let how = match fs::exists(LOADED_DIR) {
                Ok(true) => RenameFlags::RENAME_EXCHANGE,
                _ => RenameFlags::RENAME_NOREPLACE,
            };
            renameat2(AT_FDCWD, LOADING_DIR, AT_FDCWD, LOADED_DIR, how)
                .map_err(|errno| Error::io(format!("cannot create {LOADED_DIR}"))(errno.into()))
        });
        remove(LOADING_DIR).and(replaced)
    }

    /// Is a scheduler loaded? True if that cannot be determined.
    pub(crate) fn has_loaded(&self) -> bool {
        fs::exists(LOADED_DIR).unwrap_or(true)
    }

    /// Remove the pins of the loaded scheduler, if any.
    pub fn unpin(&self) -> Result<()> {
        remove(LOADED_DIR)
    }

    /// Remove the pinned link, which detaches the scheduler.
    pub fn unlink(&self) -> Result<()> {
        remove(LINK_PIN)
    }

    /// Forget the history.
    pub fn forget(&self) -> Result<()> {
        remove(HISTORY_PIN)
    }

    /// Forget the changed interval of the kernel's bypass.
    pub fn forget_interval(&self) -> Result<()> {
        remove(LB_INTERVAL_PIN)
    }
}

/// Remove a pin, or a directory of pins, if it exists.
fn remove(path: &str) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(err) => Err(err),
    };
    match removed {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("cannot remove {path}"))(err))
        }
        _ => Ok(()),
    }
}

/// Fail with [`Error::NotRoot`] unless root: others cannot read [`PIN_DIR`].
pub fn require_root() -> Result<()> {
    if geteuid().is_root() {
        Ok(())
    } else {
        Err(Error::NotRoot(PIN_DIR))
    }
}

/// The pinned link, if any.
pub fn open_link() -> Result<Option<Link>> {
    match Link::open(LINK_PIN) {
        Ok(link) => Ok(Some(link)),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => Err(Error::libbpf(format!("cannot open {LINK_PIN}"))(err)),
    }
}

/// The pinned struct_ops map, if any.
pub fn open_ops() -> Result<Option<MapHandle>> {
    match MapHandle::from_pinned_path(OPS_PIN) {
        Ok(map) => Ok(Some(map)),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => Err(Error::libbpf(format!("cannot open {OPS_PIN}"))(err)),
    }
}

/// Paths of our pins.
pub fn pins() -> Vec<String> {
    let mut names: Vec<_> = [PIN_DIR, LOADED_DIR]
        .iter()
        .flat_map(fs::read_dir)
        .flat_map(|dir| dir.flatten())
        .filter(|entry| entry.file_type().is_ok_and(|ty| !ty.is_dir()))
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
                "{BPFFS} is missing; it requires CONFIG_BPF_SYSCALL=y and a mounted /sys"
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
