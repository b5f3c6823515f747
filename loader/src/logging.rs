// SPDX-License-Identifier: GPL-2.0-only
//! Log to the journal when systemd has connected us to it, or when what is written to
//! standard error would be lost, else there.

use std::fs;
use std::io::Write;

use log::LevelFilter;
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Install the logger; `verbose` adds debug messages. Under `udev` the journal is taken if
/// there is one.
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
    env_logger::Builder::new()
        .filter_level(level)
        .format(|out, record| match record.level() {
            log::Level::Info => writeln!(out, "scx_preload: {}", record.args()),
            level => writeln!(
                out,
                "scx_preload: {}: {}",
                level.as_str().to_lowercase(),
                record.args()
            ),
        })
        .init();
}

/// Name our unit ourselves. The journal asks the kernel for it when it reads a
/// line, and by then we have often ended; `journalctl -u` goes by this field too.
fn with_unit(journal: JournalLog) -> JournalLog {
    let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    match cgroup.trim().rsplit('/').next() {
        Some(unit) if unit.ends_with(".service") => {
            journal.add_extra_field("OBJECT_SYSTEMD_UNIT", unit)
        }
        _ => journal,
    }
}
