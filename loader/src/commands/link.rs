// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload link`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use scx_preload::abi::BOOT_OBJECT;
use scx_preload::object::dropins::{self, DropIns};
use scx_preload::object::linker::{Override, link_overrides};
use scx_preload::object::source::Source;
use scx_preload_defaults::HOOKS;

/// Link overrides with the defaults to one object for `load --object`
///
/// Overrides of different hooks combine, in any order. Two of the same hook, a
/// hook that does not exist, or one that is static or weak are errors, and then
/// nothing is written. Without any override, it writes the defaults.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write the linked object
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,

    /// Link the drop-ins that `scx_preload load` takes
    #[arg(long, conflicts_with = "overrides")]
    drop_ins: bool,

    /// With --drop-ins: write what `load --boot` is to take as OUT in an
    /// initramfs: /etc/scx_preload/scheduler.bpf.o, as it is, if there is one, and
    /// else the linked drop-ins. A broken one is left out with a warning, and
    /// noted in OUT.left-out for the boot's journal. Nothing is written if there
    /// is none
    #[arg(long, requires = "drop_ins")]
    boot: bool,

    /// With --drop-ins: look for them under this directory
    #[arg(long, value_name = "DIR", requires = "drop_ins", default_value = "/")]
    root: PathBuf,

    /// Objects compiled with clang -target bpf, each with hooks of its own
    #[arg(value_name = "OVERRIDE.o")]
    overrides: Vec<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    if !args.drop_ins {
        let overrides = args.overrides.iter().map(|path| Override::read(path));
        let overrides = overrides.collect::<Result<Vec<_>, _>>()?;
        return finish(&args.output, &overrides, &link_overrides(&overrides)?);
    }
    let own = args.root.join(BOOT_OBJECT.trim_start_matches('/'));
    if args.boot && own.exists() {
        return super::write(&args.output, &Source::read(&own)?.bytes);
    }
    let (drop_ins, left_out) = DropIns::read(&args.root)?;
    if !args.boot {
        super::refuse(left_out)?;
    } else {
        super::warn_of(&left_out);
        let note = dropins::note(&args.output);
        let text: String = left_out.iter().map(|one| one.text() + "\n").collect();
        if !text.is_empty() {
            super::write(&note, text.as_bytes())?;
        } else if note.exists() {
            fs::remove_file(&note).with_context(|| format!("cannot remove {}", note.display()))?;
        }
        if drop_ins.overrides().is_empty() {
            return Ok(());
        }
    }
    finish(&args.output, drop_ins.overrides(), &drop_ins.source().bytes)
}

fn finish(output: &Path, overrides: &[Override], linked: &[u8]) -> anyhow::Result<()> {
    super::write(output, linked)?;
    print_hooks(overrides)
}

/// Who defines each hook once these are linked with the defaults.
pub fn print_hooks(overrides: &[Override]) -> anyhow::Result<()> {
    let mut rows = vec![vec!["HOOK".to_string(), "FROM".into()]];
    for hook in HOOKS {
        let from = overrides.iter().find(|o| o.hooks().any(|h| h == hook.name));
        rows.push(vec![
            hook.name.into(),
            from.map_or("default".into(), |o| format!("override {}", o.name)),
        ]);
    }
    super::print(&super::table(&rows))
}
