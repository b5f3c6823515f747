// SPDX-License-Identifier: GPL-2.0-only
//! Runs one test in its own process and session, so that a panic, a hang, a changed affinity or
//! leftover children end with the test.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::Instant;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, alarm, setsid};
use scx_preload_tests::Report;

use crate::port::Port;
use crate::preload;
use crate::suites::{self, Test};

/// In guest time. Generous, as CPUs are emulated, and with `Clock::Host` the host may be busy.
const LIMIT_S: u32 = 150;

/// Most bytes of a test's output to report.
const OUTPUT_MAX: usize = 6000;

/// In the child: runs the test.
pub fn run_here(suite: &str, test: &str) -> Result<()> {
    let test = suites::find(suite)
        .and_then(|tests| tests.iter().chain(suites::LAST).find(|t| t.name == test))
        .with_context(|| format!("unknown test {suite}/{test}"))?;
    alarm::set(LIMIT_S);
    let done = (test.run)(test.name);
    if let (Err(_), Ok(status)) = (&done, preload::status()) {
        println!("soft bypass: {}", status["bypass"]);
    }
    done
}

/// In the parent: runs the test in a child and reports its result.
pub fn run_apart(port: &mut Port, full: &str, suite: &str, test: &Test) -> Result<()> {
    port.send(&Report::Start { name: full.into() })?;
    let start = Instant::now();
    let error = child(suite, test.name).unwrap_or_else(|e| Some(format!("{e:#}")));
    port.send(&Report::Result {
        name: full.into(),
        ms: start.elapsed().as_millis() as u64,
        error,
    })
}

/// `None` if the test passed, else its output.
fn child(suite: &str, test: &str) -> Result<Option<String>> {
    let ended = in_session(&["--one", suite, test])?;
    end_session(ended.leader);
    Ok(ended.error(LIMIT_S))
}

/// Result of a process that ran in its own session.
pub struct Ended {
    /// Leader of the session and the process group.
    pub leader: Pid,
    status: ExitStatus,
    said: String,
}

/// Runs this program with other arguments in a new session, to its end.
pub fn in_session(args: &[&str]) -> Result<Ended> {
    // A file, not a pipe: a grandchild that keeps it open does not block us.
    let path = "/run/scx_preload_test.out";
    let out = File::create(path).context("cannot create the output file")?;
    let mut command = Command::new("/proc/self/exe");
    command.args(args).stdout(out.try_clone()?).stderr(out);
    // SAFETY: setsid() is async-signal-safe and does not access our memory.
    unsafe {
        command.pre_exec(|| setsid().map(drop).map_err(io::Error::from));
    }
    let mut child = command.spawn().context("cannot start the test process")?;
    let status = child.wait().context("cannot wait for the test process")?;
    let said = fs::read(path).context("cannot read the test's output")?;
    let said = String::from_utf8_lossy(&said).into_owned();
    // To the console log, for passed tests, too.
    println!("{}\n{said}", args[1..].join("/"));
    Ok(Ended {
        leader: Pid::from_raw(child.id() as i32),
        status,
        said,
    })
}

impl Ended {
    /// `None` on success, else the output; the process has set an alarm for `limit_s`.
    pub fn error(&self, limit_s: u32) -> Option<String> {
        if self.status.success() {
            return None;
        }
        let mut from = self.said.len().saturating_sub(OUTPUT_MAX);
        while !self.said.is_char_boundary(from) {
            from += 1;
        }
        Some(format!(
            "{}{}",
            &self.said[from..],
            ending(self.status, limit_s)
        ))
    }
}

/// Kills what the test left running. As pid 1, kills and reaps all processes.
pub fn end_session(leader: Pid) {
    let pid1 = std::process::id() == 1;
    let whom = Pid::from_raw(if pid1 { -1 } else { -leader.as_raw() });
    // ESRCH is the normal case: nothing is left.
    let _ = kill(whom, Signal::SIGKILL);
    while pid1 && matches!(waitpid(None, None), Ok(_) | Err(Errno::EINTR)) {}
}

fn ending(status: ExitStatus, limit_s: u32) -> String {
    match status.signal().map(Signal::try_from) {
        Some(Ok(Signal::SIGALRM)) => format!("still running after {limit_s} s"),
        Some(Ok(signal)) => format!("killed by {signal}"),
        _ => String::new(),
    }
}
