// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload link`

use std::path::PathBuf;

use scx_preload::linker::{Override, link_overrides};
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

    /// Objects compiled with clang -target bpf, each with hooks of its own
    #[arg(value_name = "OVERRIDE.o")]
    overrides: Vec<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let overrides = args
        .overrides
        .iter()
        .map(|path| Override::read(path))
        .collect::<Result<Vec<_>, _>>()?;
    let linked = link_overrides(&overrides)?;
    super::write(&args.output, &linked)?;
    print_hooks(&overrides)
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
