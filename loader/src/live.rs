// SPDX-License-Identifier: GPL-2.0-only
//! What is loaded now, read back from the kernel: from the pinned ops table by BTF
//! id to its programs and maps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use libbpf_rs::btf::types::{Array, Int};
use libbpf_rs::btf::{Btf, BtfType};
use libbpf_rs::query::{MapInfoIter, ProgInfoIter, ProgInfoQueryOptions, ProgramInfo};
use libbpf_rs::{MapCore, MapFlags, MapHandle, Object};
use scx_preload_defaults::HOOKS;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::bypass::Bypass;
use crate::object::{MAP_PREFIX, object_btf};
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

/// Of `enum scx_exit_kind`: the link has gone, a BPF program has ended it, sysrq-S has.
pub(crate) const EXIT_UNREG: u64 = 64;
const EXIT_UNREG_BPF: u64 = 65;
pub(crate) const EXIT_SYSRQ: u64 = 67;

/// `PRELOAD_EXIT_GIVE_WAY`: a BPF program's code if it was for another scheduler.
const EXIT_GIVE_WAY: i64 = 0x6769_7665;

/// Why our scheduler ended; all 0 while it runs, and before it runs first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Exit {
    /// `enum scx_exit_kind`.
    pub kind: u64,
    /// The code that goes with it.
    pub code: i64,
}

/// What the BPF side has noticed of other schedulers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Handover {
    /// When one's ops table was made last, CLOCK_MONOTONIC, ns.
    pub at: u64,
    /// The process that did it; 0 when it has attached it, or could not.
    pub pid: u32,
    /// Somebody has pressed sysrq-S since the load.
    pub sysrq: u64,
    /// The name of that process.
    #[serde(deserialize_with = "chars")]
    pub comm: String,
}

fn chars<'de, D: Deserializer<'de>>(array: D) -> Result<String, D::Error> {
    Vec::deserialize(array).map(|chars: Vec<i8>| btf::text(&chars))
}

/// What our scheduler leaves behind, for who comes back.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Traces {
    /// Why it ended last.
    pub exit: Exit,
    /// Who else has been loading a scheduler since it was loaded.
    pub handover: Handover,
}

impl Traces {
    /// Those of the scheduler that is pinned; none if there is none.
    pub fn read() -> Result<Option<Self>> {
        let Some(loaded) = Loaded::find()? else {
            return Ok(None);
        };
        let Some(btf) = loaded.btf()? else {
            return Ok(None);
        };
        let bss = Section::read(&btf, &loaded.maps, "bss")?;
        Ok(Some(Self::from_section(&btf, &bss)))
    }

    /// Those of a loaded object, attached or not.
    pub fn of(object: &Object) -> Result<Self> {
        let btf = object_btf(object)?;
        let is_bss = |map: &libbpf_rs::Map<'_>| map.name().to_string_lossy().ends_with(".bss");
        let Some(bss) = object.maps().find(is_bss) else {
            return Ok(Self::default());
        };
        Ok(Self::from_section(&btf, &Section::of(&btf, "bss", &bss)?))
    }

    /// All 0 for an object from before there was such a thing.
    fn from_section(btf: &Btf<'_>, bss: &Section<'_>) -> Self {
        let value = |name| bss.value(btf, name);
        Self {
            exit: serde_json::from_value(value("preload_exit_info")).unwrap_or_default(),
            handover: serde_json::from_value(value("preload_handover")).unwrap_or_default(),
        }
    }

    /// For whom it has ended, as `NAME[PID]`, or has to end.
    pub fn gave_way(&self) -> Option<String> {
        let Handover { pid, comm, .. } = &self.handover;
        let name = (self.ended_to_give_way() || self.is_loading()).then_some(comm)?;
        Some(match pid {
            // It has tried to attach it since.
            0 => name.clone(),
            pid => format!("{name}[{pid}]"),
        })
    }

    /// It has ended, and that was why.
    pub fn ended_to_give_way(&self) -> bool {
        (self.exit.kind, self.exit.code) == (EXIT_UNREG_BPF, EXIT_GIVE_WAY)
    }

    /// Is somebody loading another scheduler?
    pub fn is_loading(&self) -> bool {
        let pid = self.handover.pid;
        pid != 0 && Path::new(&format!("/proc/{pid}")).exists()
    }
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
    /// Soft bypass of overrides.
    pub bypass: Option<Bypass>,
    /// Settings: the rodata variables.
    pub settings: Map<String, Value>,
    /// Other global variables that are plain numbers: those of overrides.
    pub variables: Map<String, Value>,
    /// What there is to know when another scheduler has ended.
    #[serde(flatten)]
    pub traces: Traces,
    /// Verified instructions of each program.
    pub programs: BTreeMap<String, u32>,
}

/// Programs of the scheduler whose ops table is pinned, with the maps that they use.
struct Loaded {
    programs: Vec<ProgramInfo>,
    maps: BTreeSet<u32>,
}

impl Loaded {
    /// None if nothing is pinned.
    fn find() -> Result<Option<Self>> {
        bpffs::require_root()?;
        let Some(ops) = bpffs::open_ops()? else {
            return Ok(None);
        };
        let ops = ops
            .info()
            .map_err(Error::libbpf(format!("cannot read {}", bpffs::OPS)))?
            .info;
        let options = ProgInfoQueryOptions::default()
            .include_map_ids(true)
            .include_func_info(true)
            .include_line_info(true);
        let programs: Vec<_> = ProgInfoIter::with_query_opts(options)
            .filter(|prog| prog.btf_id == ops.btf_id)
            .collect();
        let maps = programs
            .iter()
            .flat_map(|prog| prog.map_ids.iter().copied())
            .collect();
        Ok(Some(Loaded { programs, maps }))
    }

