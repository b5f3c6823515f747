// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload check`

use std::path::PathBuf;

use scx_preload::object::linker::{Override, link_overrides};
use serde_json::json;

/// Check compiled overrides, alone and together, and write nothing
///
/// Finds misspelled, static and weak hooks, declarations that differ from the
/// contract, calls that the kernel does not allow where the hook is asked, names
/// and hooks that two of them define, and what nobody defines. Needs neither root
/// nor a kernel with sched_ext; `scx_preload verify` asks the verifier.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Objects compiled with clang -target bpf
    #[arg(required = true, value_name = "OVERRIDE.o")]
    overrides: Vec<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let overrides = args
        .overrides
        .iter()
        .map(|path| Override::read(path))
        .collect::<Result<Vec<_>, _>>()?;
    link_overrides(&overrides)?;
    if args.json {
        let objects: Vec<_> = overrides
            .iter()
            .map(|o| json!({ "object": o.name, "hooks": o.hooks().collect::<Vec<_>>() }))
            .collect();
        return super::print_json(&json!({ "overrides": objects }));
    }
    let hooks = |o: &Override| o.hooks().collect::<Vec<_>>().join(", ");
    let lines = overrides
        .iter()
        .map(|o| format!("{}: ok, overrides {}\n", o.name, hooks(o)));
    super::print(&lines.collect::<String>())
}
