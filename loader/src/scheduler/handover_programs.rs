// SPDX-License-Identifier: GPL-2.0-only
//! BPF programs that notice other schedulers and sysrq-S, so that ours gives way.

use libbpf_rs::{Link, MapCore, MapType, Object, OpenObject};

use crate::abi::HANDOVER_PROGRAMS;
use crate::object::source::Source;

/// Attach what notices other schedulers. Without it nobody can start one beside ours,
/// which is no reason to do without ours.
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
        // Otherwise scx_bpf_exit() would end whatever scheduler there is.
        let attached = found.assoc_struct_ops(&ops).and_then(|()| found.attach());
        match attached {
            Ok(link) => links.push((pin, link)),
            Err(err) => {
                log::warn!("other schedulers may find ours in their way: {program}(): {err:#}");
                break;
            }
        }
    }
    links
}

/// The scheduler does without what notices others where the kernel's functions differ.
pub(super) fn leave_out(object: &mut OpenObject) {
    for mut program in object.progs_mut() {
        if HANDOVER_PROGRAMS
            .iter()
            .any(|(name, _)| program.name() == *name)
        {
            log::warn!(
                "leaving out {}(): this kernel lacks its function",
                program.name().display()
            );
            program.set_autoload(false);
        }
    }
}
