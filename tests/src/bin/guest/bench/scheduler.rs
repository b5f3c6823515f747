// SPDX-License-Identifier: GPL-2.0-only
//! Schedulers to compare: starts them, watches them, ends them.

use std::fs;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use scx_preload_tests::bench::{EEVDF, OBJECTS, Peer, variant};

use crate::sys::{SCX_PRELOAD, read, run_ok, scx_state, wait_for};

use super::Values;
use super::bpf::programs;

/// Peers in debt to the verifier need seconds of an emulated CPU.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Until a peer that ignores SIGINT is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How to start a scheduler.
pub struct Scheduler {
    pub name: String,
    how: How,
}

enum How {
    Eevdf,
    /// Arguments of `scx_preload load`.
    Preload(Vec<String>),
    Foreground(Vec<String>),
}

impl Scheduler {
    pub fn find(name: &str, peers: &[Peer]) -> Result<Self> {
        let how = if name == EEVDF {
            How::Eevdf
        } else if let Some(variant) = variant(name) {
            let mut args = Vec::new();
            if let Some(object) = variant.object {
                args.extend(["--object".into(), format!("{OBJECTS}/{object}")]);
            }
            for pair in variant.set {
                args.extend(["--set".into(), pair.into()]);
            }
            How::Preload(args)
        } else {
            let peer = peers.iter().find(|peer| peer.name == name);
            How::Foreground(
                peer.with_context(|| format!("no scheduler is called {name:?}"))?
                    .command
                    .clone(),
            )
        };
        Ok(Scheduler {
            name: name.into(),
            how,
        })
    }

    pub fn start(&self) -> Result<Running> {
        ensure!(scx_state()? == "disabled", "something else is loaded");
        // The kernel takes its time, and they would be counted as this one's.
        wait_for(STOP_LIMIT, || {
            ensure!(programs().is_empty(), "programs of another one are left");
            Ok(())
        })?;
        let start = Instant::now();
        let mut running = Running {
            stop: Stop::Nothing,
            state: "enabled",
            seq: enable_seq()?,
            load: Duration::ZERO,
        };
        match &self.how {
            How::Eevdf => running.state = "disabled",
            How::Preload(args) => {
                let args: Vec<_> = ["load"]
                    .into_iter()
                    .chain(args.iter().map(String::as_str))
                    .collect();
                run_ok(SCX_PRELOAD, &args)?;
                running.stop = Stop::Unload;
            }
            How::Foreground(command) => {
                let (program, args) = command.split_first().context("an empty command")?;
                let child = Command::new(program).args(args).spawn();
                running.stop =
                    Stop::Interrupt(child.with_context(|| format!("cannot run {program}"))?);
            }
        }
        running.wait_until_there()?;
        running.load = start.elapsed();
        Ok(running)
    }
}

/// How to end a scheduler.
enum Stop {
    Nothing,
    Unload,
    Interrupt(Child),
}

/// A scheduler at work, or none where EEVDF is.
pub struct Running {
    stop: Stop,
    state: &'static str,
    /// Tells one that came back from one that never went.
    seq: u64,
    load: Duration,
}

impl Running {
    fn wait_until_there(&mut self) -> Result<()> {
        let end = Instant::now() + START_LIMIT;
        if !matches!(self.stop, Stop::Nothing) {
            self.seq += 1;
        }
        loop {
            // The kernel counts after it has set the state.
            let state = scx_state()?;
            if state == self.state && enable_seq()? == self.seq {
                return Ok(());
            }
            if let Stop::Interrupt(child) = &mut self.stop
                && let Some(status) = child.try_wait()?
            {
                bail!("it ended before it was enabled: {status}; see the console's log");
            }
            ensure!(
                Instant::now() < end,
                "after {START_LIMIT:?} the state is {state}, not {}",
                self.state
            );
            // The time until it is there is one of the rows.
            sleep(Duration::from_millis(1));
        }
    }

    /// Fails if the scheduler is not there or was away.
    pub fn check(&mut self) -> Result<()> {
        let state = scx_state()?;
        ensure!(
            state == self.state,
            "the scheduler is gone: the state is {state}, not {}",
            self.state
        );
        ensure!(
            enable_seq()? == self.seq,
            "the scheduler was away meanwhile"
        );
        Ok(())
    }

    /// What the start took, what the kernel and the daemon's use of the machine say at the end.
    pub fn counters(&self) -> Values {
        let mut values = events();
        if !matches!(self.stop, Stop::Nothing) {
            values.push(("load_ms".into(), self.load.as_secs_f64() * 1e3));
        }
        if let Stop::Interrupt(child) = &self.stop {
            values.extend(cpu_ms(child.id()).map(|ms| ("daemon_cpu_ms".into(), ms)));
            values.extend(resident_mb(child.id()).map(|mb| ("daemon_mb".into(), mb)));
        }
        values
    }

    pub fn stop(mut self) -> Result<()> {
        match &mut self.stop {
            Stop::Nothing => return Ok(()),
            // Fails if it is gone already, which its rows have said.
            Stop::Unload => drop(run_ok(SCX_PRELOAD, &["unload"])),
            Stop::Interrupt(child) => interrupt(child)?,
        }
        wait_for(Duration::from_secs(30), || {
            let state = scx_state()?;
            ensure!(state == "disabled", "the state is {state}");
            Ok(())
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Stop::Interrupt(child) = &mut self.stop {
            // Both fail only if it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn interrupt(child: &mut Child) -> Result<()> {
    // ESRCH: it is gone already, which its rows have said.
    let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGINT);
    let gone = wait_for(STOP_LIMIT, || {
        child.try_wait()?.context("still running").map(drop)
    });
    if gone.is_err() {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

fn enable_seq() -> Result<u64> {
    Ok(read("/sys/kernel/sched_ext/enable_seq")?.parse()?)
}

/// The kernel's event counters of the scheduler that is attached.
fn events() -> Values {
    let text = read("/sys/kernel/sched_ext/root/events").unwrap_or_default();
    let parse = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((format!("event/{name}"), value.trim().parse().ok()?))
    };
    text.lines().filter_map(parse).collect()
}

/// CPU time of all threads.
fn cpu_ms(pid: u32) -> Option<f64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let ns = tasks.filter_map(|task| {
        let text = read(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    Some(ns.sum::<f64>() / 1e6)
}

fn resident_mb(pid: u32) -> Option<f64> {
    let status = read(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kb: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kb / 1024.0)
}
