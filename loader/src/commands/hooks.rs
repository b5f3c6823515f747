// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload hooks`

use scx_preload::cli::HooksArgs;
use scx_preload::object::elf::{Binding, BpfObject};
use scx_preload::object::hook_docs;
use scx_preload::object::source::Source;
use scx_preload_defaults::{CONTRACT_VERSION, HOOKS, Hook};
use serde_json::json;

use super::output;

pub fn run(args: &HooksArgs) -> anyhow::Result<()> {
    if args.man {
        return output::print(&hook_docs::page());
    }
    if let Some(name) = &args.doc {
        return Hook::named(name).map_or(Ok(()), |hook| output::print(&hook_docs::plain(hook)));
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
        return output::print_json(&json!({
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
    output::print(&output::table(&rows))
}
