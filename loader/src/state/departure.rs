// SPDX-License-Identifier: GPL-2.0-only
//! Why our scheduler ended, and for whom: what reattaching it depends on.

use std::path::Path;

use libbpf_rs::btf::Btf;
use libbpf_rs::{MapCore, Object};
use serde::{Deserialize, Deserializer, Serialize};

use super::pinned::{PinnedScheduler, Section};
use crate::abi::{EXIT_GIVE_WAY, EXIT_UNREG_BPF};
use crate::{Result, btf};

/// Why our scheduler ended; all 0 while it runs, and before it first runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Exit {
    /// `enum scx_exit_kind`.
    pub kind: u64,
    /// The exit code of that kind.
    pub code: i64,
}

/// What the BPF side has noticed of other schedulers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Handover {
    /// When another scheduler's struct_ops map was last created, CLOCK_MONOTONIC, ns.
    pub at: u64,
    /// The process that created it; 0 once it has attached it, or failed to.
    pub pid: u32,
    /// 1 if sysrq-S was pressed since the load, whichever scheduler it ended.
    pub sysrq: u64,
    /// The name of that process.
    #[serde(deserialize_with = "chars")]
    pub comm: String,
}

fn chars<'de, D: Deserializer<'de>>(array: D) -> Result<String, D::Error> {
    Vec::deserialize(array).map(|chars: Vec<i8>| btf::text(&chars))
}

/// The end of our scheduler, or the reason why it has to end.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Departure {
    /// Why it ended last.
    pub exit: Exit,
    /// Which process has been loading another scheduler since the load of ours.
    pub handover: Handover,
}

impl Departure {
    /// That of the pinned scheduler; none if nothing is pinned.
    pub fn read() -> Result<Option<Self>> {
        let Some(pinned) = PinnedScheduler::find()? else {
            return Ok(None);
        };
        let Some(btf) = pinned.btf()? else {
            return Ok(None);
        };
        let bss = Section::read(&btf, &pinned.maps, "bss")?;
        Ok(Some(Self::from_section(&btf, &bss)))
    }

    /// That of a loaded object, attached or not.
    pub fn of(object: &Object) -> Result<Self> {
        let btf = btf::object_btf(object)?;
        let is_bss = |map: &libbpf_rs::Map<'_>| map.name().to_string_lossy().ends_with(".bss");
        let Some(bss) = object.maps().find(is_bss) else {
            return Ok(Self::default());
        };
        Ok(Self::from_section(&btf, &Section::of(&btf, "bss", &bss)?))
    }

    /// All 0 if the object is too old to have these variables.
    pub(super) fn from_section(btf: &Btf<'_>, bss: &Section<'_>) -> Self {
        let value = |name| bss.value(btf, name);
        Self {
            exit: serde_json::from_value(value("preload_exit_info")).unwrap_or_default(),
            handover: serde_json::from_value(value("preload_handover")).unwrap_or_default(),
        }
    }

    /// The process for which our scheduler has ended or has to end, as `NAME[PID]`.
    pub fn gave_way(&self) -> Option<String> {
        let Handover { pid, comm, .. } = &self.handover;
        let name = (self.ended_to_give_way() || self.is_loading()).then_some(comm)?;
        Some(match pid {
            // It has tried to attach since.
            0 => name.clone(),
            pid => format!("{name}[{pid}]"),
        })
    }

    /// Did our scheduler end to give way to another one?
    pub fn ended_to_give_way(&self) -> bool {
        (self.exit.kind, self.exit.code) == (EXIT_UNREG_BPF, EXIT_GIVE_WAY)
    }

    /// Is another process loading a scheduler?
    pub fn is_loading(&self) -> bool {
        let pid = self.handover.pid;
        pid != 0 && Path::new(&format!("/proc/{pid}")).exists()
    }
}
