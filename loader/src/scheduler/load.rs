// SPDX-License-Identifier: GPL-2.0-only
//! Put a scheduler in place and take it away.
//!
//! The order is load → attach → confirm → pin. Until the last step the link
//! lives in this process only, so that dying anywhere before leaves nothing but the
//! interval of [`super::lb_interval`], which whoever comes next changes back. The pins
//! appear all at once, but for that of the link: who dies before it ends the scheduler,
//! and leaves what is pinned to [`super::resume`], as if another one had ended.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use libbpf_rs::query::MapInfoIter;
use libbpf_rs::{Link, MapCore, MapMut, MapType, Object};

use super::attach::{attach, make_ready};
use super::kernel_log::KernelLog;
use super::lb_interval::LbInterval;
use super::open::load_into_kernel;
use super::settings::Setting;
use super::{handover_programs, lock};
use crate::abi::{LINK_PIN, OPS, OPS_MAP, STATE_LIMIT, WATCH_MAP};
use crate::object::source::Source;
use crate::state::bpffs::{self, PinDir};
use crate::state::departure::Departure;
use crate::state::sched_ext::{SchedExt, require_sched_ext};
use crate::{Error, Result, libbpf_log};

/// When a load is to attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Now, or fail.
    Now,
    /// Now, or when the scheduler that runs has ended.
    Free,
    /// When another scheduler has ended, or [`resume`] is asked for.
    Asked,
}

/// What a load came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadOutcome {
    /// The kernel runs it.
    Attached,
    /// It is pinned, to be attached later, for this reason.
    StandsBy(String),
}

/// Load `source`, pin it, and make it the scheduler if it is time. Attaching succeeds
/// only if the kernel still says so a moment later. On failure nothing is left, but what
/// was loaded before and is not attached.
pub fn load(source: &Source, settings: &[Setting], when: When) -> Result<LoadOutcome> {
    require_sched_ext()?;
    load_locked(&lock::lock()?, source, settings, when, OnHistory::Forget)
}

/// What becomes of what was before: see [`crate::state::history`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnHistory {
    Forget,
    Keep,
}

/// The same for who has the lock already.
pub(crate) fn load_locked(
    pins: &PinDir,
    source: &Source,
    settings: &[Setting],
    when: When,
    history: OnHistory,
) -> Result<LoadOutcome> {
    let other = who_runs(when)?;
    LbInterval::restore(pins);

    // Attaching bypasses, too.
    LbInterval::shorten(pins);
    let started = start(pins, source, settings, when, other, history);
    if started.is_err() {
        LbInterval::restore(pins);
    }
    started
}

fn start(
    pins: &PinDir,
    source: &Source,
    settings: &[Setting],
    when: When,
    other: Option<String>,
    history: OnHistory,
) -> Result<LoadOutcome> {
    let mut loaded = load_into_kernel(source, settings)?;
    make_ready(&mut ops(source, &mut loaded)?)?;
    let mut beside = handover_programs::attach(source, &loaded);
    let mut replace = |loaded: &mut Object| {
        libbpf_log::take();
        // Before what is new can be found, so that it is never kept out by the old.
        if history == OnHistory::Forget {
            pins.forget()?;
        }
        pins.replace(|dir| pin(dir, source, loaded, &mut beside))
    };

    let stand_by = match (&other, when) {
        (Some(other), _) => Some(behind(other)),
        (None, When::Asked) => Some("until `scx_preload resume`, or another one has ended".into()),
        (None, _) => None,
    };
    if let Some(why) = stand_by {
        replace(&mut loaded)?;
        return Ok(LoadOutcome::StandsBy(why));
    }

    let log_start = KernelLog::open();
    wait_for_others(&ops(source, &mut loaded)?)?;
    // Until ours has begun to run, it cannot keep who comes to attach waiting.
    let (attached, who) = match Departure::of(&loaded)?.gave_way() {
        None => {
            let attached = attach(ops(source, &mut loaded)?.as_fd())?.ok();
            (attached, Departure::of(&loaded)?.gave_way())
        }
        who => (None, who),
    };
    match (attached, who) {
        (Some(link), None) => {
            replace(&mut loaded)?;
            link.pin(LINK_PIN)?;
            Ok(LoadOutcome::Attached)
        }
        (_, Some(who)) if when == When::Free => {
            replace(&mut loaded)?;
            Ok(LoadOutcome::StandsBy(format!(
                "{who} is loading another one"
            )))
        }
        (attached, who) => {
            drop(attached);
            let state = SchedExt::wait(STATE_LIMIT, |now| now.state != "disabling")?;
            // It has come while we were loading.
            let other = state.ops.as_deref().filter(|name| *name != OPS);
            if let (Some(name), true) = (other, when == When::Free) {
                replace(&mut loaded)?;
                return Ok(LoadOutcome::StandsBy(behind(name)));
            }
            Err(match (who, other) {
                (Some(who), _) => Error::Busy(format!("{who} is loading another scheduler")),
                (None, Some(name)) => other_runs(name),
                (None, None) => stopped(source, &state, log_start),
            })
        }
    }
}

