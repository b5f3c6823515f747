// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload load`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use scx_preload::bypass::Bypass;
use scx_preload::cmdline::Wish;
use scx_preload::live::Live;
use scx_preload::object::{Setting, Source};
use scx_preload::{Error, bpffs, scheduler};

/// An administrator's own scheduler, for the boot.
const BOOT_OBJECT: &str = "/etc/scx_preload/scheduler.bpf.o";

/// Make scx_preload the scheduler of this machine
///
/// Verifies and attaches the scheduler, makes sure that the kernel runs it, and
/// pins it in /sys/fs/bpf/scx_preload, where it stays when this program has
/// ended.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Load this object, as `scx_preload link` writes it, instead of the
    /// built-in defaults
    #[arg(long, value_name = "FILE")]
    object: Option<PathBuf>,

    /// Set a variable of the scheduler, such as slice_ns=3000000 or
    /// stats_enabled=false; `scx_preload status` shows them
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<Setting>,

    /// Behave as a boot wants it: obey scx_preload.mode=off and rd.scx_preload=0
    /// on the kernel command line, take /etc/scx_preload/scheduler.bpf.o if
    /// there is one and the built-in defaults if that fails, and call it no
    /// failure if this kernel cannot or another scheduler is there
    #[arg(long)]
    boot: bool,

    /// With --boot: load nothing, but exit with 1 if the kernel command line
    /// wants us to leave the initramfs alone
    #[arg(long, requires = "boot", conflicts_with_all = ["object", "settings"])]
    check: bool,
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
        bytes: scx_preload_defaults::OBJECT.to_vec(),
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
    let source = match &args.object {
        Some(path) => read(path)?,
        None => defaults(),
    };
    load(&source, &args.settings)?;
    Ok(ExitCode::SUCCESS)
}

fn load(source: &Source, settings: &[Setting]) -> scx_preload::Result<()> {
    scheduler::load(source, settings)?;
    log::info!("attached {}, pinned in {}", source.name, bpffs::DIR);
    // Without overrides there is nothing to bypass, and a boot need not look.
    if source.bytes != scx_preload_defaults::OBJECT {
        let bypass = Live::read()?.and_then(|live| live.bypass);
        if let Some(why) = bypass.as_ref().and_then(Bypass::why) {
            log::warn!("its overrides are bypassed already: {why}");
        }
    }
    Ok(())
}

fn boot(args: &Args) -> anyhow::Result<ExitCode> {
    let wish = Wish::read();
    if args.check {
        if wish == Wish::NotInInitrd {
            log::info!("not loaded from the initramfs: rd.scx_preload is off on the command line");
            return Ok(ExitCode::FAILURE);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if wish == Wish::Off {
        log::info!("not loaded: scx_preload.mode=off on the kernel command line");
        return Ok(ExitCode::SUCCESS);
    }

    let own = args.object.clone().unwrap_or_else(|| BOOT_OBJECT.into());
    // A dangling link is an object that is missing, and worth a line.
    let result = if args.object.is_some() || own.is_symlink() || own.exists() {
        match read(&own).and_then(|source| load(&source, &args.settings)) {
            Err(err) if !matches!(err, Error::Unsupported(_) | Error::Busy(_)) => {
                log::warn!("{err}; falling back to the built-in defaults");
                load(&defaults(), &[])
            }
            result => result,
        }
    } else {
        load(&defaults(), &args.settings)
    };
    Ok(match result {
        Ok(()) => ExitCode::SUCCESS,
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
