// SPDX-License-Identifier: GPL-2.0-only
//! BPF programs that notice other schedulers and sysrq-S, so that ours gives way.

use libbpf_rs::{Link, MapCore, MapType, Object, OpenObject};

use crate::abi::HANDOVER_PROGRAMS;
use crate::object::source::Source;

/// Attach the handover programs of a loaded object. A failure is no error: without them
/// other schedulers cannot start while ours runs, but ours works.
pub(super) fn attach(source: &Source, object: &Object) -> Vec<(&'static str, Link)> {
    let mut links = Vec::new();
    let mut maps = object.maps();
    let Some(ops) = maps.find(|map| map.map_type() == MapType::StructOps) else {
        return links;
    };
    for (program, pin) in HANDOVER_PROGRAMS {
        let Some(found) = object.progs_mut().find(|prog| prog.name() == program) else {
            log::debug!("{} has no {program}()", source.name);
            break;
        };
        // Without the association scx_bpf_exit() would end any scheduler.
        let attached = found.assoc_struct_ops(&ops).and_then(|()| found.attach());
        match attached {
            Ok(link) => links.push((pin, link)),
            Err(err) => {
                log::warn!(
                    "other schedulers may fail to start while ours runs: cannot attach {program}(): {err:#}"
                );
                break;
            }
        }
    }
    links
}

/// Leave the handover programs out of an object, for a kernel without the functions that
/// they attach to.
pub(super) fn leave_out(object: &mut OpenObject) {
    for mut program in object.progs_mut() {
        if HANDOVER_PROGRAMS
            .iter()
            .any(|(name, _)| program.name() == *name)
        {
            log::warn!(
                "leaving out {}(): this kernel lacks the function that it attaches to",
                program.name().display()
            );
            program.set_autoload(false);
        }
    }
}
