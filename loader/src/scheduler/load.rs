// SPDX-License-Identifier: GPL-2.0-only
//! Make an object the scheduler: load → attach → confirm → pin.
//!
//! Until the last step only this process holds the link. If it dies earlier, nothing is
//! left but the interval of [`super::lb_interval`], which the next process restores. All
//! pins but the link's appear at once. If this process dies before it pins the link, the
//! scheduler ends, and [`super::resume()`] reattaches it as if another one had ended.

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
use super::{lock, programs_beside};
use crate::abi::{LINK_PIN, OPS, OPS_MAP, PINNED_MAPS, STATE_LIMIT};
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
    /// Now, or when the running scheduler has ended.
    Free,
    /// When another scheduler has ended, or with [`resume()`](super::resume()).
    Asked,
}

/// The outcome of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadOutcome {
    /// The kernel runs it.
    Attached,
    /// It is pinned, to be attached later for this reason.
    StandsBy(String),
}

/// Load and pin `source`, and attach it at the time of `when`. Attaching succeeds only if
/// the kernel still runs it a moment later. A failure leaves nothing behind; an earlier
/// scheduler that stands by stays pinned.
pub fn load(source: &Source, settings: &[Setting], when: When) -> Result<LoadOutcome> {
    require_sched_ext()?;
    load_locked(&lock::lock()?, source, settings, when, OnHistory::Forget)
}

/// Whether a load forgets [`crate::state::history`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnHistory {
    Forget,
    Keep,
}

/// Like [`load`], under the caller's lock.
pub(crate) fn load_locked(
    pins: &PinDir,
    source: &Source,
    settings: &[Setting],
    when: When,
    history: OnHistory,
) -> Result<LoadOutcome> {
    let other = who_runs(when)?;
    LbInterval::restore(pins);

    // The kernel bypasses schedulers while it attaches one.
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
    let mut links_beside = programs_beside::attach(source, &loaded);
    let mut replace = |loaded: &mut Object| {
        libbpf_log::take();
        // Before the new pins appear: the old history must never keep the new scheduler out.
        if history == OnHistory::Forget {
            pins.forget()?;
        }
        pins.replace(|dir| pin(dir, source, loaded, &mut links_beside))
    };

    let stand_by = match (&other, when) {
        (Some(other), _) => Some(follows(other)),
        (None, When::Asked) => {
            Some("until `scx_preload resume`, or until another scheduler has ended".into())
        }
        (None, _) => None,
    };
    if let Some(why) = stand_by {
        replace(&mut loaded)?;
        return Ok(LoadOutcome::StandsBy(why));
    }

    let log_start = KernelLog::open();
    wait_for_others(&ops(source, &mut loaded)?)?;
    // A scheduler attached before ours runs is not made to wait by our handover programs.
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
                "{who} is loading another scheduler"
            )))
        }
        (attached, who) => {
            drop(attached);
            let state = SchedExt::wait(STATE_LIMIT, |now| now.state != "disabling")?;
            // It was attached during our load.
            let other = state.ops.as_deref().filter(|name| *name != OPS);
            if let (Some(name), true) = (other, when == When::Free) {
                replace(&mut loaded)?;
                return Ok(LoadOutcome::StandsBy(follows(name)));
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

/// The name of another running scheduler, unless `when` makes that an error.
fn who_runs(when: When) -> Result<Option<String>> {
    let now = SchedExt::wait(STATE_LIMIT, |now| now.state != "disabling")?;
    match now.ops.as_deref() {
        _ if now.state == "disabled" => Ok(None),
        Some(OPS) => Err(Error::AlreadyLoaded),
        Some(other) if when == When::Now => Err(other_runs(other)),
        other => Ok(Some(other.unwrap_or("another scheduler").into())),
    }
}

/// Why a load stands by.
fn follows(other: &str) -> String {
    format!("{other} is running; ours follows when it has ended")
}

fn other_runs(name: &str) -> Error {
    Error::Busy(format!(
        "the scheduler {name} is running, and there can be only one; stop it first, or load with --standby to follow it"
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
            reason: format!("it has {} struct_ops maps instead of one", others + 1),
        }),
    }
}

/// Pin everything except the scheduler's link into `dir`.
fn pin(
    dir: &Path,
    source: &Source,
    loaded: &mut Object,
    links_beside: &mut [(&'static str, Link)],
) -> Result<()> {
    let failed = |name: &str| Error::libbpf(format!("cannot pin {name} of {}", source.name));
    for (name, link) in links_beside {
        link.pin(dir.join(*name)).map_err(failed(name))?;
    }
    for mut map in loaded.maps_mut() {
        let name = match map.map_type() {
            MapType::StructOps => "ops",
            _ => match PINNED_MAPS
                .iter()
                .find(|(map_name, _)| map.name() == *map_name)
            {
                Some((_, pin)) => pin,
                None => continue,
            },
        };
        map.pin(dir.join(name)).map_err(failed(name))?;
    }
    Ok(())
}

/// Wait for a process that created a struct_ops map before our handover programs could
/// notice. It will probably attach it soon.
fn wait_for_others(ops: &MapMut<'_>) -> Result<()> {
    // Requires CAP_SYS_ADMIN, which the unit lacks: at boot no other scheduler is that early.
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
    let mut logged = false;
    while start.elapsed() < STATE_LIMIT && SchedExt::read()?.state == "disabled" && others() {
        if !logged {
            log::info!("waiting for another process that is loading a scheduler");
        }
        logged = true;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn stopped(source: &Source, state: &SchedExt, log: Option<KernelLog>) -> Error {
    // The kernel logs its reason while it disables the scheduler.
    let _ = SchedExt::wait(STATE_LIMIT, |now| now.state == "disabled");
    let log = log.map(KernelLog::read).unwrap_or_default();
    // The first line reports the end; the next one, if any, has the details.
    let detail = format!("sched_ext: {OPS}: ");
    let reason = log
        .lines()
        .find(|line| line.contains(&detail))
        .or_else(|| log.lines().find(|line| !line.contains("enabled")))
        .unwrap_or("see dmesg for the reason");
    Error::Refused {
        name: source.name.clone(),
        summary: format!("attached, but {} a moment later: {reason}", state.state),
        log,
    }
}
