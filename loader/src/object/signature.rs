// SPDX-License-Identifier: GPL-2.0-only
//! Compare declarations of hooks with the contract. libbpf's linker compares sizes only: it
//! accepts an unsigned result instead of a signed one, and a task pointer without the tag
//! that the verifier needs.

use std::collections::{BTreeSet, HashSet};
use std::fs;

use libbpf_rs::btf::types::{
    Array, Composite, DataSec, DeclTag, Func, FuncProto, Int, IntEncoding, Ptr,
};
use libbpf_rs::btf::{Btf, BtfKind, BtfType, ReferencesType};
use scx_preload_defaults::link::memory_file;
use scx_preload_defaults::{Hook, OBJECT};

use crate::btf::variables;
use crate::{Error, Result, libbpf_log};

/// `BPF_MAP_TYPE_ARENA`. A program can use only one arena.
const MAP_TYPE_ARENA: usize = 33;

/// Types nested deeper come from a damaged file.
const DEPTH: usize = 8;

/// Types of an object.
#[derive(Debug)]
pub struct Types(Btf<'static>);

/// The types of a function.
#[derive(Debug, PartialEq, Eq)]
struct Signature {
    result: String,
    arguments: Vec<Argument>,
}

#[derive(Debug, PartialEq, Eq)]
struct Argument {
    ty: String,
    /// Its declaration tags, without `arg:`.
    tags: BTreeSet<String>,
}

impl Types {
    /// Read the BTF of the object file in `bytes`; `name` is for error messages.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self> {
        let failed = || Error::io(format!("{name}: cannot copy it to memory"));
        let (_fd, path) = memory_file().map_err(failed())?;
        fs::write(&path, bytes).map_err(failed())?;
        libbpf_log::take();
        Btf::from_path(&path).map(Self).map_err(|_| Error::Object {
            name: name.to_owned(),
            reason: "its types (BTF) are damaged; recompile it with -g".into(),
        })
    }

    /// Does the object define an arena?
    pub fn has_arena(&self) -> bool {
        variables(&self.0, ".maps").iter().any(|map| {
            let Ok(definition) = Composite::try_from(map.ty) else {
                return false;
            };
            definition.iter().any(|member| {
                member.name.is_some_and(|name| name == "type")
                    && self
                        .0
                        .type_by_id::<Ptr<'_>>(member.ty)
                        .and_then(|ptr| Array::try_from(ptr.referenced_type()).ok())
                        .is_some_and(|array| array.capacity() == MAP_TYPE_ARENA)
            })
        })
    }

    /// Names of what the object declares in `section`, such as `.ksyms`.
    pub fn names(&self, section: &str) -> HashSet<String> {
        let Some(section) = self.0.type_by_name::<DataSec<'_>>(section) else {
            return HashSet::new();
        };
        section
            .iter()
            .filter_map(|entry| self.0.type_by_id::<BtfType<'_>>(entry.ty))
            .filter_map(|ty| Some(ty.name()?.to_string_lossy().into_owned()))
            .collect()
    }

    /// How `hook` differs from the contract, as text; `None` if it does not.
    pub fn differs(&self, contract: &Self, hook: &Hook) -> Option<String> {
        let (Some(ours), Some(wanted)) = (self.signature(hook.name), contract.signature(hook.name))
        else {
            return Some("its types are missing".into());
        };
        if ours.arguments.len() != wanted.arguments.len() {
            return Some(format!(
                "it takes {}, not {}",
                count(ours.arguments.len()),
                count(wanted.arguments.len())
            ));
        }
        if ours.result != wanted.result {
            return Some(format!("it returns {}, not {}", ours.result, wanted.result));
        }
        let pairs = ours.arguments.iter().zip(&wanted.arguments).zip(hook.args);
        for ((ours, wanted), (name, _)) in pairs {
            if ours.ty != wanted.ty {
                return Some(format!("@{name} is {}, not {}", ours.ty, wanted.ty));
            }
            if let Some(tag) = wanted.tags.difference(&ours.tags).next() {
                return Some(format!("@{name} lacks __arg_{tag}"));
            }
            if let Some(tag) = ours.tags.difference(&wanted.tags).next() {
                return Some(format!("@{name} must not have __arg_{tag}"));
            }
        }
        None
    }

    fn signature(&self, function: &str) -> Option<Signature> {
        let function = self.0.type_by_name::<Func<'_>>(function)?;
        let prototype = FuncProto::try_from(function.referenced_type()).ok()?;
        let mut arguments: Vec<_> = prototype
            .iter()
            .map(|argument| Argument {
                ty: self
                    .0
                    .type_by_id::<BtfType<'_>>(argument.ty)
                    .map_or("void".into(), |ty| spelling(ty, DEPTH)),
                tags: BTreeSet::new(),
            })
            .collect();
        for tag in self.0.type_by_kind::<DeclTag<'_>>() {
            if tag.referenced_type().type_id() != function.type_id() {
                continue;
            }
            let word = tag
                .name()
                .and_then(|name| name.to_str()?.strip_prefix("arg:"));
            let argument = tag
                .component_index()
                .and_then(|index| arguments.get_mut(index as usize));
            if let (Some(word), Some(argument)) = (word, argument) {
                argument.tags.insert(word.to_owned());
            }
        }
        Some(Signature {
            result: spelling(prototype.referenced_type(), DEPTH),
            arguments,
        })
    }
}

