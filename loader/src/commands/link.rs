// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload link`

use std::fs;
use std::path::Path;

use anyhow::Context;
use scx_preload::abi::BOOT_OBJECT;
use scx_preload::cli::LinkArgs;
use scx_preload::object::dropins::{self, DropIns};
use scx_preload::object::linker::{Override, link_overrides};
use scx_preload::object::source::Source;

use super::{left_out, output};

pub fn run(args: &LinkArgs) -> anyhow::Result<()> {
    if !args.drop_ins {
        let overrides = args.overrides.iter().map(|path| Override::read(path));
        let overrides = overrides.collect::<Result<Vec<_>, _>>()?;
        return finish(&args.output, &overrides, &link_overrides(&overrides)?);
    }
    let own = args.root.join(BOOT_OBJECT.trim_start_matches('/'));
    if args.boot && own.exists() {
        return output::write(&args.output, &Source::read(&own)?.bytes);
    }
    let (drop_ins, left_out) = DropIns::read(&args.root)?;
    if !args.boot {
        left_out::refuse(left_out)?;
    } else {
        left_out::warn_of(&left_out);
        let note = dropins::note(&args.output);
        let text: String = left_out.iter().map(|one| one.text() + "\n").collect();
        if !text.is_empty() {
            output::write(&note, text.as_bytes())?;
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
    output::write(output, linked)?;
    output::print_overrides(overrides)
}
