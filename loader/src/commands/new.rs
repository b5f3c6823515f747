// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload new`

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

use anyhow::{Context, anyhow, bail};
use scx_preload::cli::NewArgs;
use scx_preload::object::template;
use scx_preload_defaults::HOOKS;

pub fn run(args: &NewArgs) -> anyhow::Result<()> {
    let file = format!("{}.bpf.c", args.name);
    let path = args.output.clone().unwrap_or_else(|| file.clone().into());
    // In the catalogue's order, each once.
    let hooks: Vec<_> = HOOKS
        .iter()
        .filter(|hook| args.hooks.iter().any(|name| name == hook.name))
        .collect();
    let text = template::text(&args.name, &hooks);
    let mut out = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Err(err) if err.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is there already; choose another name", path.display())
        }
        opened => opened.with_context(|| format!("cannot write {}", path.display()))?,
    };
    out.write_all(text.as_bytes()).map_err(|err| {
        let _ = std::fs::remove_file(&path);
        anyhow!("cannot write {}: {err}", path.display())
    })?;
    log::info!(
        "wrote {0}; change it, then run: scx_preload build {0}",
        path.display()
    );
    Ok(())
}
