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

/// More than this of a test's output says nothing new.
const OUTPUT_MAX: usize = 6000;

/// In the child: runs the test and prints its error chain.
pub fn run_here(suite: &str, test: &str) -> Result<()> {
    let test = suites::find(suite)
        .and_then(|tests| tests.iter().chain(suites::LAST).find(|t| t.name == test))
        .with_context(|| format!("no test is called {suite}/{test}"))?;
    alarm::set(LIMIT_S);
    (test.run)(test.name)
}

/// In the parent: runs the test in a child and reports how it went.
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

/// `None` when the test passed, else what it said.
fn child(suite: &str, test: &str) -> Result<Option<String>> {
    let ended = in_session(&["--one", suite, test])?;
    end_session(ended.leader);
    Ok(ended.error(LIMIT_S))
}

/// What ran in a session of its own.
pub struct Ended {
    /// Its process, which gave the session and the process group their number.
    pub leader: Pid,
    status: ExitStatus,
    said: String,
}

/// Runs ourselves with other arguments, to the end, in a session of its own.
pub fn in_session(args: &[&str]) -> Result<Ended> {
    // A file and not a pipe: a grandchild that keeps it open delays nobody.
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
    // For the console log, where what a passing test said is of use too.
    println!("{}\n{said}", args[1..].join("/"));
    Ok(Ended {
        leader: Pid::from_raw(child.id() as i32),
        status,
        said,
    })
}

impl Ended {
    /// `None` when it went well, else what it said; it had set an alarm for `limit_s`.
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

/// Kills what the test left running. Under a pid 1 that is ourselves, that is
/// everything, and nobody else reaps it.
pub fn end_session(leader: Pid) {
    let pid1 = std::process::id() == 1;
    let whom = Pid::from_raw(if pid1 { -1 } else { -leader.as_raw() });
    // ESRCH: nothing is left, the normal case.
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