    /// That of all its programs and maps.
    fn btf(&self) -> Result<Option<Btf<'static>>> {
        let btf = self.programs.first().map(|prog| Btf::from_prog_id(prog.id));
        btf.transpose()
            .map_err(Error::libbpf("cannot read the scheduler's BTF"))
    }
}

/// Write the first entry of a map of the loaded scheduler.
pub(crate) fn write_map(name: &str, value: u32) -> Result<()> {
    let loaded = Loaded::find()?.ok_or(Error::NotLoaded)?;
    let map = open_map(&loaded.maps, name)?.ok_or(Error::NotLoaded)?;
    map.update(&first_key(), &value.to_ne_bytes(), MapFlags::ANY)
        .map_err(Error::libbpf(format!("cannot write the map {name}")))
}

impl Live {
    /// Read the scheduler that is pinned, whether or not it runs; none if there is none.
    pub fn read() -> Result<Option<Self>> {
        let Some(loaded) = Loaded::find()? else {
            return Ok(None);
        };
        let Some(btf) = loaded.btf()? else {
            return Ok(None);
        };
        Self::from_parts(&btf, &loaded.programs, &loaded.maps).map(Some)
    }

    fn from_parts(btf: &Btf<'_>, programs: &[ProgramInfo], maps: &BTreeSet<u32>) -> Result<Self> {
        let mut settings = Section::read(btf, maps, "rodata")?.numbers(btf);
        let bss = Section::read(btf, maps, "bss")?;
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

        Ok(Self {
            contract_version: number(settings.remove("contract_version")),
            hooks,
            counters: counters
                .into_iter()
                .map(|(name, value)| (name, number(Some(value))))
                .collect(),
            topology: topology(btf, &bss),
            bypass: Bypass::from_value(bss.value(btf, "preload_bypass")),
            settings,
            variables: bss.numbers(btf),
            traces: Traces::from_section(btf, &bss),
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

/// Machine-wide numbers, and of the tables the entries in use.
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

/// `.rodata` or `.bss` of the loaded scheduler.
struct Section<'btf> {
    variables: Vec<btf::Variable<'btf>>,
    bytes: Vec<u8>,
}

impl<'btf> Section<'btf> {
    fn read(btf: &'btf Btf<'_>, maps: &BTreeSet<u32>, name: &str) -> Result<Self> {
        match open_map(maps, &format!("{MAP_PREFIX}.{name}"))? {
            Some(map) => Self::of(btf, name, &map),
            None => Ok(Self {
                variables: Vec::new(),
                bytes: Vec::new(),
            }),
        }
    }

    fn of(btf: &'btf Btf<'_>, name: &str, map: &impl MapCore) -> Result<Self> {
        let bytes = map
            .lookup(&first_key(), MapFlags::ANY)
            .map_err(Error::libbpf(format!("cannot read .{name}")))?;
        Ok(Self {
            variables: btf::variables(btf, &format!(".{name}")),
            bytes: bytes.unwrap_or_default(),
        })
    }

    fn bytes_of(&self, var: &btf::Variable<'_>) -> &[u8] {
        let bytes = self.bytes.get(var.offset..var.offset + var.size);
        bytes.unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<&btf::Variable<'btf>> {
        self.variables.iter().find(|var| var.name == name)
    }

    /// The variable of this name, or null.
    fn value(&self, btf: &Btf<'_>, name: &str) -> Value {
        self.find(name).map_or(Value::Null, |var| {
            btf::to_json(btf, var.ty, self.bytes_of(var))
        })
    }

    /// The first entries of an array.
    fn first(&self, btf: &Btf<'_>, name: &str, count: usize) -> Vec<Value> {
        let entries = |var: &btf::Variable<'_>| {
            let array = Array::try_from(var.ty).ok()?;
            let size = var.size / array.capacity().max(1);
            let bytes = self.bytes_of(var).chunks_exact(size.max(1)).take(count);
            let entry = array.contained_type();
            Some(bytes.map(|bytes| btf::to_json(btf, entry, bytes)).collect())
        };
        self.find(name).and_then(entries).unwrap_or_default()
    }

    /// LLCs by their distance from `llc`: near_entry() in topology.bpf.h.
    fn near(&self, llc: usize, others: usize) -> Vec<u32> {
        const PER_LLC: usize = 32;
        let Some(var) = self.find("preload_near") else {
            return Vec::new();
        };
        let entries = self.bytes_of(var).chunks_exact(size_of::<u32>());
        entries
            .skip(llc * PER_LLC)
            .take(others.min(PER_LLC))
            .map(|b| u32::from_ne_bytes(b.try_into().unwrap_or_default()) & 0xffff)
            .collect()
    }

    /// The variables that are plain numbers.
    fn numbers(&self, btf: &Btf<'_>) -> Map<String, Value> {
        let scalars = self
            .variables
            .iter()
            .filter(|var| Int::try_from(var.ty).is_ok());
        scalars
            .map(|var| {
                let value = btf::to_json(btf, var.ty, self.bytes_of(var));
                (var.name.clone(), value)
            })
            .collect()
    }
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
