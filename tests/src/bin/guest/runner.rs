// SPDX-License-Identifier: GPL-2.0-only
//! Runs one test in a process and session of its own, so that a panic, a hang, a changed
//! affinity or children left behind end with the test.

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
use crate::suites::{self, Test};

/// In the machine's own time. Generous, as the CPUs are emulated, in some boots on a busy
/// host.
const LIMIT_S: u32 = 150;

/// Maximum of a test's output to report.
const OUTPUT_MAX: usize = 6000;

/// In the child: runs the test.
pub fn run_here(suite: &str, test: &str) -> Result<()> {
    let test = suites::find(suite)
        .and_then(|tests| tests.iter().chain(suites::LAST).find(|t| t.name == test))
        .with_context(|| format!("no test is called {suite}/{test}"))?;
    alarm::set(LIMIT_S);
    (test.run)(test.name)
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

/// Result of a process in a session of its own.
pub struct Ended {
    /// Leader of the session and the process group.
    pub leader: Pid,
    status: ExitStatus,
    said: String,
}

/// Runs this program with other arguments in a session of its own, to the end.
pub fn in_session(args: &[&str]) -> Result<Ended> {
    // A file, not a pipe: a grandchild that keeps it open does not block us.
    let path = "/run/scx_preload_test.out";
    let out = File::create(path).context("cannot make the file for the output")?;
    let mut command = Command::new("/proc/self/exe");
    command.args(args).stdout(out.try_clone()?).stderr(out);
    // SAFETY: setsid() is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| setsid().map(drop).map_err(io::Error::from));
    }
    let mut child = command.spawn().context("cannot start ourselves")?;
    let status = child.wait().context("cannot wait for our child")?;
    let said = fs::read(path).context("cannot read the output")?;
    let said = String::from_utf8_lossy(&said).into_owned();
    // To the console log, for passing tests too.
    println!("{}\n{said}", args[1..].join("/"));
    Ok(Ended {
        leader: Pid::from_raw(child.id() as i32),
        status,
        said,
    })
}

impl Ended {
    /// `None` on success, else its output; the process has set an alarm for `limit_s`.
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
        Some(Ok(signal)) => format!("died of {signal}"),
        _ => String::new(),
    }
}
