// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload load`

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use scx_preload::Error;
use scx_preload::abi::{BOOT_OBJECT, LOADED_DIR};
use scx_preload::cli::LoadArgs;
use scx_preload::object::dropins::{self, DropIns};
use scx_preload::object::source::Source;
use scx_preload::scheduler::{self, BootMode, LoadOutcome, Setting, When};
use scx_preload::state::bpffs;
use scx_preload::state::live::Live;
use scx_preload::state::sched_ext::{SchedExt, require_sched_ext};
use scx_preload::state::soft_bypass::SoftBypass;

use super::left_out;

pub fn run(args: &LoadArgs) -> anyhow::Result<ExitCode> {
    if args.boot {
        return boot(args);
    }
    let how = &How {
        settings: &args.settings,
        when: if args.standby { When::Asked } else { When::Now },
    };
    match &args.object {
        Some(path) => load(&Source::read(path)?, how)?,
        None if args.defaults => load(&Source::built_in(), how)?,
        None => load_drop_ins(how)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Arguments that are the same for each object tried.
struct How<'a> {
    settings: &'a [Setting],
    when: When,
}

/// Load all drop-ins, or fail with an error that names the broken one.
fn load_drop_ins(how: &How<'_>) -> anyhow::Result<()> {
    // On such a kernel no drop-in is to blame.
    require_sched_ext()?;
    let (drop_ins, left_out) = DropIns::read(Path::new("/"))?;
    left_out::refuse(left_out)?;
    if drop_ins.overrides().is_empty() {
        return Ok(load(&Source::built_in(), how)?);
    }
    let Err(err) = load(&drop_ins.source(), how) else {
        return Ok(());
    };
    if !at_fault(&err) {
        return Err(err.into());
    }
    left_out::refuse(drop_ins.judged(verify).1)?;
    Err(err).context("`scx_preload load --defaults` ignores all drop-ins")
}

/// Fail if the running kernel refuses the object.
fn verify(source: &Source) -> scx_preload::Result<()> {
    scheduler::verify(source, &[]).map(drop)
}

/// Can the object be the reason, so that another one may load?
fn at_fault(err: &Error) -> bool {
    !matches!(
        err,
        Error::Unsupported(_) | Error::Busy(_) | Error::AlreadyLoaded | Error::NotRoot(_)
    )
}

fn load(source: &Source, how: &How<'_>) -> scx_preload::Result<()> {
    match scheduler::load(source, how.settings, how.when)? {
        LoadOutcome::Attached => log::info!("attached {}, pinned in {}", source.name, LOADED_DIR),
        LoadOutcome::StandsBy(why) => {
            log::info!("{} stands by, pinned in {}: {why}", source.name, LOADED_DIR);
            return Ok(());
        }
    }
    // Without overrides there is nothing to bypass; this saves a boot the check.
    if source.bytes != scx_preload_defaults::ALONE {
        let bypass = Live::read()?.and_then(|live| live.soft_bypass);
        if let Some(why) = bypass.as_ref().and_then(SoftBypass::why) {
            log::warn!("soft bypass is on already: {why}");
        }
    }
    Ok(())
}

fn boot(args: &LoadArgs) -> anyhow::Result<ExitCode> {
    let mode = BootMode::read(args.initrd);
    if mode == BootMode::NotInInitrd {
        log::info!("not loaded from the initramfs: rd.scx_preload is off on the command line");
        return Ok(if args.condition {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        });
    }
    if args.condition {
        return Ok(ExitCode::SUCCESS);
    }
    if mode == BootMode::Off {
        log::info!("not loaded: scx_preload.mode=off on the kernel command line");
        return Ok(ExitCode::SUCCESS);
    }
    if is_loaded(mode).unwrap_or(false) {
        log::info!("loaded already");
        return Ok(ExitCode::SUCCESS);
    }

    let how = &How {
        settings: &args.settings,
        when: if args.standby || mode == BootMode::Standby {
            When::Asked
        } else {
            When::Free
        },
    };
    let result = if args.defaults {
        load(&Source::built_in(), how)
    } else {
        boot_object(args, how)
    };
    Ok(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err @ Error::AlreadyLoaded) => {
            log::info!("{err}");
            ExitCode::SUCCESS
        }
        Err(err @ (Error::Unsupported(_) | Error::Busy(_))) => {
            log::warn!("not loaded: {err}");
            ExitCode::SUCCESS
        }
        // One line in the journal; `load` by hand prints the log.
        Err(err) => {
            log::error!("not loaded: {err}");
            ExitCode::FAILURE
        }
    })
}

/// Has an initramfs loaded our scheduler already, in the wanted state? If it has no
/// systemd, the unit starts in the real root, too.
fn is_loaded(mode: BootMode) -> scx_preload::Result<bool> {
    let idle = SchedExt::read()?.state == "disabled";
    Ok(bpffs::open_ops()?.is_some() && (!idle || mode == BootMode::Standby))
}

fn boot_object(args: &LoadArgs, how: &How<'_>) -> scx_preload::Result<()> {
    let own = args.object.clone().unwrap_or_else(|| BOOT_OBJECT.into());
    // Absent in most boots.
    let note = fs::read_to_string(dropins::note(&own)).unwrap_or_default();
    note.lines().for_each(|line| log::warn!("{line}"));
    // A dangling link is a missing object and gets a message.
    if args.object.is_none() && !own.is_symlink() && !own.exists() {
        return boot_drop_ins(how);
    }
    Source::read(&own)
        .and_then(|source| load(&source, how))
        .or_else(|err| fall_back(err, how))
}

fn fall_back(err: Error, how: &How<'_>) -> scx_preload::Result<()> {
    if !at_fault(&err) {
        return Err(err);
    }
    log::warn!("{err}; falling back to the built-in defaults");
    let settings = &[];
    load(&Source::built_in(), &How { settings, ..*how })
}

/// Load all drop-ins that work together.
fn boot_drop_ins(how: &How<'_>) -> scx_preload::Result<()> {
    let (mut drop_ins, left_out) = match DropIns::read(Path::new("/")) {
        Ok(read) => read,
        Err(err) => return fall_back(err, how),
    };
    left_out::warn_of(&left_out);
    loop {
        if drop_ins.overrides().is_empty() {
            return load(&Source::built_in(), how);
        }
        let err = match load(&drop_ins.source(), how) {
            Err(err) if at_fault(&err) => err,
            result => return result,
        };
        let (kept, left_out) = drop_ins.judged(verify);
        if left_out.is_empty() {
            return fall_back(err, how);
        }
        left_out::warn_of(&left_out);
        drop_ins = kept;
    }
}