/// Load `source` into the kernel without making it the scheduler.
pub fn verify(source: &Source, settings: &[Setting]) -> Result<Object> {
    require_sched_ext()?;
    bpffs::require_root()?;
    load_into_kernel(source, settings)
}

/// The name of the scheduler that runs, if it is another one and that is no reason to
/// fail.
fn who_runs(when: When) -> Result<Option<String>> {
    let now = SchedExt::wait(STATE_LIMIT, |now| now.state != "disabling")?;
    match now.ops.as_deref() {
        _ if now.state == "disabled" => Ok(None),
        Some(OPS) => Err(Error::AlreadyLoaded),
        Some(other) if when == When::Now => Err(other_runs(other)),
        other => Ok(Some(other.unwrap_or("another one").into())),
    }
}

/// Why a load stands by.
fn behind(other: &str) -> String {
    format!("{other} runs, until that has ended")
}

fn other_runs(name: &str) -> Error {
    Error::Busy(format!(
        "the scheduler {name} is running, and there can be one at a time; stop it first, or load with --standby to follow it"
    ))
}

fn ops<'obj>(source: &Source, object: &'obj mut Object) -> Result<MapMut<'obj>> {
    let mut all: Vec<MapMut<'_>> = object
        .maps_mut()
        .filter(|map| map.map_type() == MapType::StructOps)
        .collect();
    match (all.pop(), all.len()) {
        (Some(ops), 0) => Ok(ops),
        (_, others) => Err(Error::Object {
            name: source.name.clone(),
            reason: format!("it has {} ops tables and not one", others + 1),
        }),
    }
}

/// Pin all but the link of the scheduler into `dir`.
fn pin(
    dir: &Path,
    source: &Source,
    loaded: &mut Object,
    beside: &mut [(&'static str, Link)],
) -> Result<()> {
    let failed = |name: &str| Error::libbpf(format!("cannot pin {name} of {}", source.name));
    for (name, link) in beside {
        link.pin(dir.join(*name)).map_err(failed(name))?;
    }
    for mut map in loaded.maps_mut() {
        let name = match map.map_type() {
            MapType::StructOps => "ops",
            _ if map.name() == WATCH_MAP => "watch",
            _ => continue,
        };
        map.pin(dir.join(name)).map_err(failed(name))?;
    }
    Ok(())
}

/// Wait for who has made an ops table before ours could notice: it will be attached
/// soon, unless it was made for something else.
fn wait_for_others(ops: &MapMut<'_>) -> Result<()> {
    // Needs CAP_SYS_ADMIN, which the unit has not: at boot nobody is that early.
    let Ok(ours) = ops.info() else { return Ok(()) };
    let ours = ours.info;
    let others = || {
        MapInfoIter::default().any(|map| {
            map.ty == MapType::StructOps
                && map.btf_vmlinux_value_type_id == ours.btf_vmlinux_value_type_id
                && map.name != OPS_MAP
        })
    };
    let start = Instant::now();
    let mut said = false;
    while start.elapsed() < STATE_LIMIT && SchedExt::read()?.state == "disabled" && others() {
        if !said {
            log::info!("waiting for a scheduler that somebody else is loading");
        }
        said = true;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn stopped(source: &Source, state: &SchedExt, log: Option<KernelLog>) -> Error {
    // The kernel gives its reason while it disables.
    let _ = SchedExt::wait(STATE_LIMIT, |now| now.state == "disabled");
    let log = log.map(KernelLog::read).unwrap_or_default();
    // A line says that it is over; the next one, if there is one, is about ours.
    let detail = format!("sched_ext: {OPS}: ");
    let reason = log
        .lines()
        .find(|line| line.contains(&detail))
        .or_else(|| log.lines().find(|line| !line.contains("enabled")))
        .unwrap_or("see dmesg for the reason");
    Error::Refused {
        name: source.name.clone(),
        summary: format!(
            "attached, but the kernel says {} a moment later: {reason}",
            state.state
        ),
        log,
    }
}
