// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's statistics of the scheduler's BPF programs.

use libbpf_rs::ProgramType;
use libbpf_rs::btf::types::Func;
use libbpf_rs::btf::{Btf, TypeId};
use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions, ProgramInfo};

/// Members of `struct sched_ext_ops`; other programs keep their own names.
const CALLBACKS: &[&str] = &[
    "select_cpu",
    "enqueue",
    "dequeue",
    "dispatch",
    "tick",
    "runnable",
    "running",
    "stopping",
    "quiescent",
    "yield",
    "core_sched_before",
    "set_weight",
    "set_cpumask",
    "update_idle",
    "cpu_acquire",
    "cpu_release",
    "init_task",
    "exit_task",
    "enable",
    "disable",
    "dump",
    "dump_cpu",
    "dump_task",
    "cgroup_init",
    "cgroup_exit",
    "cgroup_prep_move",
    "cgroup_move",
    "cgroup_cancel_move",
    "cgroup_set_weight",
    "cpu_online",
    "cpu_offline",
    "init",
    "exit",
];

/// A BPF program of the scheduler.
#[derive(Clone)]
pub struct Program {
    pub callback: String,
    pub id: u32,
    pub verified_insns: u32,
    pub run_ns: u64,
    pub runs: u64,
}

/// All loaded struct_ops programs; there is only one scheduler at a time.
pub fn programs() -> Vec<Program> {
    let options = ProgInfoQueryOptions::default().include_func_info(true);
    ProgInfoIter::with_query_opts(options)
        .filter(|info| info.ty == ProgramType::StructOps)
        .map(|info| Program {
            callback: callback(&full_name(&info)),
            id: info.id,
            verified_insns: info.verified_insns,
            run_ns: info.run_time_ns,
            runs: info.run_cnt,
        })
        .collect()
}

/// The name in BTF; that in the program info is truncated to 15 bytes.
fn full_name(info: &ProgramInfo) -> String {
    let from_btf = || {
        let btf = Btf::from_prog_id(info.id).ok()?;
        let id = info.func_info.first()?.type_id;
        let func: Func = btf.type_by_id(TypeId::from(id))?;
        Some(func.name()?.display().to_string())
    };
    from_btf().unwrap_or_else(|| info.name.display().to_string())
}

/// `preload_select_cpu` becomes `select_cpu`.
fn callback(name: &str) -> String {
    let fits = |callback: &&&str| {
        name.strip_suffix(**callback)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))
    };
    let longest = CALLBACKS.iter().filter(fits).max_by_key(|c| c.len());
    longest.map_or(name, |c| c).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callbacks() {
        assert_eq!(callback("preload_init_task"), "init_task");
        assert_eq!(callback("lavd_init"), "init");
        assert_eq!(callback("on_sched_switch"), "on_sched_switch");
    }
}
