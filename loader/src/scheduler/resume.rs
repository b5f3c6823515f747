// SPDX-License-Identifier: GPL-2.0-only
//! Come back when another scheduler has ended, or the own one: attach again what is
//! pinned, without loading and verifying it.

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

/// How often to look whether who is loading another scheduler has done so.
const LOOK: Duration = Duration::from_millis(20);

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// The pinned scheduler runs again.
    Attached,
    /// The kernel had ejected it, for an error or by its own wish. The defaults run alone.
    Defaults,
}

/// Attach what is pinned, unless there is a reason against it: then fail with
/// [`Error::StaysOut`], or [`Error::AlreadyLoaded`] if it runs. Whoever is loading another
/// scheduler has `wait` from the moment at which that began. After the first error of
/// an hour the `defaults` are loaded instead; after the second it stays out.
pub fn resume(wait: Duration, defaults: &Source) -> Result<Resumed> {
    loop {
        if let Some(resumed) = try_resume(wait, defaults)? {
            return Ok(resumed);
        }
        sleep(LOOK);
    }
}

/// None while somebody is loading another one. The lock is not held meanwhile.
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

    // The dead link holds the table.
    pins.unlink()?;
    match attach(&ops)? {
        Ok(link) => {
            // Did somebody begin to load while we were not there yet to give way?
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
        "the scheduler was ended (kind {kind}, dmesg has the reason); loading the defaults alone"
    );
    match load_locked(pins, defaults, &[], When::Free, OnHistory::Keep)? {
        LoadOutcome::Attached => Ok(Resumed::Defaults),
        LoadOutcome::StandsBy(why) => Err(Error::StaysOut(why)),
    }
}

/// Why what is pinned does not run.
pub fn stands_by(now: &SchedExt, departure: &Departure) -> Result<String> {
    Ok(match (kept_out(&History::read()?), departure.gave_way()) {
        (Some(why), _) => why,
        (None, _) if now.state == "enabled" => follows(now),
        (None, Some(who)) if departure.is_loading() => format!("{who} is loading another one"),
        _ => "`scx_preload resume` attaches it, or the end of another scheduler".into(),
    })
}

fn kept_out(history: &History) -> Option<String> {
    match (history.held_by(), history.out) {
        (Some(pid), _) => Some(format!(
            "`scx_preload run`, process {pid}, comes back when its command has ended"
        )),
        (None, Some(out)) => Some(is_out(out)),
        (None, None) => None,
    }
}

fn is_out(out: StayOutReason) -> String {
    let why = match out {
        StayOutReason::Sysrq => "sysrq-S was pressed",
        StayOutReason::Errors => {
            "the kernel has ended the scheduler twice within an hour, dmesg has the reason"
        }
    };
    format!("{why}; `scx_preload load` starts it again")
}

fn follows(now: &SchedExt) -> String {
    let name = now.ops.as_deref().unwrap_or("another one");
    format!("the scheduler {name} is running, ours follows when it has ended")
}

/// Run soon, however busy the machine is: until we are back, the kernel's own scheduler
/// decides.
pub fn hurry() {
    // SAFETY: no memory is passed. It fails without the right to, which is no harm.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
}
