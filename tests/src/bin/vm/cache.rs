// SPDX-License-Identifier: GPL-2.0-only
//! The cache of downloads and images, outside the source tree.
//!
//! An entry is named after its inputs and appears by rename(2), so it is always complete.
//! Most are directories, which tempfile cannot persist.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// For this long after a run has asked for an entry, it may be using it.
const IN_USE: Duration = Duration::from_hours(1);

pub struct Cache {
    pub dir: PathBuf,
}

impl Cache {
    pub fn open() -> Result<Self> {
        let set = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let dir = set("SCX_PRELOAD_CACHE")
            .or_else(|| Some(set("XDG_CACHE_HOME")?.join("scx_preload")))
            .or_else(|| Some(set("HOME")?.join(".cache/scx_preload")))
            .context("none of SCX_PRELOAD_CACHE, XDG_CACHE_HOME and HOME is set; set one")?;
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Cache { dir })
    }

    /// Locks other runs out until dropped.
    pub fn lock(&self) -> Result<Flock<File>> {
        let path = self.dir.join("lock");
        let file =
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(lock),
            Err((file, Errno::EWOULDBLOCK)) => {
                println!(
                    "waiting for another run, which has locked {}",
                    self.dir.display()
                );
                Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| e.into())
            }
            Err((_, e)) => Err(e).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// The directory or file `name`, created by `make` if missing.
    pub fn get(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let path = self.dir.join(name);
        if path.exists() {
            // Marks it as recently used for prune().
            let _ = File::open(&path).and_then(|f| f.set_modified(SystemTime::now()));
            return Ok(path);
        }
        let half = path.with_file_name(format!(
            ".half-{}",
            path.file_name().unwrap_or_default().display()
        ));
        remove(&half)?;
        fs::create_dir_all(path.parent().context("a cache entry without a parent")?)?;
        make(&half)?;
        fs::rename(&half, &path).with_context(|| format!("cannot rename {}", half.display()))?;
        Ok(path)
    }

    /// Removes all but the `keep` most recently used entries of a directory, and those that
    /// another run may be using.
    pub fn prune(&self, name: &str, keep: usize) -> Result<()> {
        let dir = self.dir.join(name);
        if !dir.exists() {
            return Ok(());
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            entries.push((entry.metadata()?.modified()?, entry.path()));
        }
        entries.sort();
        let old = entries.len().saturating_sub(keep);
        let in_use = |used: &SystemTime| used.elapsed().is_ok_and(|ago| ago < IN_USE);
        entries
            .iter()
            .take(old)
            .filter(|(used, _)| !in_use(used))
            .try_for_each(|(_, path)| remove(path))
    }
}

fn remove(path: &Path) -> Result<()> {
    let done = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match done {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Hash of all inputs of a cache entry.
#[derive(Default)]
pub struct Key(DefaultHasher);

impl Key {
    pub fn with(mut self, part: impl Hash) -> Self {
        part.hash(&mut self.0);
        self
    }

    pub fn with_file(self, path: &Path) -> Result<Self> {
        let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(self.with(data))
    }

    pub fn name(&self) -> String {
        format!("{:016x}", self.0.finish())
    }
}
