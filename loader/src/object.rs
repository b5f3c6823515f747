// SPDX-License-Identifier: GPL-2.0-only
//! Open an object and adapt it to the running kernel and to the user's wishes.

use libbpf_rs::btf::types::{Composite, MemberAttr};
use libbpf_rs::btf::{Btf, BtfType};
use libbpf_rs::{AsRawLibbpf, MapType, Object, ObjectBuilder, OpenObject, libbpf_sys};
use scx_preload_defaults::HOOKS;

use crate::elf::{Binding, BpfObject};
use crate::scheduler::BESIDE;
use crate::{Error, Result, btf, libbpf_log};

/// Name that the kernel shows for our maps: `preload.bss`, `preload.rodata`.
pub const MAP_PREFIX: &str = "preload";

/// The rodata variable that tells the kernel side, and so `status`, which hooks
/// are overridden: bit n for hook n of the catalogue.
const OVERRIDDEN: &str = "overridden_hooks";

/// Rodata variables that are not the user's to set.
const INTERNAL: [&str; 3] = ["contract_version", OWN_QUEUES, OVERRIDDEN];

/// The rodata variable with the queues that overrides ask for.
const OWN_QUEUES: &str = "own_queues";

const OPS_TYPE: &str = "sched_ext_ops";

/// An object with the name that messages call it by.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path, or what else to call it.
    pub name: String,
    /// The file's content.
    pub bytes: Vec<u8>,
}

/// `NAME=VALUE` for a rodata variable.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The variable.
    pub name: String,
    /// Its value as text.
    pub value: String,
}

/// What libbpf says of a callback that the kernel's ops table has no member for.
const UNKNOWN_MEMBER: &str = "Cannot find member ";

/// What it says of a program for a kernel function that there is not.
const UNKNOWN_FUNCTION: &str = "failed to find kernel BTF type ID of ";

/// Open `source`, check its contract, and apply `settings`.
pub fn open(source: &Source, settings: &[Setting]) -> Result<OpenObject> {
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
        name: OVERRIDDEN.into(),
        value: overridden.to_string(),
    });
    set_rodata(&mut object, &all)?;
    set_own_queues(&mut object, &source.name, &elf.own_queues)?;
    Ok(object)
}

/// Open `source` and load it: the verifier's turn. Callbacks that the running
/// kernel does not know are left out.
pub fn load(source: &Source, settings: &[Setting]) -> Result<Object> {
    let opened = open(source, settings)?;
    libbpf_log::take();
    let mut result = opened.load();
    let mut log = libbpf_log::take();
    // Finding them means to go through all of the kernel's types, which libbpf does
    // for itself: only if it says that there are some.
    let (member, function) = (log.contains(UNKNOWN_MEMBER), log.contains(UNKNOWN_FUNCTION));
    if result.is_err() && (member || function) {
        let mut opened = open(source, settings)?;
        if member {
            drop_unknown_callbacks(&mut opened)?;
        }
        if function {
            drop_beside(&mut opened);
        }
        libbpf_log::take();
        result = opened.load();
        log = libbpf_log::take();
    }
    result.map_err(|err| refused(source, "the kernel cannot load it", err, log))
}

fn refused(source: &Source, what: &str, err: libbpf_rs::Error, log: String) -> Error {
    let reason = libbpf_log::decisive_line(&log).map_or_else(|| err.to_string(), str::to_owned);
    Error::Refused {
        name: source.name.clone(),
        summary: format!("{what}: {reason}"),
        log,
    }
}

/// The object's BTF, whose section offsets libbpf has filled in.
pub fn object_btf(
    object: &impl AsRawLibbpf<LibbpfType = libbpf_sys::bpf_object>,
) -> Result<Btf<'_>> {
    // SAFETY: the pointer is that of a live object, which the result borrows.
    let raw = unsafe { object.as_libbpf_object().as_ref() };
    Btf::from_bpf_object(raw)
        .map_err(Error::libbpf("cannot read the object's BTF"))?
        .ok_or_else(|| Error::Object {
            name: MAP_PREFIX.into(),
            reason: "it has no BTF; compile it with -g".into(),
        })
}

fn object_name(object: &OpenObject) -> String {
    object
        .name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Give rodata variables their values, before the load makes them constants.
pub fn set_rodata(object: &mut OpenObject, settings: &[Setting]) -> Result<()> {
    let mut writes = Vec::new();
    {
        let btf = object_btf(object)?;
        let variables = btf::variables(&btf, ".rodata");
        for setting in settings {
            let failed = |reason| Error::Setting {
                name: setting.name.clone(),
                reason,
            };
            let Some(variable) = variables.iter().find(|v| v.name == setting.name) else {
                let known: Vec<_> = variables
                    .iter()
                    .filter(|v| btf::parse_scalar(v.ty, v.size, "0").is_ok())
                    .map(|v| v.name.as_str())
                    .filter(|name| !INTERNAL.contains(name))
                    .collect();
                return Err(failed(format!(
                    "the object has no such variable; it has {}",
                    known.join(", ")
                )));
            };
            let bytes =
                btf::parse_scalar(variable.ty, variable.size, &setting.value).map_err(failed)?;
            writes.push((variable.offset, bytes));
        }
    }

    write_rodata(object, &writes);
    Ok(())
}

/// Tell the scheduler which queues to make. An object without the variable has none.
fn set_own_queues(object: &mut OpenObject, name: &str, queues: &[(u64, u64)]) -> Result<()> {
    if queues.is_empty() {
        return Ok(());
    }
    let place = {
        let btf = object_btf(object)?;
        let variables = btf::variables(&btf, ".rodata");
        let variable = variables.iter().find(|v| v.name == OWN_QUEUES);
        variable.map(|v| (v.offset, v.size))
    };
    let bytes: Vec<u8> = queues
        .iter()
        .flat_map(|(first, count)| [first.to_ne_bytes(), count.to_ne_bytes()])
        .flatten()
        .collect();
    match place {
        Some((offset, size)) if bytes.len() <= size => {
            write_rodata(object, &[(offset, bytes)]);
            Ok(())
        }
        _ => Err(Error::Object {
            name: name.to_owned(),
            reason: format!(
                "its overrides declare PRELOAD_OWN_QUEUES {} times, more than this scheduler has room for",
                queues.len()
            ),
        }),
    }
}

fn write_rodata(object: &mut OpenObject, writes: &[(usize, Vec<u8>)]) {
    for mut map in object.maps_mut() {
        if !map.name().to_string_lossy().ends_with(".rodata") {
            continue;
        }
        let Some(rodata) = map.initial_value_mut() else {
            continue;
        };
        for (offset, bytes) in writes {
            if let Some(place) = rodata.get_mut(*offset..offset + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
    }
}

/// The scheduler does without what notices others where the kernel's functions differ.
fn drop_beside(object: &mut OpenObject) {
    for mut program in object.progs_mut() {
        if BESIDE.iter().any(|(name, _)| program.name() == *name) {
            log::warn!(
                "leaving out {}(): this kernel lacks its function",
                program.name().display()
            );
            program.set_autoload(false);
        }
    }
}

/// A callback that is set but unknown to the kernel fails the load: null it.
fn drop_unknown_callbacks(object: &mut OpenObject) -> Result<()> {
    let kernel = Btf::from_vmlinux()
        .map_err(|err| Error::Unsupported(format!("its own BTF cannot be read ({err})")))?;
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
                log::debug!("leaving out ops.{name}(): this kernel does not know it");
                slot.fill(0);
            }
        }
    }
    Ok(())
}
