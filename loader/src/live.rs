// SPDX-License-Identifier: GPL-2.0-only
//! What is loaded now, read back from the kernel: from the pinned link to its
//! ops, from there by BTF id to its programs and maps.

use std::collections::{BTreeMap, BTreeSet};

use libbpf_rs::btf::{Btf, BtfType};
use libbpf_rs::query::{
    LinkTypeInfo, MapInfoIter, ProgInfoIter, ProgInfoQueryOptions, ProgramInfo,
};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use scx_preload_defaults::HOOKS;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::object::MAP_PREFIX;
use crate::{Error, Result, bpffs, btf};

/// A hook of the loaded scheduler.
#[derive(Clone, Debug, Serialize)]
pub struct Hook {
    /// `hook_<what>`.
    pub name: &'static str,
    /// Whether an override defines it.
    pub overridden: bool,
    /// Source file of the code that is loaded; none for a hook never called.
    pub file: Option<String>,
    /// How often the ops asked it.
    pub calls: u64,
    /// How often the default body ran.
    pub dfl: u64,
    /// Results that were out of range.
    pub bad: u64,
}

/// Our scheduler as the kernel holds it.
#[derive(Clone, Debug, Serialize)]
pub struct Live {
    /// Version of the hook contract.
    pub contract_version: u64,
    /// Each hook with its origin and counters.
    pub hooks: Vec<Hook>,
    /// Counters of events since load, all CPUs together.
    pub counters: BTreeMap<String, u64>,
    /// Topology as the BPF side sees it.
    pub topology: Value,
    /// Settings: the rodata variables.
    pub settings: Map<String, Value>,
    /// Other global variables that are plain numbers: those of overrides.
    pub variables: Map<String, Value>,
    /// Kind and code of the exit, 0 while it runs. See `enum scx_exit_kind`.
    pub exit: Value,
    /// Verified instructions of each program.
    pub programs: BTreeMap<String, u32>,
}

impl Live {
    /// Read the scheduler behind the pinned link; none if nothing is pinned.
    pub fn read() -> Result<Option<Self>> {
        bpffs::require_root()?;
        let Some(link) = bpffs::open_link()? else {
            return Ok(None);
        };
        let info = link
            .info()
            .map_err(Error::libbpf(format!("cannot read {}", bpffs::LINK)))?;
        let LinkTypeInfo::StructOps(ops) = info.info else {
            return Ok(None);
        };
        // A link that was detached has no map any more.
        let Some(ops) = MapInfoIter::default().find(|map| map.id == ops.map_id) else {
            return Ok(None);
        };
        let options = ProgInfoQueryOptions::default()
            .include_map_ids(true)
            .include_func_info(true)
            .include_line_info(true);
        let programs: Vec<_> = ProgInfoIter::with_query_opts(options)
            .filter(|prog| prog.btf_id == ops.btf_id)
            .collect();
        let Some(first) = programs.first() else {
            return Ok(None);
        };
        let btf = Btf::from_prog_id(first.id)
            .map_err(Error::libbpf("cannot read the scheduler's BTF"))?;
        let maps: BTreeSet<u32> = programs
            .iter()
            .flat_map(|prog| prog.map_ids.iter().copied())
            .collect();
        Self::from_parts(&btf, &programs, &maps).map(Some)
    }

    fn from_parts(btf: &Btf<'_>, programs: &[ProgramInfo], maps: &BTreeSet<u32>) -> Result<Self> {
        let mut settings = section(btf, maps, "rodata")?;
        let mut bss = section(btf, maps, "bss")?;
        let (mut counters, hook_counters) = stats(btf, maps)?;
        counters.retain(|_, value| value.is_u64());

        let files = hook_files(btf, programs);
        let overridden = number(settings.remove("overridden_hooks"));
        let hooks = HOOKS
            .iter()
            .enumerate()
            .map(|(n, hook)| {
                let count = |name| number(hook_counters.get(n).and_then(|h| h.get(name)).cloned());
                let (overridden, calls) = (overridden >> n & 1 == 1, count("calls"));
                Hook {
                    name: hook.name,
                    overridden,
                    file: files.get(hook.name).cloned(),
                    calls,
                    // Counted for an override only: without one they are the same.
                    dfl: if overridden { count("dfl") } else { calls },
                    bad: count("bad"),
                }
            })
            .collect();

        let mut topology = bss.remove("preload_topology").unwrap_or_default();
        let cpus = number(topology.get("nr_cpu_ids").cloned()) as usize;
        let llcs = number(topology.get("nr_llcs").cloned()) as usize;
        for (variable, name, len) in [
            ("preload_cpus", "cpus", cpus),
            ("preload_llcs", "llcs", llcs),
        ] {
            if let Some(Value::Array(mut entries)) = bss.remove(variable) {
                entries.truncate(len);
                topology[name] = Value::Array(entries);
            }
        }

        let exit = bss.remove("preload_exit_info").unwrap_or_default();
        bss.retain(|_, value| value.is_number() || value.is_boolean());

        Ok(Self {
            contract_version: number(settings.remove("contract_version")),
            hooks,
            counters: counters
                .into_iter()
                .map(|(name, value)| (name, number(Some(value))))
                .collect(),
            topology,
            settings,
            variables: bss,
            exit,
            programs: programs
                .iter()
                .map(|p| (p.name.to_string_lossy().into_owned(), p.verified_insns))
                .collect(),
        })
    }
}

