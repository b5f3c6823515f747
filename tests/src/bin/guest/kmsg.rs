// SPDX-License-Identifier: GPL-2.0-only
//! Follows the kernel log.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;

use anyhow::{Context, Result};
use nix::libc;

/// Reads new records and writes to the log.
pub struct KernelLog(File);

impl KernelLog {
    /// Skips existing records.
    pub fn open() -> Result<Self> {
        let mut options = File::options();
        options.read(true).write(true);
        let log = options.custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
        let mut log = Self(log.context("cannot open /dev/kmsg")?);
        log.records();
        Ok(log)
    }

    /// For a child process to log to.
    pub fn stdio(&self) -> io::Result<Stdio> {
        Ok(self.0.try_clone()?.into())
    }

    /// New records since the last call, each `PRIORITY,NUMBER,TIME,…;MESSAGE`.
    pub fn records(&mut self) -> Vec<String> {
        let mut records = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(len @ 1..) => {
                    records.push(String::from_utf8_lossy(&record[..len]).into_owned());
                }
                // Records were overwritten before we read them.
                Err(err) if err.raw_os_error() == Some(libc::EPIPE) => {}
                _ => return records,
            }
        }
    }
}
