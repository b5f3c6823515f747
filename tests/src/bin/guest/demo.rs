// SPDX-License-Identifier: GPL-2.0-only
//! Shows the state of the system after the boot.

use anyhow::{Context, Result, ensure};
use scx_preload_tests::Report;

use crate::journal;
use crate::port::Port;
use crate::sys::{run, scx_state};

/// What an administrator would look at.
const COMMANDS: &[&str] = &[
    "grep . /sys/kernel/sched_ext/state /sys/kernel/sched_ext/root/ops /sys/kernel/sched_ext/enable_seq",
    "ls -l /sys/fs/bpf/scx_preload",
    "ps -C scx_preload || echo 'no such process'",
    "journalctl -b -u scx_preload -o short-monotonic --no-hostname --no-pager",
    "scx_preload status",
];

pub fn show(port: &mut Port) -> Result<()> {
    let attached = journal::attached()?;
    let switch = journal::switch_root()?;
    for (us, what) in [
        (attached, "our scheduler attached, in the initrd"),
        (switch, "switch_root to the real root"),
        (journal::now()?, "multi-user.target reached, now"),
    ] {
        say(port, &format!("{:9.3} s  {what}", us as f64 / 1e6))?;
    }
    for command in COMMANDS {
        say(port, "")?;
        say(port, &format!("# {command}"))?;
        let out = run("sh", &["-c", command])?;
        for line in out.stdout.lines().chain(out.stderr.lines()) {
            say(port, line)?;
        }
        ensure!(out.code == Some(0), "{command}: ended with {:?}", out.code);
    }
    let state = scx_state().context("no sched_ext")?;
    ensure!(
        state == "enabled" && attached < switch,
        "the scheduler is not enabled, or was not attached in the initrd"
    );
    Ok(())
}

fn say(port: &mut Port, line: &str) -> Result<()> {
    port.send(&Report::Text { line: line.into() })
}
