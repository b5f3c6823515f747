// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload new`

use std::io::ErrorKind;

use anyhow::{Context, bail};
use scx_preload::cli::NewArgs;
use scx_preload::object::template;
use scx_preload_defaults::HOOKS;

use super::output;

pub fn run(args: &NewArgs) -> anyhow::Result<()> {
    let file = format!("{}.bpf.c", args.name);
    let path = args.output.clone().unwrap_or_else(|| file.clone().into());
    // In the catalog's order, without duplicates.
    let hooks: Vec<_> = HOOKS
        .iter()
        .filter(|hook| args.hooks.iter().any(|name| name == hook.name))
        .collect();
    let text = template::text(&args.name, &hooks);
    match output::write_new(&path, text.as_bytes()) {
        Err(err) if err.kind() == ErrorKind::AlreadyExists => {
            bail!("{} exists; choose another name", path.display())
        }
        written => written.with_context(|| format!("cannot write {}", path.display()))?,
    }
    log::info!(
        "wrote {0}; change it, then run: scx_preload build {0}",
        path.display()
    );
    Ok(())
}
