// SPDX-License-Identifier: GPL-2.0-only
//! The loaded scheduler: hooks, counters, topology, settings.

use std::collections::{BTreeMap, BTreeSet};

use libbpf_rs::btf::{Btf, BtfType};
use libbpf_rs::query::ProgramInfo;
use libbpf_rs::{MapCore, MapFlags};
use scx_preload_defaults::HOOKS;
use serde::Serialize;
use serde_json::{Map, Value};

use super::departure::Departure;
use super::pinned::{PinnedScheduler, Section, first_key, open_map};
use super::soft_bypass::SoftBypass;
use crate::abi::{CONTRACT_VERSION_VARIABLE, OVERRIDDEN_HOOKS, STATS_MAP};
use crate::{Error, Result, btf};

/// A hook of the loaded scheduler.
#[derive(Clone, Debug, Serialize)]
pub struct HookStatus {
    /// `hook_<what>`.
    pub name: &'static str,
    /// Whether an override defines it.
    pub overridden: bool,
    /// Source file of the loaded code; none for a hook without callers.
    pub file: Option<String>,
    /// How often the callbacks called it.
    pub calls: u64,
    /// How often the default body ran.
    pub dfl: u64,
    /// Results out of range.
    pub bad: u64,
}

/// The loaded scheduler.
#[derive(Clone, Debug, Serialize)]
pub struct Live {
    /// Version of the hook contract.
    pub contract_version: u64,
    /// Each hook with its origin and counters.
    pub hooks: Vec<HookStatus>,
    /// Event counters since the load, summed over all CPUs.
    pub counters: BTreeMap<String, u64>,
    /// Topology, from the BPF side.
    pub topology: Value,
    /// Soft bypass.
    #[serde(rename = "bypass")]
    pub soft_bypass: Option<SoftBypass>,
    /// Settings: the rodata variables.
    pub settings: Map<String, Value>,
    /// Other numeric global variables: those of overrides.
    pub variables: Map<String, Value>,
    /// Why it ended, if it did.
    #[serde(flatten)]
    pub departure: Departure,
    /// Instructions that the verifier processed for each program.
    pub programs: BTreeMap<String, u32>,
}

impl Live {
    /// Read the pinned scheduler, running or not; none if nothing is pinned.
    pub fn read() -> Result<Option<Self>> {
        let Some(pinned) = PinnedScheduler::find()? else {
            return Ok(None);
        };
        let Some(btf) = pinned.btf()? else {
            return Ok(None);
        };
        Self::from_parts(&btf, &pinned.programs, &pinned.maps).map(Some)
    }

    fn from_parts(btf: &Btf<'_>, programs: &[ProgramInfo], maps: &BTreeSet<u32>) -> Result<Self> {
        let mut settings = Section::read(btf, maps, "rodata")?.numbers(btf);
        let bss = Section::read(btf, maps, "bss")?;
        let (mut counters, hook_counters) = stats(btf, maps)?;
        counters.retain(|_, value| value.is_u64());

        let files = hook_files(btf, programs);
        let overridden = number(settings.remove(OVERRIDDEN_HOOKS));
        let hooks = HOOKS
            .iter()
            .enumerate()
            .map(|(n, hook)| {
                let count = |name| number(hook_counters.get(n).and_then(|h| h.get(name)).cloned());
                let (overridden, calls) = (overridden >> n & 1 == 1, count("calls"));
                HookStatus {
                    name: hook.name,
                    overridden,
                    file: files.get(hook.name).cloned(),
                    calls,
                    // Counted with an override only; without one they are equal.
                    dfl: if overridden { count("dfl") } else { calls },
                    bad: count("bad"),
                }
            })
            .collect();

        Ok(Self {
            contract_version: number(settings.remove(CONTRACT_VERSION_VARIABLE)),
            hooks,
            counters: counters
                .into_iter()
                .map(|(name, value)| (name, number(Some(value))))
                .collect(),
            topology: topology(btf, &bss),
            soft_bypass: SoftBypass::from_value(bss.value(btf, "preload_bypass")),
            settings,
            variables: bss.numbers(btf),
            departure: Departure::from_section(btf, &bss),
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

/// System-wide numbers, and the used entries of the tables.
fn topology(btf: &Btf<'_>, bss: &Section<'_>) -> Value {
    let mut topology = bss.value(btf, "preload_topology");
    let count = |name: &str| number(topology.get(name).cloned()) as usize;
    let (nr_cpus, nr_llcs) = (count("nr_cpu_ids"), count("nr_llcs"));
    let mut llcs = bss.first(btf, "preload_llcs", nr_llcs);
    for (n, llc) in llcs.iter_mut().enumerate() {
        llc["near"] = bss.near(n, nr_llcs.saturating_sub(1)).into();
    }
    if topology.is_object() {
        topology["cpus"] = bss.first(btf, "preload_cpus", nr_cpus).into();
        topology["llcs"] = llcs.into();
    }
    topology
}

/// The event counters, and the counters of each hook.
fn stats(btf: &Btf<'_>, maps: &BTreeSet<u32>) -> Result<(Map<String, Value>, Vec<Value>)> {
    let none = || Ok((Map::new(), Vec::new()));
    let Some(map) = open_map(maps, STATS_MAP)? else {
        return none();
    };
    let cpus = map
        .lookup_percpu(&first_key(), MapFlags::ANY)
        .map_err(Error::libbpf("cannot read the counters"))?
        .unwrap_or_default();
    // struct preload_stats has u64 members only.
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

/// Source file of each hook in a loaded program.
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
