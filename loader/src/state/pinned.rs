// SPDX-License-Identifier: GPL-2.0-only
//! From the pinned struct_ops map, by BTF id, to the scheduler's programs and maps.

use std::collections::BTreeSet;

use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::{Array, Int};
use libbpf_rs::query::{MapInfoIter, ProgInfoIter, ProgInfoQueryOptions, ProgramInfo};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use serde_json::{Map, Value};

use super::bpffs;
use crate::abi::{MAP_PREFIX, OPS_PIN};
use crate::{Error, Result, btf};

/// Programs of the pinned scheduler, and ids of their maps.
pub(super) struct PinnedScheduler {
    pub programs: Vec<ProgramInfo>,
    pub maps: BTreeSet<u32>,
}

impl PinnedScheduler {
    /// None if nothing is pinned.
    pub fn find() -> Result<Option<Self>> {
        bpffs::require_root()?;
        let Some(ops) = bpffs::open_ops()? else {
            return Ok(None);
        };
        let ops = ops
            .info()
            .map_err(Error::libbpf(format!("cannot read {OPS_PIN}")))?
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
        Ok(Some(PinnedScheduler { programs, maps }))
    }

    /// The BTF that its programs and maps share.
    pub fn btf(&self) -> Result<Option<Btf<'static>>> {
        let btf = self.programs.first().map(|prog| Btf::from_prog_id(prog.id));
        btf.transpose()
            .map_err(Error::libbpf("cannot read the scheduler's BTF"))
    }
}

/// Write the first entry of a map of the pinned scheduler.
pub(crate) fn write_map(name: &str, value: u32) -> Result<()> {
    let pinned = PinnedScheduler::find()?.ok_or(Error::NotLoaded)?;
    let map = open_map(&pinned.maps, name)?.ok_or(Error::NotLoaded)?;
    map.update(&first_key(), &value.to_ne_bytes(), MapFlags::ANY)
        .map_err(Error::libbpf(format!("cannot write the map {name}")))
}

/// Open the map of this name among `ids`. The kernel truncates names to 15 bytes.
pub(super) fn open_map(ids: &BTreeSet<u32>, name: &str) -> Result<Option<MapHandle>> {
    let name = &name[..name.len().min(15)];
    let Some(info) = MapInfoIter::default().find(|map| ids.contains(&map.id) && map.name == *name)
    else {
        return Ok(None);
    };
    MapHandle::from_map_id(info.id)
        .map(Some)
        .map_err(Error::libbpf(format!("cannot open the map {name}")))
}

pub(super) fn first_key() -> [u8; 4] {
    0u32.to_ne_bytes()
}

/// Content of `.rodata` or `.bss`.
pub(super) struct Section<'btf> {
    variables: Vec<btf::Variable<'btf>>,
    bytes: Vec<u8>,
}

impl<'btf> Section<'btf> {
    pub fn read(btf: &'btf Btf<'_>, maps: &BTreeSet<u32>, name: &str) -> Result<Self> {
        match open_map(maps, &format!("{MAP_PREFIX}.{name}"))? {
            Some(map) => Self::of(btf, name, &map),
            None => Ok(Self {
                variables: Vec::new(),
                bytes: Vec::new(),
            }),
        }
    }

    pub fn of(btf: &'btf Btf<'_>, name: &str, map: &impl MapCore) -> Result<Self> {
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
    pub fn value(&self, btf: &Btf<'_>, name: &str) -> Value {
        self.find(name).map_or(Value::Null, |var| {
            btf::to_json(btf, var.ty, self.bytes_of(var))
        })
    }

    /// The first entries of an array.
    pub fn first(&self, btf: &Btf<'_>, name: &str, count: usize) -> Vec<Value> {
        let entries = |var: &btf::Variable<'_>| {
            let array = Array::try_from(var.ty).ok()?;
            let size = var.size / array.capacity().max(1);
            let bytes = self.bytes_of(var).chunks_exact(size.max(1)).take(count);
            let entry = array.contained_type();
            Some(bytes.map(|bytes| btf::to_json(btf, entry, bytes)).collect())
        };
        self.find(name).and_then(entries).unwrap_or_default()
    }

    /// LLCs in order of distance from `llc`: near_entry() in topology.bpf.h.
    pub fn near(&self, llc: usize, others: usize) -> Vec<u32> {
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
    pub fn numbers(&self, btf: &Btf<'_>) -> Map<String, Value> {
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
