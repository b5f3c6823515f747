// SPDX-License-Identifier: GPL-2.0-only
//! Open an object, apply settings, adapt it to the running kernel, and load it.

use libbpf_rs::btf::types::{Composite, MemberAttr};
use libbpf_rs::btf::{Btf, BtfType};
use libbpf_rs::{MapType, Object, ObjectBuilder, OpenObject};
use scx_preload_defaults::HOOKS;

use super::programs_beside;
use super::settings::{Setting, set_own_queues, set_rodata};
use crate::abi::{MAP_PREFIX, OPS_TYPE, OVERRIDDEN_HOOKS, ProgramBeside};
use crate::btf::object_btf;
use crate::object::elf::{Binding, BpfObject};
use crate::object::source::Source;
use crate::{Error, Result, libbpf_log};

/// libbpf's message about a callback without a member in the kernel's struct.
const UNKNOWN_MEMBER: &str = "Cannot find member ";

/// Open `source`, check its contract, and apply `settings`.
fn open(source: &Source, settings: &[Setting]) -> Result<OpenObject> {
    let elf = BpfObject::parse(&source.name, &source.bytes)?;
    elf.check_contract(&source.name)?;
    elf.check_queues(&source.name)?;

    libbpf_log::take();
    let mut object = ObjectBuilder::default()
        .name(MAP_PREFIX)
        .and_then(|builder| builder.open_memory(&source.bytes))
        .map_err(|err| refused(source, "libbpf cannot open it", err, libbpf_log::take()))?;

    let overridden = HOOKS
        .iter()
        .enumerate()
        .filter(|(_, hook)| elf.hook(hook).is_some_and(|h| h.binding == Binding::Global))
        .fold(0u64, |bits, (n, _)| bits | 1 << n);
    let mut all = settings.to_vec();
    all.push(Setting {
        name: OVERRIDDEN_HOOKS.into(),
        value: overridden.to_string(),
    });
    set_rodata(&mut object, &all)?;
    set_own_queues(&mut object, &source.name, &elf.own_queues)?;
    Ok(object)
}

/// Open `source` and load it, which runs the verifier. Callbacks unknown to the running
/// kernel are left out, and so are programs beside the scheduler that it refuses.
pub(crate) fn load_into_kernel(source: &Source, settings: &[Setting]) -> Result<Object> {
    let mut drop_callbacks = false;
    let mut left_out: Vec<&ProgramBeside> = Vec::new();
    loop {
        let mut opened = open(source, settings)?;
        if drop_callbacks {
            drop_unknown_callbacks(&mut opened)?;
        }
        for program in &left_out {
            programs_beside::leave_out(&mut opened, program);
        }
        libbpf_log::take();
        let result = opened.load();
        let log = libbpf_log::take();
        let err = match result {
            Ok(object) => return Ok(object),
            Err(err) => err,
        };
        let known = |program: &ProgramBeside| left_out.iter().any(|p| p.name == program.name);
        // Finding unknown callbacks takes a walk over the kernel's types, which libbpf has
        // done already: only if it reports some.
        if log.contains(UNKNOWN_MEMBER) && !drop_callbacks {
            drop_callbacks = true;
        } else if let Some(program) = programs_beside::blamed(&log).filter(|p| !known(p)) {
            log::warn!(
                "{}: leaving out {}(), which this kernel does not take: {}",
                program.without,
                program.name,
                libbpf_log::decisive_line(&log).unwrap_or("no reason given")
            );
            left_out.push(program);
        } else {
            return Err(refused(source, "the kernel cannot load it", err, log));
        }
    }
}

/// The verifier's message about a kernel function that BPF programs cannot call.
const NO_KFUNC: &str = "is referenced but wasn't resolved";

fn refused(source: &Source, what: &str, err: libbpf_rs::Error, log: String) -> Error {
    let mut reason = libbpf_log::decisive_line(&log).map_or_else(|| err.to_string(), str::to_owned);
    if reason.ends_with(NO_KFUNC) {
        reason += "; this kernel is older than Linux 7.2, or its build lost the function from its BTF, \
                   as Debian's 7.1.3 to 7.2.12 did; boot another kernel";
    }
    Error::Refused {
        name: source.name.clone(),
        summary: format!("{what}: {reason}"),
        log,
    }
}

fn object_name(object: &OpenObject) -> String {
    object
        .name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Clear callbacks unknown to the kernel, which would fail the load.
fn drop_unknown_callbacks(object: &mut OpenObject) -> Result<()> {
    let kernel = Btf::from_vmlinux()
        .map_err(|err| Error::Unsupported(format!("cannot read its BTF: {err}")))?;
    let Some(known) = kernel.type_by_name::<Composite<'_>>(OPS_TYPE) else {
        return Err(Error::Unsupported(format!(
            "its BTF has no struct {OPS_TYPE}"
        )));
    };

    let mut unknown = Vec::new();
    {
        let btf = object_btf(object)?;
        let Some(ours) = btf.type_by_name::<Composite<'_>>(OPS_TYPE) else {
            return Err(Error::Object {
                name: object_name(object),
                reason: format!("it has no struct {OPS_TYPE}; link it with `scx_preload link`"),
            });
        };
        for member in ours.iter() {
            let MemberAttr::Normal { offset } = member.attr else {
                continue;
            };
            let pointer = btf
                .type_by_id::<BtfType<'_>>(member.ty)
                .is_some_and(|ty| libbpf_rs::btf::types::Ptr::try_from(ty).is_ok());
            if pointer && !known.iter().any(|m| m.name == member.name) {
                let name = member.name.map(|n| n.to_string_lossy().into_owned());
                unknown.push((name.unwrap_or_default(), offset as usize / 8));
            }
        }
    }

    for mut map in object.maps_mut() {
        if map.map_type() != MapType::StructOps {
            continue;
        }
        let Some(ops) = map.initial_value_mut() else {
            continue;
        };
        for (name, offset) in &unknown {
            if let Some(slot) = ops.get_mut(*offset..offset + size_of::<usize>())
                && slot.iter().any(|&byte| byte != 0)
            {
                log::debug!("leaving out ops.{name}(): unknown to this kernel");
                slot.fill(0);
            }
        }
    }
    Ok(())
}
