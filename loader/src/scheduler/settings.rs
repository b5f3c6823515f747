// SPDX-License-Identifier: GPL-2.0-only
//! Rodata variables of a scheduler: the user's settings, and the DSQs of overrides.

use libbpf_rs::OpenObject;

use crate::abi::{CONTRACT_VERSION_VARIABLE, OVERRIDDEN_HOOKS, OWN_QUEUES};
use crate::btf::object_btf;
use crate::{Error, Result, btf};

/// Rodata variables that are not settings.
const INTERNAL: [&str; 3] = [CONTRACT_VERSION_VARIABLE, OWN_QUEUES, OVERRIDDEN_HOOKS];

/// `NAME=VALUE` for a rodata variable.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The variable.
    pub name: String,
    /// Its value as text.
    pub value: String,
}

/// Set rodata variables, before the load makes them constants.
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

/// Set the variable with the DSQs to create. An object without it has none.
pub(super) fn set_own_queues(
    object: &mut OpenObject,
    name: &str,
    queues: &[(u64, u64)],
) -> Result<()> {
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
                "its overrides use PRELOAD_OWN_QUEUES() {} times, more than this scheduler supports",
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
