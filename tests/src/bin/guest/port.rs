// SPDX-License-Identifier: GPL-2.0-only
//! The guest's end of the report port.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::sys::termios::tcdrain;
use scx_preload_tests::{PORT, Report};

pub struct Port(File);

impl Port {
    pub fn open() -> Result<Self> {
        let file = File::options()
            .write(true)
            // Must not become the controlling terminal of pid 1 in the tiny VM.
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(PORT)
            .with_context(|| format!("cannot open the report port {PORT}"))?;
        Ok(Port(file))
    }

    pub fn send(&mut self, report: &Report) -> Result<()> {
        let mut line = serde_json::to_string(report)?;
        line.push('\n');
        self.0
            .write_all(line.as_bytes())
            .context("cannot write to the report port")
    }

    /// Waits for the transmission of all output before power-off.
    pub fn drain(&self) -> Result<()> {
        tcdrain(&self.0).context("cannot drain the report port")
    }
}
