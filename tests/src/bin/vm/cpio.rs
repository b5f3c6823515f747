// SPDX-License-Identifier: GPL-2.0-only
//! Writes initramfs archives (cpio, "newc"). Several can be concatenated; a file replaces that
//! of the same name in an earlier one.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

#[derive(Default)]
pub struct Archive {
    data: Vec<u8>,
    made: BTreeSet<String>,
}

impl Archive {
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) {
        self.parents(path);
        self.entry(path, 0o100000 | mode, data);
    }

    pub fn copy(&mut self, path: &str, mode: u32, from: &Path) -> Result<()> {
        let data =
            std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.file(path, mode, &data);
        Ok(())
    }

    pub fn symlink(&mut self, path: &str, to: &str) {
        self.parents(path);
        self.entry(path, 0o120777, to.as_bytes());
    }

    /// The archive with its trailer.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, b"");
        self.data
    }

    fn parents(&mut self, path: &str) {
        let path = path.trim_start_matches('/');
        for (at, _) in path.match_indices('/') {
            if self.made.insert(path[..at].to_string()) {
                self.entry(&path[..at], 0o040755, b"");
            }
        }
    }

    fn entry(&mut self, path: &str, mode: u32, data: &[u8]) {
        let path = path.trim_start_matches('/');
        // Unique inode numbers, or the kernel takes entries for hard links.
        let ino = self.data.len() as u32;
        let (size, name_size) = (data.len() as u32, path.len() as u32 + 1);
        let fields = [ino, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.data.extend(b"070701");
        for field in fields {
            self.data.extend(format!("{field:08x}").bytes());
        }
        self.data.extend(path.bytes());
        self.data.push(0);
        self.pad();
        self.data.extend(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.data.resize(self.data.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        let mut archive = Archive::default();
        archive.file("/a/b", 0o644, b"12345");
        archive.symlink("a/c", "b");
        let data = archive.finish();
        let text = String::from_utf8_lossy(&data);
        // a, a/b, a/c and the trailer: the directory only once.
        assert_eq!(text.matches("070701").count(), 4);
        assert!(text.contains("a/b\0"));
        assert!(text.contains("12345\u{0}\u{0}\u{0}070701"));
        assert_eq!(data.len() % 4, 0);
    }
}