fn number(value: Option<Value>) -> u64 {
    value.and_then(|value| value.as_u64()).unwrap_or(0)
}

/// Open the map of this name among `ids`; the kernel cuts names at 15 bytes.
fn open_map(ids: &BTreeSet<u32>, name: &str) -> Result<Option<MapHandle>> {
    let name = &name[..name.len().min(15)];
    let Some(info) = MapInfoIter::default().find(|map| ids.contains(&map.id) && map.name == *name)
    else {
        return Ok(None);
    };
    MapHandle::from_map_id(info.id)
        .map(Some)
        .map_err(Error::libbpf(format!("cannot open the map {name}")))
}

fn first_key() -> [u8; 4] {
    0u32.to_ne_bytes()
}

/// The variables of `.rodata` or `.bss` with their values.
fn section(btf: &Btf<'_>, maps: &BTreeSet<u32>, name: &str) -> Result<Map<String, Value>> {
    let Some(map) = open_map(maps, &format!("{MAP_PREFIX}.{name}"))? else {
        return Ok(Map::new());
    };
    let bytes = map
        .lookup(&first_key(), MapFlags::ANY)
        .map_err(Error::libbpf(format!("cannot read .{name}")))?
        .unwrap_or_default();
    Ok(btf::variables(btf, &format!(".{name}"))
        .into_iter()
        .filter_map(|var| {
            let value = bytes.get(var.offset..var.offset + var.size)?;
            Some((var.name, btf::to_json(btf, var.ty, value)))
        })
        .collect())
}

/// The event counters, and those of each hook.
fn stats(btf: &Btf<'_>, maps: &BTreeSet<u32>) -> Result<(Map<String, Value>, Vec<Value>)> {
    let none = || Ok((Map::new(), Vec::new()));
    let Some(map) = open_map(maps, "preload_stats")? else {
        return none();
    };
    let cpus = map
        .lookup_percpu(&first_key(), MapFlags::ANY)
        .map_err(Error::libbpf("cannot read the counters"))?
        .unwrap_or_default();
    // struct preload_stats holds nothing but u64.
    let mut sum = vec![0u64; map.value_size() as usize / 8];
    for cpu in &cpus {
        for (total, word) in sum.iter_mut().zip(cpu.chunks_exact(8)) {
            *total += u64::from_ne_bytes(word.try_into().unwrap_or_default());
        }
    }
    let bytes: Vec<u8> = sum.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let Some(ty) = btf.type_by_name::<libbpf_rs::btf::types::Struct<'_>>("preload_stats") else {
        return none();
    };
    let ty: BtfType<'_> = *ty;
    let Value::Object(mut counters) = btf::to_json(btf, ty, &bytes) else {
        return none();
    };
    let hooks = match counters.remove("hooks") {
        Some(Value::Array(hooks)) => hooks,
        _ => Vec::new(),
    };
    Ok((counters, hooks))
}

/// Source file of each hook that is part of a loaded program.
fn hook_files(btf: &Btf<'_>, programs: &[ProgramInfo]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for program in programs {
        for func in &program.func_info {
            let name = btf
                .type_by_id::<BtfType<'_>>(func.type_id.into())
                .and_then(|ty| ty.name()?.to_str());
            let Some(name) = name.filter(|name| name.starts_with("hook_")) else {
                continue;
            };
            let line = program
                .line_info
                .iter()
                .find(|line| line.insn_off == func.insn_off);
            if let Some(file) = line.and_then(|line| btf::string(btf, line.file_name_off)) {
                files.insert(name.to_owned(), file);
            }
        }
    }
    files
}
