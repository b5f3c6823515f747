// SPDX-License-Identifier: GPL-2.0-only
//! Log to the journal if systemd has connected standard error to it, or under udev, which
//! discards standard error; else to standard error. An initramfs without systemd connects
//! that to the kernel log.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use log::{Level, LevelFilter};
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Install the logger; `verbose` adds debug messages. Under `udev` it prefers the journal.
pub fn install(verbose: bool, udev: bool) {
    let level = if verbose {
        LevelFilter::Debug
    } else {
        LevelFilter::Info
    };
    log::set_max_level(level);
    if (udev || connected_to_journal())
        && let Ok(journal) = JournalLog::new()
        && with_unit(journal.with_syslog_identifier("scx_preload".into()))
            .install()
            .is_ok()
    {
        return;
    }
    let to_kmsg = to_kmsg();
    env_logger::Builder::new()
        .filter_level(level)
        .format(move |out, record| match record.level() {
            level if to_kmsg => writeln!(out, "<{}>scx_preload: {}", syslog(level), record.args()),
            Level::Info => writeln!(out, "scx_preload: {}", record.args()),
            level => writeln!(
                out,
                "scx_preload: {}: {}",
                level.as_str().to_lowercase(),
                record.args()
            ),
        })
        .init();
}

/// Is standard error /dev/kmsg? Each line is a record there, and journald imports the
/// records from before its start.
fn to_kmsg() -> bool {
    let device = |path| Some(fs::metadata(path).ok()?.rdev());
    let stderr = device("/proc/self/fd/2");
    stderr.is_some() && stderr == device("/dev/kmsg")
}

/// Facility and severity. The facility is daemon, as user space must not use the kernel's;
/// severities are those of [`JournalLog`].
fn syslog(level: Level) -> u8 {
    const DAEMON: u8 = 3 << 3;
    let severity = match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 5,
        Level::Debug => 6,
        Level::Trace => 7,
    };
    DAEMON | severity
}

/// Add the name of our unit. journald asks the kernel for it when it reads a line, when
/// this process has often ended; `journalctl -u` matches this field, too.
fn with_unit(journal: JournalLog) -> JournalLog {
    let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    match cgroup.trim().rsplit('/').next() {
        Some(unit) if unit.ends_with(".service") => {
            journal.add_extra_field("OBJECT_SYSTEMD_UNIT", unit)
        }
        _ => journal,
    }
}