/// The contract: the types of the defaults.
pub fn contract() -> Result<Types> {
    Types::read("built-in defaults", OBJECT)
}

fn count(arguments: usize) -> String {
    match arguments {
        1 => "1 argument".into(),
        n => format!("{n} arguments"),
    }
}

/// A type in C, without typedefs.
fn spelling(ty: BtfType<'_>, depth: usize) -> String {
    let inner = || match ty.next_type() {
        Some(inner) if depth > 0 => spelling(inner, depth - 1),
        _ => "void".into(),
    };
    let name = || {
        ty.name().map_or("(anonymous)".into(), |name| {
            name.to_string_lossy().into_owned()
        })
    };
    match ty.kind() {
        BtfKind::Void => "void".into(),
        BtfKind::Ptr => format!("{} *", inner()),
        BtfKind::Const => format!("const {}", inner()),
        BtfKind::Volatile => format!("volatile {}", inner()),
        BtfKind::Restrict | BtfKind::Typedef => inner(),
        BtfKind::TypeTag => format!("{} tagged {}", inner(), name()),
        BtfKind::Struct | BtfKind::Fwd => format!("struct {}", name()),
        BtfKind::Union => format!("union {}", name()),
        BtfKind::Enum | BtfKind::Enum64 => format!("enum {}", name()),
        BtfKind::Int => Int::try_from(ty).map_or_else(
            |_| name(),
            |int| match int.encoding {
                IntEncoding::Bool => "bool".into(),
                IntEncoding::Signed => format!("s{}", int.bits),
                _ => format!("u{}", int.bits),
            },
        ),
        _ => name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scx_preload_defaults::HOOKS;

    #[test]
    fn the_defaults_keep_their_own_contract() {
        let types = contract().unwrap();
        for hook in HOOKS {
            assert_eq!(types.differs(&types, hook), None, "{}", hook.name);
        }
        assert!(!types.has_arena());
    }

    #[test]
    fn integers_are_spelled_by_sign_and_size() {
        let types = contract().unwrap();
        let vtime = types.signature("hook_task_vtime").unwrap();
        assert_eq!(vtime.result, "u64");
        assert_eq!(vtime.arguments[0].ty, "struct task_struct *");
        assert!(vtime.arguments[0].tags.contains("trusted"));
        assert_eq!(types.signature("hook_steal_llc").unwrap().result, "s32");
    }
}
