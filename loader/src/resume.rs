// SPDX-License-Identifier: GPL-2.0-only
//! Come back when another scheduler has ended, or the own one: attach again what is
//! pinned, without loading and verifying it.

use std::thread::sleep;
use std::time::Duration;

use nix::libc;

use crate::attach::attach;
use crate::bpffs::{self, PinDir};
use crate::history::{History, Out};
use crate::kernel::{SchedExt, monotonic};
use crate::live::{EXIT_SYSRQ, EXIT_UNREG, Traces};
use crate::object::Source;
use crate::scheduler::{self, Loaded, OPS, Past, STATE_LIMIT, When};
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
    let pins = PinDir::lock_existing()?.ok_or(Error::NotLoaded)?;
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

    let traces = Traces::read()?.ok_or(Error::NotLoaded)?;
    if traces.handover.sysrq != 0 || traces.exit.kind == EXIT_SYSRQ {
        history.out = Some(Out::Sysrq);
        history.write(&pins)?;
        return Err(Error::StaysOut(is_out(Out::Sysrq)));
    }
    if must_wait(&traces, wait) {
        return Ok(None);
    }
    let ejected = traces.exit.kind > EXIT_UNREG && !traces.ended_to_give_way();
    if ejected {
        return after_error(&pins, history, traces.exit.kind, defaults).map(Some);
    }

    // The dead link holds the table.
    pins.unlink()?;
    match attach(&ops)? {
        Ok(link) => {
            // Did somebody begin to load while we were not there yet to give way?
            if must_wait(&Traces::read()?.ok_or(Error::NotLoaded)?, wait) {
                return Ok(None);
            }
            link.pin(bpffs::LINK)?;
            Ok(Some(Resumed::Attached))
        }
        Err(now) if now.state == "disabled" => Ok(None),
        Err(now) => Err(Error::StaysOut(follows(&now))),
    }
}

fn must_wait(traces: &Traces, wait: Duration) -> bool {
    let began = Duration::from_nanos(traces.handover.at);
    traces.is_loading() && monotonic().saturating_sub(began) < wait
}

fn after_error(
    pins: &PinDir,
    mut history: History,
    kind: u64,
    defaults: &Source,
) -> Result<Resumed> {
    history.count_error();
    if history.errors > 1 {
        history.out = Some(Out::Errors);
    }
    history.write(pins)?;
    if let Some(out) = history.out {
        return Err(Error::StaysOut(is_out(out)));
    }
    log::warn!(
        "the scheduler was ended (kind {kind}, dmesg has the reason); loading the defaults alone"
    );
    match scheduler::load_locked(pins, defaults, &[], When::Free, Past::Kept)? {
        Loaded::Attached => Ok(Resumed::Defaults),
        Loaded::StandsBy(why) => Err(Error::StaysOut(why)),
    }
}

/// Why what is pinned does not run.
pub fn stands_by(now: &SchedExt, traces: &Traces) -> Result<String> {
    Ok(match (kept_out(&History::read()?), traces.gave_way()) {
        (Some(why), _) => why,
        (None, _) if now.state == "enabled" => follows(now),
        (None, Some(who)) if traces.is_loading() => format!("{who} is loading another one"),
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

fn is_out(out: Out) -> String {
    let why = match out {
        Out::Sysrq => "sysrq-S was pressed",
        Out::Errors => {
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
