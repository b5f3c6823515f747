// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload hooks`

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use scx_preload::object::elf::{Binding, BpfObject};
use scx_preload::object::hook_docs;
use scx_preload::object::source::Source;
use scx_preload_defaults::{CONTRACT_VERSION, HOOKS, Hook};
use serde_json::json;

/// List the hooks that an override can define, or who defines them in an object
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An object as `scx_preload link` writes it; without one, the catalogue
    object: Option<PathBuf>,

    /// Print the documentation of one hook
    #[arg(
        long,
        value_name = "HOOK",
        value_parser = PossibleValuesParser::new(HOOKS.iter().map(|hook| hook.name)),
        hide_possible_values = true,
        conflicts_with_all = ["object", "json"],
    )]
    doc: Option<String>,

    /// Print all of the documentation as a man page, scx_preload-hooks(7)
    #[arg(long, conflicts_with_all = ["object", "json", "doc"])]
    man: bool,

    /// Print JSON, with the declaration of each hook
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.man {
        return super::print(&hook_docs::page());
    }
    if let Some(name) = &args.doc {
        return Hook::named(name).map_or(Ok(()), |hook| super::print(&hook_docs::plain(hook)));
    }
    let object = match &args.object {
        Some(path) => {
            let source = Source::read(path)?;
            let object = BpfObject::parse(&source.name, &source.bytes)?;
            object.check_contract(&source.name)?;
            Some(object)
        }
        None => None,
    };
    let origin = |hook| {
        let symbol = object.as_ref()?.hook(hook)?;
        let origin = match symbol.binding {
            Binding::Weak => "default",
            _ => "override",
        };
        Some((origin, symbol.file.clone()))
    };

    if args.json {
        let hooks: Vec<_> = HOOKS
            .iter()
            .map(|hook| {
                let mut entry = json!({
                    "name": hook.name,
                    "summary": hook.summary,
                    "signature": hook.signature,
                });
                if object.is_some() {
                    let origin = origin(hook);
                    entry["from"] = json!(origin.as_ref().map(|(from, _)| from));
                    entry["file"] = json!(origin.and_then(|(_, file)| file));
                }
                entry
            })
            .collect();
        return super::print_json(&json!({
            "contract_version": CONTRACT_VERSION,
            "hooks": hooks,
        }));
    }

    let mut rows = vec![vec!["HOOK".to_string()]];
    if object.is_some() {
        rows[0].push("FROM".into());
    }
    rows[0].push("DECIDES".into());
    for hook in HOOKS {
        let mut row = vec![hook.name.to_owned()];
        if object.is_some() {
            row.push(match origin(hook) {
                Some((from, file)) => format!("{from} {}", file.unwrap_or_default()),
                None => "missing".into(),
            });
        }
        row.push(hook.summary.into());
        rows.push(row);
    }
    super::print(&super::table(&rows))
}
