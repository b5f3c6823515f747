// SPDX-License-Identifier: GPL-2.0-only
//! Put a scheduler in place and take it away.
//!
//! The order is load → attach → confirm → pin. Until the last step the link
//! lives in this process only, so that dying anywhere before leaves nothing but the
//! interval of [`crate::kernel_bypass`], which whoever comes next changes back. The pins
//! appear all at once, but for that of the link: who dies before it ends the scheduler,
//! and leaves what is pinned to [`crate::resume`], as if another one had ended.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use libbpf_rs::query::MapInfoIter;
use libbpf_rs::{Link, MapCore, MapMut, MapType, Object};
use nix::fcntl::OFlag;

use crate::attach::{attach, make_ready};
use crate::bpffs::{self, PinDir};
use crate::kernel::{self, SchedExt};
use crate::kernel_bypass::LbInterval;
use crate::live::Traces;
use crate::object::{self, Setting, Source};
use crate::{Error, Result, libbpf_log};

/// Name of our ops, as in `/sys/kernel/sched_ext/root/ops`.
pub const OPS: &str = "preload";

/// Name of the map with our ops table. The BPF side does not give way to it.
const OPS_MAP: &str = "preload_ops";

/// The map with the timer that watches overrides. It stops when user space holds the
/// map no more.
const WATCH: &str = "preload_watch";

/// Programs beside the scheduler, with the names of their pins: they notice other
/// schedulers, and a person who wants none. None is of use without those before it.
pub(crate) const BESIDE: [(&str, &str); 5] = [
    ("preload_sysrq", "sysrq"),
    ("preload_gave_way", "gave_way"),
    ("preload_give_way", "give_way"),
    ("preload_left", "left"),
    ("preload_wait", "wait"),
];

/// Enabling walks every task, disabling too: both take a moment under load. Less
/// than the unit's TimeoutStartSec=, so that it is we who say what happened.
pub(crate) const STATE_LIMIT: Duration = Duration::from_secs(10);

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
pub enum Loaded {
    /// The kernel runs it.
    Attached,
    /// It is pinned, to be attached later, for this reason.
    StandsBy(String),
}

/// Load `source`, pin it, and make it the scheduler if it is time. Attaching succeeds
/// only if the kernel still says so a moment later. On failure nothing is left, but what
/// was loaded before and is not attached.
pub fn load(source: &Source, settings: &[Setting], when: When) -> Result<Loaded> {
    kernel::check()?;
    load_locked(&PinDir::lock()?, source, settings, when, Past::Forgotten)
}

/// What becomes of what was before: see [`crate::history`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    Forgotten,
    Kept,
}

