// SPDX-License-Identifier: GPL-2.0-only
//! BPF programs beside the scheduler: they notice other schedulers and sysrq-S, so that ours
//! gives way, and new scheduling domains.

use libbpf_rs::{Link, MapCore, MapType, Object, OpenObject};

use crate::abi::{PROGRAMS_BESIDE, ProgramBeside};
use crate::object::source::Source;

/// Attach the programs beside a loaded object's scheduler. A failure is no error: without them
/// other schedulers cannot start while ours runs, but ours works.
pub(super) fn attach(source: &Source, object: &Object) -> Vec<(&'static str, Link)> {
    let mut attached = Vec::new();
    let mut links = Vec::new();
    let mut maps = object.maps();
    let Some(ops) = maps.find(|map| map.map_type() == MapType::StructOps) else {
        return links;
    };
    for program in &PROGRAMS_BESIDE {
        let Some(found) = object.progs_mut().find(|prog| prog.name() == program.name) else {
            log::debug!("{} has no {}()", source.name, program.name);
            continue;
        };
        if !found.autoload() || !program.needs.iter().all(|name| attached.contains(name)) {
            log::debug!("{}() is not attached", program.name);
            continue;
        }
        // Without the association scx_bpf_exit() would end any scheduler.
        let link = found.assoc_struct_ops(&ops).and_then(|()| found.attach());
        match link {
            Ok(link) => {
                attached.push(program.name);
                links.push((program.pin, link));
            }
            Err(err) => log::warn!(
                "{}: cannot attach {}(): {err:#}",
                program.without,
                program.name
            ),
        }
    }
    links
}

/// The program beside the scheduler that libbpf's messages about a failed load blame, if any.
pub(super) fn blamed(log: &str) -> Option<&'static ProgramBeside> {
    PROGRAMS_BESIDE.iter().find(|program| {
        let said = format!("prog '{}': ", program.name);
        log.lines().any(|line| line.trim().starts_with(&said))
    })
}

/// Leave such a program out of an object, as the kernel does not take it.
pub(super) fn leave_out(object: &mut OpenObject, program: &ProgramBeside) {
    for mut found in object.progs_mut() {
        if found.name() == program.name {
            found.set_autoload(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blamed_is_who_failed() {
        let name = |log| blamed(log).map(|program| program.name);
        assert_eq!(
            name(
                "prog 'preload_left': failed to find kernel BTF type ID of 'scx_disable_workfn': -3"
            ),
            Some("preload_left")
        );
        assert_eq!(
            name(
                "prog 'preload_give_way': BPF program load failed: -EINVAL\n\
                 prog 'preload_give_way': -- BEGIN PROG LOAD LOG --\n"
            ),
            Some("preload_give_way")
        );
        assert_eq!(
            name("prog 'preload_dispatch': failed to load: -EACCES"),
            None
        );
    }
}
