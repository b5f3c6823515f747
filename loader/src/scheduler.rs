// SPDX-License-Identifier: GPL-2.0-only
//! Put a scheduler in place and take it away.
//!
//! The order is load → attach → confirm → pin. Until the last step the link
//! lives in this process only, so that dying anywhere before leaves nothing but the
//! interval of [`crate::kernel_bypass`].

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::thread::sleep;
use std::time::Duration;

use libbpf_rs::{Link, MapCore, MapMut, MapType, Object};
use nix::fcntl::OFlag;

use crate::bpffs::{self, PinDir};
use crate::kernel::{self, SchedExt};
use crate::kernel_bypass::LbInterval;
use crate::object::{self, Setting, Source};
use crate::{Error, Result, libbpf_log};

/// Name of our ops, as in `/sys/kernel/sched_ext/root/ops`.
pub const OPS: &str = "preload";

/// The map with the timer that watches overrides.
const WATCH: &str = "preload_watch";

/// Enabling walks every task, disabling too: both take a moment under load. Less
/// than the unit's TimeoutStartSec=, so that it is we who say what happened.
const STATE_LIMIT: Duration = Duration::from_secs(10);

/// An `init_task` or a first decision that goes wrong shows only after attach.
const SETTLE: Duration = Duration::from_millis(100);

/// Load `source`, make it the scheduler, and pin it. Succeeds only if the kernel
/// still says so a moment later.
pub fn load(source: &Source, settings: &[Setting]) -> Result<()> {
    kernel::check()?;
    let pins = PinDir::lock()?;
    refuse_if_busy()?;
    LbInterval::of_loaded().restore();
    pins.unpin()?;

    // Attaching bypasses, too.
    let interval = LbInterval::shorten(source);
    let started = start(source, &[settings, &interval.settings()].concat());
    if started.is_err() {
        interval.restore();
    }
    started
}

fn start(source: &Source, settings: &[Setting]) -> Result<()> {
    let mut loaded = object::load(source, settings)?;
    let log_start = KernelLog::open();
    let mut link = attach(source, &mut loaded)?;
    if let Err(state) = confirm()? {
        drop(link);
        return Err(stopped(source, &state, log_start));
    }
    libbpf_log::take();
    for mut map in loaded.maps_mut().filter(|map| map.name() == WATCH) {
        map.pin(bpffs::WATCH)
            .map_err(Error::libbpf(format!("cannot pin {}", bpffs::WATCH)))?;
    }
    link.pin(bpffs::LINK)
        .map_err(Error::libbpf(format!("cannot pin {}", bpffs::LINK)))
}

/// Load `source` into the kernel without making it the scheduler.
pub fn verify(source: &Source, settings: &[Setting]) -> Result<Object> {
    kernel::check()?;
    bpffs::require_root()?;
    object::load(source, settings)
}

/// Detach our scheduler and remove its pin. Tells whether it was still the
/// kernel's scheduler.
pub fn unload() -> Result<bool> {
    let before = SchedExt::read()?;
    let pins = PinDir::lock_existing()?.ok_or(Error::NotLoaded)?;
    let link = bpffs::open_link()?.ok_or(Error::NotLoaded)?;
    let ran = before.runs(OPS);
    // Once detached, it cannot be asked.
    let interval = LbInterval::of_loaded();
    if ran {
        link.detach()
            .map_err(Error::libbpf("cannot detach the scheduler"))?;
    }
    drop(link);
    pins.unpin()?;
    let after = SchedExt::wait(STATE_LIMIT, |now| {
        !now.runs(OPS) && now.state != "disabling"
    })?;
    interval.restore();
    if after.runs(OPS) {
        return Err(Error::Busy(format!(
            "the kernel still says {} after {} s",
            after.state,
            STATE_LIMIT.as_secs()
        )));
    }
    Ok(ran)
}

fn refuse_if_busy() -> Result<()> {
    let now = SchedExt::wait(STATE_LIMIT, |now| now.state != "disabling")?;
    if now.state == "disabled" {
        return Ok(());
    }
    Err(Error::Busy(match now.ops.as_deref() {
        Some(OPS) => "scx_preload is loaded already; run `scx_preload unload` first".into(),
        Some(other) => {
            format!("the scheduler {other} is running; stop it first, there can be one at a time")
        }
        None => format!("the kernel is {} another scheduler", now.state),
    }))
}

fn attach(source: &Source, object: &mut Object) -> Result<Link> {
    let mut ops: Vec<MapMut<'_>> = object
        .maps_mut()
        .filter(|map| map.map_type() == MapType::StructOps)
        .collect();
    let [ops] = ops.as_mut_slice() else {
        return Err(Error::Object {
            name: source.name.clone(),
            reason: format!("it has {} ops tables and not one", ops.len()),
        });
    };
    ops.attach_struct_ops()
        .map_err(Error::libbpf(format!("cannot attach {}", source.name)))
}

/// A link proves nothing: look at the state until it is settled, and again.
fn confirm() -> Result<std::result::Result<(), SchedExt>> {
    let first = SchedExt::wait(STATE_LIMIT, |now| now.runs(OPS) || now.state == "disabled")?;
    if !first.runs(OPS) {
        return Ok(Err(first));
    }
    sleep(SETTLE);
    let second = SchedExt::read()?;
    Ok(if second.runs(OPS) {
        Ok(())
    } else {
        Err(second)
    })
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
