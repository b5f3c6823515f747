// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload new`

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use clap::builder::PossibleValuesParser;
use scx_preload::object::template;
use scx_preload_defaults::HOOKS;

/// Start an override: a C file that compiles as it is, for you to change
///
/// It has the chosen hooks with the essentials of their documentation. Each leaves the
/// decision to the default until you change it. `scx_preload build` compiles it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to call it: NAME.bpf.c in the current directory
    #[arg(value_parser = name)]
    name: String,

    /// A hook to override, once for each; `scx_preload hooks` lists them
    #[arg(
        long = "hook",
        value_name = "HOOK",
        default_value = "hook_task_slice",
        value_parser = PossibleValuesParser::new(HOOKS.iter().map(|hook| hook.name)),
        hide_possible_values = true,
    )]
    hooks: Vec<String>,

    /// Write to this file instead
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// One that is a file name everywhere, and no option.
fn name(text: &str) -> Result<String, String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.starts_with(word) && text.chars().all(|c| word(c) || c == '-') {
        return Ok(text.to_owned());
    }
    Err("use letters, digits, '_' and '-' only; -o FILE chooses another place".into())
}

pub fn run(args: &Args) -> anyhow::Result<()> {
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
