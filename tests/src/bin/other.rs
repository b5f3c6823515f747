// SPDX-License-Identifier: GPL-2.0-only
//! `other OBJECT [PIN]`: another sched_ext scheduler, attached until this process ends, like
//! those of the sched_ext project, or, with a path, until its pin there is removed.
//! `other --after SECONDS OBJECT` sleeps between load and attach. If the object has no
//! struct_ops map, its first program is run once.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::{Enum, Enum64};
use libbpf_rs::{MapCore, MapType, ObjectBuilder, OpenObject, ProgramInput};
use scx_preload::btf::{object_btf, variables};
use scx_preload::scheduler::{Setting, set_rodata};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1).peekable();
    let usage = "usage: other [--after SECONDS] OBJECT [PIN]";
    let mut pause = Duration::ZERO;
    if args.next_if_eq("--after").is_some() {
        pause = Duration::from_secs(args.next().context(usage)?.parse()?);
    }
    let path = args.next().context(usage)?;
    let mut object = ObjectBuilder::default().open_file(path)?;
    fill_in_enumerators(&mut object)?;
    let mut object = object.load()?;
    let mut maps = object.maps_mut();
    let Some(mut ops) = maps.find(|map| map.map_type() == MapType::StructOps) else {
        drop(maps);
        let program = object.progs_mut().next().context("no program in it")?;
        program.test_run(ProgramInput::default())?;
        return Ok(());
    };
    sleep(pause);
    let mut link = ops.attach_struct_ops()?;
    if let Some(path) = args.next() {
        return Ok(link.pin(path)?);
    }
    loop {
        std::thread::park();
    }
}

/// The headers of scx expect user space to look up the kernel's `SCX_*` and to store each in
/// the rodata variable `__SCX_*`. Those that the kernel lacks stay 0.
fn fill_in_enumerators(object: &mut OpenObject) -> Result<()> {
    let kernel = enumerators()?;
    let btf = object_btf(object)?;
    let known = variables(&btf, ".rodata").into_iter().filter_map(|v| {
        let value = kernel.get(v.name.strip_prefix("__")?)?.to_string();
        Some(Setting {
            name: v.name,
            value,
        })
    });
    let settings: Vec<_> = known.collect();
    drop(btf);
    Ok(set_rodata(object, &settings)?)
}

/// The `SCX_*` of the running kernel.
fn enumerators() -> Result<HashMap<String, u64>> {
    let kernel = Btf::from_vmlinux()?;
    let mut found = HashMap::new();
    let mut add = |name: Option<&OsStr>, value| match name.and_then(OsStr::to_str) {
        Some(name) if name.starts_with("SCX_") => drop(found.insert(name.to_owned(), value)),
        _ => {}
    };
    // The variables are u64, whatever the width of the enumerator.
    for narrow in kernel.type_by_kind::<Enum<'_>>() {
        narrow.iter().for_each(|m| add(m.name, m.value as u64));
    }
    for wide in kernel.type_by_kind::<Enum64<'_>>() {
        wide.iter().for_each(|m| add(m.name, m.value as u64));
    }
    Ok(found)
}
