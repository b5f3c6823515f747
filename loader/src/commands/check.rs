// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload check`

use scx_preload::cli::CheckArgs;
use scx_preload::object::linker::{Override, link_overrides};
use serde_json::json;

use super::output;

pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
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
        return output::print_json(&json!({ "overrides": objects }));
    }
    let hooks = |o: &Override| o.hooks().collect::<Vec<_>>().join(", ");
    let lines = overrides
        .iter()
        .map(|o| format!("{}: ok, overrides {}\n", o.name, hooks(o)));
    output::print(&lines.collect::<String>())
}
