// SPDX-License-Identifier: GPL-2.0-only
//! Starts, monitors and stops the schedulers to compare.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use scx_preload_tests::bench::{Bypass, EEVDF, OBJECTS, PRELOAD, Peer, variant};

use crate::other::{Other, disabled};
use crate::sys::{SCX_PRELOAD, enable_seq, poll, read, run_ok, scx_ops, scx_state, wait_for};

use super::bpf::programs;
use super::{Values, bypass};

/// For what the kernel does after the system call returns.
const LIMIT: Duration = Duration::from_secs(10);

/// How to start a scheduler.
pub struct Scheduler {
    pub name: String,
    /// The mode to measure it in, if it is a column of the bypass table.
    pub bypass: Option<Bypass>,
    how: How,
}

enum How {
    Eevdf,
    /// Arguments of `scx_preload load`.
    Preload(Vec<String>),
    /// Command line.
    Other(Vec<String>),
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
            let peer = peer.with_context(|| format!("unknown scheduler {name:?}"))?;
            How::Other(peer.command.clone())
        };
        Ok(Scheduler {
            name: name.into(),
            bypass: None,
            how,
        })
    }

    /// Our scheduler, for a bypass mode.
    pub fn in_mode(name: &str) -> Result<Self> {
        let mode = Bypass::find(name).with_context(|| format!("unknown bypass mode {name:?}"))?;
        Ok(Scheduler {
            name: name.into(),
            bypass: Some(mode),
            how: How::Preload(bypass::load_args(mode)?),
        })
    }

    pub fn start(&self) -> Result<Running> {
        ensure!(scx_state()? == "disabled", "another scheduler is enabled");
        // The kernel frees programs asynchronously; they would be counted for this scheduler.
        wait_for(LIMIT, || {
            ensure!(programs().is_empty(), "another scheduler's programs remain");
            Ok(())
        })?;
        let before = enable_seq()?;
        let mut loader = None;
        let start = Instant::now();
        let (stop, ops) = match &self.how {
            How::Eevdf => (Stop::Nothing, None),
            How::Preload(args) => {
                let args: Vec<_> = ["load"]
                    .into_iter()
                    .chain(args.iter().map(String::as_str))
                    .collect();
                let child = Command::new(SCX_PRELOAD).args(&args).spawn();
                loader = Some(child.context("cannot start scx_preload")?);
                (Stop::Unload, Some(PRELOAD.to_string()))
            }
            How::Other(command) => {
                let other = Other::start(&self.name, command)?;
                (Stop::Interrupt(other), Some(self.name.clone()))
            }
        };
        let mut running = Running {
            seq: before + u64::from(ops.is_some()),
            stop,
            ops,
            load: Duration::ZERO,
        };
        // The kernel increments enable_seq after it has set the state.
        poll(LIMIT, Duration::from_millis(1), || running.check())?;
        running.load = start.elapsed();
        if let Some(mut loader) = loader {
            let status = loader.wait()?;
            ensure!(
                status.success(),
                "scx_preload load failed: {status}; see the console log"
            );
        }
        if let Some(mode) = self.bypass {
            bypass::set_interval(mode)?;
        }
        Ok(running)
    }
}

/// How to end a scheduler.
enum Stop {
    Nothing,
    Unload,
    Interrupt(Other),
}

/// A running scheduler; for EEVDF, no sched_ext scheduler.
pub struct Running {
    stop: Stop,
    /// Prefix of its ops name; names include versions.
    ops: Option<String>,
    /// enable_seq, which shows whether it was reattached meanwhile.
    seq: u64,
    load: Duration,
}

impl Running {
    /// Fails if the scheduler is detached, or was meanwhile.
    pub fn check(&self) -> Result<()> {
        let state = scx_state()?;
        let due = match self.ops {
            Some(_) => "enabled",
            None => "disabled",
        };
        ensure!(
            state == due,
            "the scheduler changed: the state is {state}, not {due}"
        );
        ensure!(
            enable_seq()? == self.seq,
            "the scheduler was detached meanwhile"
        );
        if let Some(ops) = &self.ops {
            let name = scx_ops().unwrap_or_default();
            ensure!(name.starts_with(ops), "the scheduler is {name}, not {ops}");
        }
        Ok(())
    }

    /// Load time, the kernel's event counters, and CPU time and memory of the daemon.
    pub fn counters(&self) -> Values {
        let mut values = events();
        if !matches!(self.stop, Stop::Nothing) {
            values.push(("load_ms".into(), self.load.as_secs_f64() * 1e3));
        }
        if let Stop::Interrupt(other) = &self.stop {
            values.extend(cpu_ms(other.pid()).map(|ms| ("daemon_cpu_ms".into(), ms)));
            values.extend(resident_mb(other.pid()).map(|mb| ("daemon_mb".into(), mb)));
        }
        values
    }

    pub fn stop(self) -> Result<()> {
        match self.stop {
            Stop::Nothing => return Ok(()),
            // Fails if it was ejected, which its rows have reported.
            Stop::Unload => drop(run_ok(SCX_PRELOAD, &["unload"])),
            // On an error, too, the process has been killed.
            Stop::Interrupt(other) => {
                if let Err(e) = other.stop() {
                    println!("{}: {e:#}", self.ops.unwrap_or_default());
                }
            }
        }
        disabled()
    }
}

/// The kernel's event counters of the attached scheduler.
pub fn events() -> Values {
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
