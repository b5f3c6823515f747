// SPDX-License-Identifier: GPL-2.0-only
//! Reattach the pinned scheduler when another one has ended, or ours, without loading and
//! verifying it.

use std::thread::sleep;
use std::time::Duration;

use nix::libc;

use super::attach::attach;
use super::load::{LoadOutcome, OnHistory, When, load_locked};
use super::lock;
use crate::abi::{EXIT_SYSRQ, EXIT_UNREG, LINK_PIN, OPS, STATE_LIMIT};
use crate::object::source::Source;
use crate::state::bpffs::{self, PinDir};
use crate::state::departure::Departure;
use crate::state::history::{History, StayOutReason};
use crate::state::sched_ext::{SchedExt, monotonic};
use crate::{Error, Result};

/// How often to check whether another process has finished loading a scheduler.
const LOOK: Duration = Duration::from_millis(20);

/// The outcome of [`resume`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// The pinned scheduler runs again.
    Attached,
    /// The kernel had ejected it for an error, or it had exited by itself. The defaults run
    /// without overrides.
    Defaults,
}

/// Attach the pinned scheduler. Fails with [`Error::AlreadyLoaded`] if it is running, and
/// with [`Error::StaysOut`] for any other reason against it. A process that is loading
/// another scheduler gets `wait` from its start. After the first error within an hour this
/// loads the `defaults` instead; after the second our scheduler stays out.
pub fn resume(wait: Duration, defaults: &Source) -> Result<Resumed> {
    loop {
        if let Some(resumed) = try_resume(wait, defaults)? {
            return Ok(resumed);
        }
        sleep(LOOK);
    }
}

/// One attempt, under the lock; none if another process is loading a scheduler.
fn try_resume(wait: Duration, defaults: &Source) -> Result<Option<Resumed>> {
    let pins = lock::lock_existing()?.ok_or(Error::NotLoaded)?;
    let ops = bpffs::open_ops()?.ok_or(Error::NotLoaded)?;
    let mut history = History::read()?;
    if let Some(why) = kept_out(&history) {
        return Err(Error::StaysOut(why));
    }
    let now = SchedExt::wait(STATE_LIMIT, |now| now.state != "disabling")?;
    if now.runs(OPS) {
        return Err(Error::AlreadyLoaded);
    }
    if now.state != "disabled" {
        return Err(Error::StaysOut(follows(&now)));
    }

    let departure = Departure::read()?.ok_or(Error::NotLoaded)?;
    if departure.handover.sysrq != 0 || departure.exit.kind == EXIT_SYSRQ {
        history.out = Some(StayOutReason::Sysrq);
        history.write(&pins)?;
        return Err(Error::StaysOut(is_out(StayOutReason::Sysrq)));
    }
    if must_wait(&departure, wait) {
        return Ok(None);
    }
    let ejected = departure.exit.kind > EXIT_UNREG && !departure.ended_to_give_way();
    if ejected {
        return after_error(&pins, history, departure.exit.kind, defaults).map(Some);
    }

    // The dead link keeps the struct_ops map in use.
    pins.unlink()?;
    match attach(&ops)? {
        Ok(link) => {
            // Another load may have begun before our handover programs could give way to it.
            if must_wait(&Departure::read()?.ok_or(Error::NotLoaded)?, wait) {
                return Ok(None);
            }
            link.pin(LINK_PIN)?;
            Ok(Some(Resumed::Attached))
        }
        Err(now) if now.state == "disabled" => Ok(None),
        Err(now) => Err(Error::StaysOut(follows(&now))),
    }
}

fn must_wait(departure: &Departure, wait: Duration) -> bool {
    let began = Duration::from_nanos(departure.handover.at);
    departure.is_loading() && monotonic().saturating_sub(began) < wait
}

fn after_error(
    pins: &PinDir,
    mut history: History,
    kind: u64,
    defaults: &Source,
) -> Result<Resumed> {
    history.count_error();
    if history.errors > 1 {
        history.out = Some(StayOutReason::Errors);
    }
    history.write(pins)?;
    if let Some(out) = history.out {
        return Err(Error::StaysOut(is_out(out)));
    }
    log::warn!(
        "the kernel has ended the scheduler (exit kind {kind}, see dmesg); loading the built-in defaults without overrides"
    );
    match load_locked(pins, defaults, &[], When::Free, OnHistory::Keep)? {
        LoadOutcome::Attached => Ok(Resumed::Defaults),
        LoadOutcome::StandsBy(why) => Err(Error::StaysOut(why)),
    }
}

/// Why the pinned scheduler does not run.
pub fn stands_by(now: &SchedExt, departure: &Departure) -> Result<String> {
    Ok(match (kept_out(&History::read()?), departure.gave_way()) {
        (Some(why), _) => why,
        (None, _) if now.state == "enabled" => follows(now),
        (None, Some(who)) if departure.is_loading() => {
            format!("{who} is loading another scheduler")
        }
        _ => "until `scx_preload resume`, or until another scheduler has ended".into(),
    })
}

fn kept_out(history: &History) -> Option<String> {
    match (history.held_by(), history.out) {
        (Some(pid), _) => Some(format!(
            "`scx_preload run`, process {pid}, reattaches it when its command has ended"
        )),
        (None, Some(out)) => Some(is_out(out)),
        (None, None) => None,
    }
}

fn is_out(out: StayOutReason) -> String {
    let why = match out {
        StayOutReason::Sysrq => "sysrq-S was pressed",
        StayOutReason::Errors => {
            "the kernel has ended the scheduler twice within an hour, see dmesg"
        }
    };
    format!("{why}; `scx_preload load` starts it again")
}

fn follows(now: &SchedExt) -> String {
    let name = now.ops.as_deref().unwrap_or("another scheduler");
    format!("{name} is running; ours follows when it has ended")
}

/// Raise our priority: until our scheduler is back, the kernel's own one decides, however
/// busy the system is.
pub fn hurry() {
    // SAFETY: no memory is passed. A failure, as without CAP_SYS_NICE, does no harm.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
}
