// SPDX-License-Identifier: GPL-2.0-only
//! Read and write typed data by its BTF: no layout is defined twice.

use libbpf_rs::btf::types::{Array, Composite, DataSec, Int, IntEncoding, MemberAttr, Var};
use libbpf_rs::btf::{Btf, BtfType, ReferencesType};
use libbpf_rs::{AsRawLibbpf, libbpf_sys};
use serde_json::{Map, Value};

use crate::abi::MAP_PREFIX;
use crate::{Error, Result};

/// A global variable and its location in a section.
pub struct Variable<'btf> {
    /// Its name.
    pub name: String,
    /// Its type, without typedefs and qualifiers.
    pub ty: BtfType<'btf>,
    /// Offset in the section, bytes.
    pub offset: usize,
    /// Size, bytes.
    pub size: usize,
}

/// The variables of `section`, such as `.rodata`.
pub fn variables<'btf>(btf: &'btf Btf<'_>, section: &str) -> Vec<Variable<'btf>> {
    let Some(datasec) = btf.type_by_name::<DataSec<'_>>(section) else {
        return Vec::new();
    };
    datasec
        .iter()
        .filter_map(|info| {
            let var: Var<'btf> = btf.type_by_id(info.ty)?;
            Some(Variable {
                name: var.name()?.to_str()?.to_owned(),
                ty: var.referenced_type().skip_mods_and_typedefs(),
                offset: info.offset as usize,
                size: info.size,
            })
        })
        .collect()
}

/// The object's BTF. libbpf has filled in its section offsets.
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

/// The text in an array of char.
pub fn text(chars: &[i8]) -> String {
    let bytes: Vec<u8> = chars
        .iter()
        .map(|&c| c as u8)
        .take_while(|&c| c != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The value of type `ty` in `bytes`, without padding (`__*`). Null for types without a
/// meaning in user space, such as pointers, and for truncated data.
pub fn to_json(btf: &Btf<'_>, ty: BtfType<'_>, bytes: &[u8]) -> Value {
    let ty = ty.skip_mods_and_typedefs();
    if let Ok(int) = Int::try_from(ty) {
        let size = usize::from(int.bits).div_ceil(8);
        return bytes
            .get(..size)
            .map_or(Value::Null, |b| match int.encoding {
                IntEncoding::Bool => Value::from(b.iter().any(|&byte| byte != 0)),
                IntEncoding::Signed => Value::from(signed(b)),
                _ => Value::from(unsigned(b)),
            });
    }
    if let Ok(array) = Array::try_from(ty) {
        let element = array.contained_type();
        return bytes
            .chunks_exact(size_of_type(btf, element).max(1))
            .take(array.capacity())
            .map(|value| to_json(btf, element, value))
            .collect();
    }
    if let Ok(composite) = Composite::try_from(ty) {
        let mut object = Map::new();
        for member in composite.iter() {
            let MemberAttr::Normal { offset } = member.attr else {
                continue;
            };
            let (Some(name), Some(ty), Some(value)) = (
                member.name.and_then(|name| name.to_str()),
                btf.type_by_id::<BtfType<'_>>(member.ty),
                bytes.get(offset as usize / 8..),
            ) else {
                continue;
            };
            if name.starts_with("__") {
                continue;
            }
            object.insert(name.to_owned(), to_json(btf, ty, value));
        }
        return Value::Object(object);
    }
    Value::Null
}

/// Size of a type in bytes; 0 if it has none.
pub fn size_of_type(btf: &Btf<'_>, ty: BtfType<'_>) -> usize {
    let id = ty.type_id().into();
    // SAFETY: the pointer is valid as long as `btf` lives; libbpf checks the id.
    let size = unsafe { libbpf_sys::btf__resolve_size(btf.as_libbpf_object().as_ptr(), id) };
    usize::try_from(size).unwrap_or(0)
}

/// `text` as the bytes of an integer or boolean of type `ty`.
pub fn parse_scalar(ty: BtfType<'_>, size: usize, text: &str) -> Result<Vec<u8>, String> {
    let int = Int::try_from(ty).map_err(|_| "only integers and booleans can be set".to_owned())?;
    let number: i128 = match (int.encoding, text) {
        (IntEncoding::Bool, "true" | "1" | "on" | "yes") => 1,
        (IntEncoding::Bool, "false" | "0" | "off" | "no") => 0,
        (IntEncoding::Bool, _) => {
            return Err(format!("{text:?} is not a boolean; use true or false"));
        }
        _ => text
            .replace('_', "")
            .parse()
            .map_err(|_| format!("{text:?} is not a whole number"))?,
    };
    let bits = 8 * size as u32;
    let (low, high) = match int.encoding {
        IntEncoding::Signed => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
        _ => (0, (1i128 << bits) - 1),
    };
    if number < low || number > high {
        return Err(format!("{text} is not between {low} and {high}"));
    }
    let bytes = number.to_ne_bytes();
    Ok(if cfg!(target_endian = "little") {
        bytes[..size].to_vec()
    } else {
        bytes[bytes.len() - size..].to_vec()
    })
}

/// The string at `offset` of the BTF's string table.
pub fn string(btf: &Btf<'_>, offset: u32) -> Option<String> {
    // SAFETY: the pointer is valid as long as `btf` lives; libbpf checks the offset.
    let text = unsafe { libbpf_sys::btf__name_by_offset(btf.as_libbpf_object().as_ptr(), offset) };
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, so it points to a terminated string in `btf`.
    let text = unsafe { std::ffi::CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}

fn unsigned(bytes: &[u8]) -> u64 {
    let digit = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    if cfg!(target_endian = "little") {
        bytes.iter().rev().fold(0, digit)
    } else {
        bytes.iter().fold(0, digit)
    }
}

fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len().clamp(1, 8) as u32;
    ((unsigned(bytes) << unused) as i64) >> unused
}