/// The same for who has the lock already.
pub(crate) fn load_locked(
    pins: &PinDir,
    source: &Source,
    settings: &[Setting],
    when: When,
    past: Past,
) -> Result<Loaded> {
    let other = who_runs(when)?;
    LbInterval::restore(pins);

    // Attaching bypasses, too.
    LbInterval::shorten(pins);
    let started = start(pins, source, settings, when, other, past);
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
    past: Past,
) -> Result<Loaded> {
    let mut loaded = object::load(source, settings)?;
    make_ready(&mut ops(source, &mut loaded)?)?;
    let mut beside = attach_beside(source, &loaded);
    let mut replace = |loaded: &mut Object| {
        libbpf_log::take();
        // Before what is new can be found, so that it is never kept out by the old.
        if past == Past::Forgotten {
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
        return Ok(Loaded::StandsBy(why));
    }

    let log_start = KernelLog::open();
    wait_for_others(&ops(source, &mut loaded)?)?;
    // Until ours has begun to run, it cannot keep who comes to attach waiting.
    let (attached, who) = match Traces::of(&loaded)?.gave_way() {
        None => {
            let attached = attach(ops(source, &mut loaded)?.as_fd())?.ok();
            (attached, Traces::of(&loaded)?.gave_way())
        }
        who => (None, who),
    };
    match (attached, who) {
        (Some(link), None) => {
            replace(&mut loaded)?;
            link.pin(bpffs::LINK)?;
            Ok(Loaded::Attached)
        }
        (_, Some(who)) if when == When::Free => {
            replace(&mut loaded)?;
            Ok(Loaded::StandsBy(format!("{who} is loading another one")))
        }
        (attached, who) => {
            drop(attached);
            let state = SchedExt::wait(STATE_LIMIT, |now| now.state != "disabling")?;
            // It has come while we were loading.
            let other = state.ops.as_deref().filter(|name| *name != OPS);
            if let (Some(name), true) = (other, when == When::Free) {
                replace(&mut loaded)?;
                return Ok(Loaded::StandsBy(behind(name)));
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
    kernel::check()?;
    bpffs::require_root()?;
    object::load(source, settings)
}

/// Detach our scheduler and remove its pins. Tells whether it was still the
/// kernel's scheduler.
pub fn unload() -> Result<bool> {
    let before = SchedExt::read()?;
    let pins = PinDir::lock_existing()?.ok_or(Error::NotLoaded)?;
    if bpffs::open_ops()?.is_none() {
        return Err(Error::NotLoaded);
    }
    let ran = before.runs(OPS);
    let after = detach(ran)?;
    pins.unpin()?;
    pins.forget()?;
    LbInterval::restore(&pins);
    if after.runs(OPS) {
        return Err(Error::Busy(format!(
            "the kernel still says {} after {} s",
            after.state,
            STATE_LIMIT.as_secs()
        )));
    }
    Ok(ran)
}

/// End our scheduler if it `runs`, and wait until the kernel is done with it.
pub fn detach(runs: bool) -> Result<SchedExt> {
    if let Some(link) = bpffs::open_link()?.filter(|_| runs) {
        link.detach()
            .map_err(Error::libbpf("cannot detach the scheduler"))?;
    }
    SchedExt::wait(STATE_LIMIT, |now| {
        !now.runs(OPS) && now.state != "disabling"
    })
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

/// Attach what notices other schedulers. Without it nobody can start one beside ours,
/// which is no reason to do without ours.
fn attach_beside(source: &Source, object: &Object) -> Vec<(&'static str, Link)> {
    let mut links = Vec::new();
    let mut maps = object.maps();
    let Some(ops) = maps.find(|map| map.map_type() == MapType::StructOps) else {
        return links;
    };
    for (program, pin) in BESIDE {
        let Some(found) = object.progs_mut().find(|prog| prog.name() == program) else {
            log::debug!("{} has no {program}()", source.name);
            break;
        };
        // Otherwise scx_bpf_exit() would end whatever scheduler there is.
        let attached = found.assoc_struct_ops(&ops).and_then(|()| found.attach());
        match attached {
            Ok(link) => links.push((pin, link)),
            Err(err) => {
                log::warn!("other schedulers may find ours in their way: {program}(): {err:#}");
                break;
            }
        }
    }
    links
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
            _ if map.name() == WATCH => "watch",
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

/// The kernel's own messages about sched_ext from here on.
struct KernelLog(File);

impl KernelLog {
    /// None where /dev/kmsg is not to be had, as in a sandbox.
    fn open() -> Option<Self> {
        let mut file = File::options()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open("/dev/kmsg")
            .ok()?;
        // There is no seek by time; each read gives one record.
        let mut record = [0; 8192];
        while file.read(&mut record).is_ok_and(|len| len > 0) {}
        Some(Self(file))
    }

    fn read(mut self) -> String {
        let mut lines = String::new();
        let mut record = [0; 8192];
        while let Ok(len @ 1..) = self.0.read(&mut record) {
            let text = String::from_utf8_lossy(&record[..len]);
            let message = text.split_once(';').map_or("", |(_, message)| message);
            if let Some(line) = message.lines().next().filter(|l| l.contains("sched_ext: ")) {
                lines.push_str(line);
                lines.push('\n');
            }
        }
        lines
    }
}
