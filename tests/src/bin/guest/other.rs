// SPDX-License-Identifier: GPL-2.0-only
//! Other schedulers, which run in the foreground until SIGINT.

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use scx_preload_tests::bench::{PEERS_FILE, Peer};

use crate::preload::object;
use crate::sys::{SCX_PRELOAD, enable_seq, poll, scx_ops, scx_state, wait_for};

/// The fixture.
pub const PROGRAM: &str = "/usr/bin/other";

/// lavd costs the verifier a million instructions, on emulated CPUs.
const START_LIMIT: Duration = Duration::from_secs(100);

/// Disabling walks all tasks; with `Clock::Host`, the host may be slow.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Short, because the time to attach is measured.
const PAUSE: Duration = Duration::from_millis(1);

/// The peers that were built on the host.
pub fn peers() -> Result<Vec<Peer>> {
    let text =
        fs::read_to_string(PEERS_FILE).with_context(|| format!("cannot read {PEERS_FILE}"))?;
    serde_json::from_str(&text).with_context(|| format!("cannot parse {PEERS_FILE}"))
}

/// A running scheduler, killed when dropped.
pub struct Other(Child);

impl Other {
    /// Starts the fixture.
    pub fn fixture() -> Result<Self> {
        Self::start("other", &[PROGRAM.into(), object("other")])
    }

    /// The same, but it attaches some time after loading. Does not wait for it.
    pub fn loading(seconds: u32) -> Result<Self> {
        let seconds = seconds.to_string();
        let child = Command::new(PROGRAM)
            .args(["--after", &seconds, &object("other")])
            .spawn();
        Ok(Self(
            child.with_context(|| format!("cannot start {PROGRAM}"))?,
        ))
    }

    /// Starts a program whose scheduler's name starts with `ops`.
    pub fn start(ops: &str, command: &[String]) -> Result<Self> {
        let seq = enable_seq()?;
        let (program, args) = command.split_first().context("the command is empty")?;
        let child = Command::new(program).args(args).spawn();
        let mut other = Self(child.with_context(|| format!("cannot start {program}"))?);
        let mut ended = None;
        poll(START_LIMIT, PAUSE, || {
            ended = other.0.try_wait()?;
            let state = scx_state()?;
            // The kernel sets the state before it counts. Names include versions.
            let is_new = || Ok::<_, anyhow::Error>(state == "enabled" && enable_seq()? > seq);
            let is_it = || scx_ops().is_some_and(|name| name.starts_with(ops));
            ensure!(
                ended.is_some() || is_new()? && is_it(),
                "{ops} is not enabled, the state is {state}"
            );
            Ok(())
        })?;
        if let Some(status) = ended {
            bail!("{program} failed: {status}; see the console log");
        }
        Ok(other)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Stops it with SIGINT; fails if it keeps running.
    pub fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.0.id() as i32), Signal::SIGINT)?;
        wait_for(STOP_LIMIT, || {
            self.0
                .try_wait()?
                .context("the other scheduler ignores SIGINT")
                .map(drop)
        })?;
        disabled()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // Both fail only if it has exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `scx_preload run` with this command.
pub fn start_run(command: &[&str]) -> Result<Child> {
    let run = Command::new(SCX_PRELOAD)
        .args(["run", "--"])
        .args(command)
        .spawn();
    run.context("cannot start scx_preload run")
}

/// Waits until the fixture's scheduler, started elsewhere, is attached.
pub fn fixture_runs() -> Result<()> {
    wait_for(STOP_LIMIT, || {
        ensure!(scx_ops().as_deref() == Some("other"), "{:?}", scx_ops());
        Ok(())
    })
}

/// Waits until no scheduler is attached.
pub fn disabled() -> Result<()> {
    wait_for(STOP_LIMIT, || {
        let state = scx_state()?;
        ensure!(state == "disabled", "the state is {state}");
        Ok(())
    })
}
