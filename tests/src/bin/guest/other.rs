// SPDX-License-Identifier: GPL-2.0-only
//! Schedulers of others, which run in the foreground until SIGINT.

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use scx_preload_tests::bench::{PEERS_FILE, Peer};

use crate::preload::object;
use crate::sys::{enable_seq, poll, scx_ops, scx_state, wait_for};

/// Of the fixtures.
pub const PROGRAM: &str = "/usr/bin/other";

/// lavd takes the verifier a million instructions, and CPUs are emulated.
const START_LIMIT: Duration = Duration::from_secs(100);

/// Disabling walks every task; the host may be slow.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// The time until one is there is measured.
const PAUSE: Duration = Duration::from_millis(1);

/// Those that the host could build.
pub fn peers() -> Result<Vec<Peer>> {
    let text = fs::read_to_string(PEERS_FILE).with_context(|| format!("no {PEERS_FILE}"))?;
    serde_json::from_str(&text).with_context(|| format!("odd {PEERS_FILE}"))
}

/// Attached as long as this lives, if nothing goes wrong.
pub struct Other(Child);

impl Other {
    /// That of the fixtures.
    pub fn fixture() -> Result<Self> {
        Self::start("other", &[PROGRAM.into(), object("other")])
    }

    /// The same, but it attaches only some time after it has loaded, and that is not waited
    /// for.
    pub fn loading(seconds: u32) -> Result<Self> {
        let seconds = seconds.to_string();
        let child = Command::new(PROGRAM)
            .args(["--after", &seconds, &object("other")])
            .spawn();
        Ok(Self(
            child.with_context(|| format!("cannot start {PROGRAM}"))?,
        ))
    }

    /// A program whose scheduler's name starts with `ops`.
    pub fn start(ops: &str, command: &[String]) -> Result<Self> {
        let seq = enable_seq()?;
        let (program, args) = command.split_first().context("an empty command")?;
        let child = Command::new(program).args(args).spawn();
        let mut other = Self(child.with_context(|| format!("cannot start {program}"))?);
        let mut ended = None;
        poll(START_LIMIT, PAUSE, || {
            ended = other.0.try_wait()?;
            let state = scx_state()?;
            // The kernel counts after it has set the state. Names carry versions.
            let is_new = || Ok::<_, anyhow::Error>(state == "enabled" && enable_seq()? > seq);
            let is_it = || scx_ops().is_some_and(|name| name.starts_with(ops));
            ensure!(
                ended.is_some() || is_new()? && is_it(),
                "no {ops}, the state is {state}"
            );
            Ok(())
        })?;
        if let Some(status) = ended {
            bail!("{program} ended: {status}; see the console log");
        }
        Ok(other)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Ends it as Ctrl-C does; fails if that does not end it.
    pub fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.0.id() as i32), Signal::SIGINT)?;
        wait_for(STOP_LIMIT, || {
            self.0.try_wait()?.context("it runs after SIGINT").map(drop)
        })?;
        disabled()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the kernel is done with whichever there was.
pub fn disabled() -> Result<()> {
    wait_for(STOP_LIMIT, || {
        let state = scx_state()?;
        ensure!(state == "disabled", "the state is {state}");
        Ok(())
    })
}
