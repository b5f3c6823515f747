// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's messages about sched_ext, from /dev/kmsg.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;

/// The kernel's messages about sched_ext since [`Self::open`].
pub(super) struct KernelLog(File);

impl KernelLog {
    /// None without access to /dev/kmsg, as in a sandbox.
    pub fn open() -> Option<Self> {
        let mut file = File::options()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open("/dev/kmsg")
            .ok()?;
        // Skip to the end: there is no seek by time, and each read returns one record.
        let mut record = [0; 8192];
        while file.read(&mut record).is_ok_and(|len| len > 0) {}
        Some(Self(file))
    }

    pub fn read(mut self) -> String {
        let mut lines = String::new();
        let mut record = [0; 8192];
        while let Ok(len @ 1..) = self.0.read(&mut record) {
            let text = String::from_utf8_lossy(&record[..len]);
            let message = text.split_once(';').map_or("", |(_, message)| message);
            if let Some(line) = message.lines().next().filter(|l| l.contains("sched_ext: ")) {
                lines.push_str(line);
                lines.push('\n');
            }
        }
        lines
    }
}
