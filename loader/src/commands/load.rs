// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload load`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use scx_preload::bypass::Bypass;
use scx_preload::cmdline::Wish;
use scx_preload::dropins::DropIns;
use scx_preload::kernel::SchedExt;
use scx_preload::live::Live;
use scx_preload::object::{Setting, Source};
use scx_preload::scheduler::{Loaded, When};
use scx_preload::{Error, bpffs, dropins, kernel, scheduler};

/// An administrator's own scheduler, for the boot.
pub const BOOT_OBJECT: &str = "/etc/scx_preload/scheduler.bpf.o";

/// Make scx_preload the scheduler of this machine
///
/// Verifies and attaches the scheduler, makes sure that the kernel runs it, and
/// pins it in /sys/fs/bpf/scx_preload, where it stays when this program has
/// ended.
///
/// The scheduler is the built-in defaults, linked with the overrides that are in
/// /etc/scx_preload/overrides.d and /usr/lib/scx_preload/overrides.d, if any
/// (*.bpf.o). A file in /etc replaces one of the same name in /usr/lib, or masks
/// it, if it is empty or a link to /dev/null.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Load this object, as `scx_preload link` writes it
    #[arg(long, value_name = "FILE")]
    object: Option<PathBuf>,

    /// Load the built-in defaults and no drop-ins
    #[arg(long, conflicts_with = "object")]
    defaults: bool,

    /// Set a variable of the scheduler, such as slice_ns=3000000 or
    /// stats_enabled=false; `scx_preload status` shows them
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<Setting>,

    /// Do not attach the scheduler before another one has ended, or before
    /// `scx_preload resume`
    #[arg(long)]
    standby: bool,

    /// Behave as a boot wants it: obey scx_preload.mode=off, scx_preload.mode=standby
    /// and rd.scx_preload=0 on the kernel command line, take
    /// /etc/scx_preload/scheduler.bpf.o if there is one and else the drop-ins,
    /// leave out what is broken of them or take the built-in defaults, stand by if
    /// another scheduler is there, leave what an initramfs has loaded, and call it
    /// no failure if this kernel cannot
    #[arg(long)]
    boot: bool,

    /// With --boot: load nothing, but exit with 1 if the kernel command line
    /// wants us to leave the initramfs alone
    #[arg(long, requires = "boot", conflicts_with_all = ["object", "defaults", "settings", "standby"])]
    check: bool,

    /// With --boot: this is an initramfs, also if it has no /etc/initrd-release
    #[arg(long, requires = "boot")]
    initrd: bool,
}

fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok(Setting {
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

/// The built-in defaults.
pub fn defaults() -> Source {
    Source {
        name: "built-in defaults".into(),
        bytes: scx_preload_defaults::ALONE.to_vec(),
    }
}

/// The object at `path`, with its path as its name.
pub fn read(path: &Path) -> scx_preload::Result<Source> {
    let name = path.display().to_string();
    match fs::read(path) {
        Ok(bytes) => Ok(Source { name, bytes }),
        Err(err) => Err(Error::io(format!("cannot read {name}"))(err)),
    }
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.boot {
        return boot(args);
    }
    let how = &How {
        settings: &args.settings,
        when: if args.standby { When::Asked } else { When::Now },
    };
    match &args.object {
        Some(path) => load(&read(path)?, how)?,
        None if args.defaults => load(&defaults(), how)?,
        None => load_drop_ins(how)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What is the same for each object that is tried.
struct How<'a> {
    settings: &'a [Setting],
    when: When,
}

/// All drop-ins or an error that names the broken one.
fn load_drop_ins(how: &How<'_>) -> anyhow::Result<()> {
    // Where nothing can be loaded, no drop-in is the reason.
    kernel::check()?;
    let (drop_ins, left_out) = DropIns::read(Path::new("/"))?;
    super::refuse(left_out)?;
    if drop_ins.overrides().is_empty() {
        return Ok(load(&defaults(), how)?);
    }
    let Err(err) = load(&drop_ins.source(), how) else {
        return Ok(());
    };
    if !at_fault(&err) {
        return Err(err.into());
    }
    super::refuse(drop_ins.verified().1)?;
    Err(err).context("`scx_preload load --defaults` leaves out all drop-ins")
}

/// May the object be the reason, and another one load?
fn at_fault(err: &Error) -> bool {
    !matches!(
        err,
        Error::Unsupported(_) | Error::Busy(_) | Error::AlreadyLoaded | Error::NotRoot(_)
    )
}

fn load(source: &Source, how: &How<'_>) -> scx_preload::Result<()> {
    match scheduler::load(source, how.settings, how.when)? {
        Loaded::Attached => log::info!("attached {}, pinned in {}", source.name, bpffs::LOADED),
        Loaded::StandsBy(why) => {
            log::info!(
                "{} stands by, pinned in {}: {why}",
                source.name,
                bpffs::LOADED
            );
            return Ok(());
        }
    }
    // Without overrides there is nothing to bypass, and a boot need not look.
    if source.bytes != scx_preload_defaults::ALONE {
        let bypass = Live::read()?.and_then(|live| live.bypass);
        if let Some(why) = bypass.as_ref().and_then(Bypass::why) {
            log::warn!("its overrides are bypassed already: {why}");
        }
    }
    Ok(())
}

fn boot(args: &Args) -> anyhow::Result<ExitCode> {
    let wish = Wish::read(args.initrd);
    if wish == Wish::NotInInitrd {
        log::info!("not loaded from the initramfs: rd.scx_preload is off on the command line");
        return Ok(if args.check {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        });
    }
    if args.check {
        return Ok(ExitCode::SUCCESS);
    }
    if wish == Wish::Off {
        log::info!("not loaded: scx_preload.mode=off on the kernel command line");
        return Ok(ExitCode::SUCCESS);
    }
    if is_loaded(wish).unwrap_or(false) {
        log::info!("loaded already");
        return Ok(ExitCode::SUCCESS);
    }

    let how = &How {
        settings: &args.settings,
        when: if args.standby || wish == Wish::Standby {
            When::Asked
        } else {
            When::Free
        },
    };
    let result = if args.defaults {
        load(&defaults(), how)
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
        // One line, as for all that can happen in a boot; `load` by hand says more.
        Err(err) => {
            log::error!("not loaded: {err}");
            ExitCode::FAILURE
        }
    })
}

/// Has an initramfs loaded ours, and is it as it should be? Without systemd in it, the
/// real root's unit starts, too.
fn is_loaded(wish: Wish) -> scx_preload::Result<bool> {
    let idle = SchedExt::read()?.state == "disabled";
    Ok(bpffs::open_ops()?.is_some() && (!idle || wish == Wish::Standby))
}

fn boot_object(args: &Args, how: &How<'_>) -> scx_preload::Result<()> {
    let own = args.object.clone().unwrap_or_else(|| BOOT_OBJECT.into());
    // In most boots there is no note.
    let note = fs::read_to_string(dropins::note(&own)).unwrap_or_default();
    note.lines().for_each(|line| log::warn!("{line}"));
    // A dangling link is an object that is missing, and worth a line.
    if args.object.is_none() && !own.is_symlink() && !own.exists() {
        return boot_drop_ins(how);
    }
    read(&own)
        .and_then(|source| load(&source, how))
        .or_else(|err| fall_back(err, how))
}

fn fall_back(err: Error, how: &How<'_>) -> scx_preload::Result<()> {
    if !at_fault(&err) {
        return Err(err);
    }
    log::warn!("{err}; falling back to the built-in defaults");
    let settings = &[];
    load(&defaults(), &How { settings, ..*how })
}

/// As many drop-ins as work together.
fn boot_drop_ins(how: &How<'_>) -> scx_preload::Result<()> {
    let (mut drop_ins, left_out) = match DropIns::read(Path::new("/")) {
        Ok(read) => read,
        Err(err) => return fall_back(err, how),
    };
    super::warn_of(&left_out);
    loop {
        if drop_ins.overrides().is_empty() {
            return load(&defaults(), how);
        }
        let err = match load(&drop_ins.source(), how) {
            Err(err) if at_fault(&err) => err,
            result => return result,
        };
        let (kept, left_out) = drop_ins.verified();
        if left_out.is_empty() {
            return fall_back(err, how);
        }
        super::warn_of(&left_out);
        drop_ins = kept;
    }
}
