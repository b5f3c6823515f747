// SPDX-License-Identifier: GPL-2.0-only
//! Compares schedulers, which take turns in one boot.

mod bpf;
mod bypass;
mod proc;
mod scheduler;
mod workloads;

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, alarm};
use scx_preload_tests::Report;
use scx_preload_tests::bench::{Bypass, EEVDF, Table, split_schedulers, table, words};

use crate::other::peers;
use crate::port::Port;
use crate::runner;
use crate::sys::{read, word};

use scheduler::{Running, Scheduler};
pub use workloads::run_helper;
use workloads::skew;

/// In guest time: long enough to tell a slow scheduler from one that lets a row starve.
const LIMIT_S: u32 = 120;

/// A few seconds after boot the kernel switches to a better clocksource and then to tickless
/// idle; until then ping_pong takes eight times as long.
const SETTLE: Duration = Duration::from_secs(5);

/// File for the values of a workload.
const VALUES: &str = "/run/scx_bench.values";

/// Enough to fault in everything that a workload touches.
const WARM_UP: f64 = 0.02;

/// Names and values that a workload returns.
pub type Values = Vec<(String, f64)>;

/// In the child: runs one workload for one column of its table and writes the values to a file
/// for the parent.
pub fn run_here(workload: &str, scale: &str, column: &str) -> Result<()> {
    alarm::set(LIMIT_S);
    let scale = scale.parse()?;
    let values = match skew::find(workload) {
        Some(load) => skew::run(load, Bypass::find(column), scale)?,
        None => workloads::find(workload)?(scale)?,
    };
    fs::write(VALUES, serde_json::to_string(&values)?).context("cannot write the values")
}

/// What the kernel command line requests.
struct Plan {
    schedulers: Vec<Scheduler>,
    workloads: Vec<String>,
    repetitions: u32,
    scale: f64,
}

impl Plan {
    fn read() -> Result<Self> {
        let peers = peers()?;
        let need = |name: &str| {
            word(name)?.with_context(|| format!("no {name}= on the kernel command line"))
        };
        // Rows of a scheduler's start need no workload.
        let list = |name: &str| -> Result<Vec<String>> {
            let list = need(name)?;
            let items = list.split(',').filter(|item| !item.is_empty());
            Ok(items.map(String::from).collect())
        };
        let names = split_schedulers(&need(words::SCHEDULERS)?);
        let schedulers = names.iter().map(|name| Scheduler::find(name, &peers));
        let modes = list(words::MODES)?;
        let modes = modes.iter().map(|name| Scheduler::in_mode(name));
        Ok(Plan {
            schedulers: schedulers.chain(modes).collect::<Result<_>>()?,
            workloads: list(words::ROWS)?,
            repetitions: need(words::REPETITIONS)?.parse()?,
            scale: need(words::SCALE)?.parse()?,
        })
    }

    /// The workloads of the table that this scheduler is a column of.
    fn workloads(&self, of: &Scheduler) -> impl Iterator<Item = &String> {
        let its = of.bypass.map_or(Table::Schedulers, |_| Table::Bypass);
        let workloads = self.workloads.iter();
        workloads.filter(move |workload| table(workload) == Some(its))
    }
}

pub fn compare(port: &mut Port) -> Result<()> {
    let plan = Plan::read()?;
    let mut bench = Bench {
        port,
        scheduler: EEVDF.into(),
        repetition: 0,
    };
    sleep(SETTLE);
    for workload in &plan.workloads {
        bench.port.send(&Report::Start {
            name: format!("warm-up/{workload}"),
        })?;
        apart(workload, plan.scale.min(1.0) * WARM_UP, EEVDF)?;
    }
    for repetition in 0..plan.repetitions {
        bench.repetition = repetition;
        let mut order: Vec<_> = plan.schedulers.iter().collect();
        // None is always the first.
        let count = order.len().max(1);
        order.rotate_left(repetition as usize % count);
        for scheduler in order {
            bench.scheduler = scheduler.name.clone();
            bench.turn(scheduler, &plan)?;
        }
    }
    Ok(())
}

struct Bench<'a> {
    port: &'a mut Port,
    scheduler: String,
    repetition: u32,
}

impl Bench<'_> {
    fn turn(&mut self, scheduler: &Scheduler, plan: &Plan) -> Result<()> {
        let Some(mut running) = self.step("start", || scheduler.start())? else {
            return Ok(());
        };
        for workload in plan.workloads(scheduler) {
            let values = self.step(workload, || {
                row(&mut running, workload, plan.scale, &scheduler.name)
            })?;
            for (name, value) in values.unwrap_or_default() {
                self.sample(&name, value)?;
            }
        }
        for (name, value) in running.counters() {
            self.sample(&name, value)?;
        }
        // An error here ends the benchmark, as the next scheduler could not start.
        running.stop()
    }

    /// Runs `work` and reports its start and result; `None` if it failed.
    fn step<T>(&mut self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        let name = format!("{}/{}/{what}", self.repetition, self.scheduler);
        self.port.send(&Report::Start { name: name.clone() })?;
        // The port's interrupts would disturb the measurement.
        self.port.drain()?;
        let start = Instant::now();
        let result = work();
        self.port.send(&Report::Result {
            name,
            ms: start.elapsed().as_millis() as u64,
            error: result.as_ref().err().map(|e| format!("{e:#}")),
        })?;
        Ok(result.ok())
    }

    fn sample(&mut self, row: &str, value: f64) -> Result<()> {
        ensure!(value.is_finite(), "{row} is {value}");
        self.port.send(&Report::Sample {
            scheduler: self.scheduler.clone(),
            row: row.into(),
            repetition: self.repetition,
            value,
        })
    }
}

/// Runs one workload and checks that the scheduler stayed enabled throughout.
fn row(running: &mut Running, workload: &str, scale: f64, column: &str) -> Result<Values> {
    running.check().context("before the row")?;
    let switches = context_switches()?;
    let mut values = apart(workload, scale, column)?;
    let switches = context_switches()? - switches;
    running.check().context("after the row")?;
    values.push((format!("switches/{workload}"), switches as f64));
    Ok(values)
}

/// Runs a workload in a session of its own, so that none of its processes survive it.
fn apart(workload: &str, scale: f64, column: &str) -> Result<Values> {
    let _ = fs::remove_file(VALUES);
    let ended = runner::in_session(&["--workload", workload, &scale.to_string(), column])?;
    end_group(ended.leader);
    if let Some(error) = ended.error(LIMIT_S) {
        bail!("{error}");
    }
    Ok(serde_json::from_str(&read(VALUES)?)?)
}

/// Kills one process group, not everything as the tests do: the scheduler's daemon must stay.
fn end_group(leader: Pid) {
    let group = Pid::from_raw(-leader.as_raw());
    // Normally ESRCH, as nothing is left.
    let _ = kill(group, Signal::SIGKILL);
    while waitpid(group, None).is_ok() {}
}

/// Of the whole system since boot.
fn context_switches() -> Result<u64> {
    let stat = read("/proc/stat")?;
    let line = stat.lines().find_map(|l| l.strip_prefix("ctxt "));
    Ok(line.context("no ctxt in /proc/stat")?.parse()?)
}
