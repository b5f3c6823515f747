// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload verify`

use std::os::fd::AsFd;

use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};
use scx_preload::cli::VerifyArgs;
use scx_preload::object::source::Source;
use scx_preload::scheduler;
use serde_json::{Map, Value, json};

use super::output;

pub fn run(args: &VerifyArgs) -> anyhow::Result<()> {
    let source = match &args.object {
        Some(path) => Source::read(path)?,
        None => Source::built_in(),
    };
    let object = scheduler::verify(&source, &[])?;
    let mut programs = Map::new();
    for program in object.progs().filter(|p| p.autoload()) {
        let id = libbpf_rs::Program::id_from_fd(program.as_fd())?;
        let info = ProgInfoIter::with_query_opts(ProgInfoQueryOptions::default())
            .find(|info| info.id == id);
        let name = program.name().to_string_lossy().into_owned();
        programs.insert(name, info.map_or(Value::Null, |i| i.verified_insns.into()));
    }
    let total: u64 = programs.values().filter_map(Value::as_u64).sum();
    if args.json {
        return output::print_json(&json!({
            "object": source.name,
            "verified_insns": total,
            "programs": programs,
        }));
    }
    let mut rows = vec![vec!["PROGRAM".to_string(), "VERIFIED".into()]];
    rows.extend(
        programs
            .iter()
            .map(|(name, n)| vec![name.clone(), n.to_string()]),
    );
    rows.push(vec!["total".into(), total.to_string()]);
    output::print(&output::table(&rows))
}
