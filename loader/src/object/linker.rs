// SPDX-License-Identifier: GPL-2.0-only
//! Link overrides with the defaults, and refuse what libbpf's linker would pass
//! over in silence or refuse in words that do not say what to do.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use scx_preload_defaults::{HOOKS, Hook, OBJECT, link};

use super::elf::{Binding, BpfObject, Functions, HookSymbol};
use super::kfuncs;
use super::signature::{self, Types};
use crate::{Error, Result, libbpf_log};

/// Names less alike than this are no misspellings of each other.
const ALIKE: f64 = 0.8;

/// What `UEI_DEFINE()` of the sched_ext project's headers is called by nearly everybody.
const EXIT_INFO: &str = "uei";

/// An override's object file.
#[derive(Debug)]
pub struct Override {
    /// Its path, for messages.
    pub name: String,
    bytes: Vec<u8>,
    object: BpfObject,
    types: Types,
}

impl Override {
    /// Read and check the object file at `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(Error::io(format!("cannot read {name}")))?;
        Self::new(name, bytes)
    }

    /// Check the object in `bytes`: it must define at least one hook, each of
    /// them known, strong, and declared as the contract has it.
    pub fn new(name: String, bytes: Vec<u8>) -> Result<Self> {
        let object = BpfObject::parse(&name, &bytes)?;
        let bad = |reason| Error::Object {
            name: name.clone(),
            reason,
        };
        if !object.has_btf {
            return Err(bad("it has no types (BTF); compile it with -g".into()));
        }
        object.check_contract(&name)?;
        object.check_queues(&name)?;
        for hook in &object.hooks {
            if Hook::named(&hook.name).is_none() {
                return Err(bad(unknown(hook)));
            }
            let qualifier = match hook.binding {
                Binding::Global => continue,
                Binding::Weak => "__weak",
                Binding::Local => "static",
            };
            return Err(bad(format!(
                "{}() is {qualifier}, so that the default would run instead; remove {qualifier}",
                place(hook)
            )));
        }
        if object.hooks.is_empty() {
            return Err(bad(
                "it defines no hook; define a function that `scx_preload hooks` lists".into(),
            ));
        }
        check_license(&object).map_err(bad)?;

        let types = Types::read(&name, &bytes)?;
        let contract = signature::contract()?;
        for symbol in &object.hooks {
            let Some(hook) = Hook::named(&symbol.name) else {
                continue;
            };
            if let Some(difference) = types.differs(&contract, hook) {
                return Err(bad(format!(
                    "{}() is not declared as the contract has it: {difference}; write `{}`",
                    place(symbol),
                    hook.signature
                )));
            }
        }
        Ok(Self {
            name,
            bytes,
            object,
            types,
        })
    }

    /// Names of the hooks that it overrides.
    pub fn hooks(&self) -> impl Iterator<Item = &str> {
        self.object.hooks.iter().map(|hook| hook.name.as_str())
    }

    fn hook(&self, name: &str) -> Option<&HookSymbol> {
        self.object.hooks.iter().find(|hook| hook.name == name)
    }
}

/// The hook's name, behind that of its source file.
fn place(hook: &HookSymbol) -> String {
    match &hook.file {
        Some(file) => format!("{}: {}", file.trim_start_matches('/'), hook.name),
        None => hook.name.clone(),
    }
}

fn unknown(hook: &HookSymbol) -> String {
    let near = HOOKS
        .iter()
        .map(|known| (strsim::jaro_winkler(known.name, &hook.name), known.name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(alike, _)| *alike >= ALIKE);
    format!(
        "{}() is not a hook of this contract; {}`scx_preload hooks` lists them",
        place(hook),
        near.map_or(String::new(), |(_, name)| format!("is {name}() meant? "))
    )
}

/// A linked object has one license string, as the sections of all are one.
fn check_license(object: &BpfObject) -> Result<(), String> {
    const OURS: &str = "GPL";
    match &object.license {
        Some(other) if other != OURS => Err(format!(
            "its license string is {other:?}, but a linked object can have one only, and that of \
             the defaults is {OURS:?}; write char _license[] SEC(\"license\") = {OURS:?};"
        )),
        _ => Ok(()),
    }
}

/// Link `overrides` with the defaults to one object. Their order does not
/// matter; two overrides of one hook are an error that names both.
pub fn link_overrides(overrides: &[Override]) -> Result<Vec<u8>> {
    let defaults = BpfObject::parse("built-in defaults", OBJECT)?;
    for (i, second) in overrides.iter().enumerate() {
        for first in &overrides[..i] {
            check_pair(first, second).map_err(Error::Link)?;
        }
        check_names(second, &defaults).map_err(|reason| Error::Object {
            name: second.name.clone(),
            reason,
        })?;
    }
    check_externs(overrides, &defaults)?;

    let mut objects: Vec<&[u8]> = overrides.iter().map(|o| o.bytes.as_slice()).collect();
    objects.push(OBJECT);
    libbpf_log::take();
    let linked = link::link(&objects).map_err(|err| {
        let said = libbpf_log::take();
        let said = said.trim();
        Error::Link(if said.is_empty() {
            err.to_string()
        } else {
            said.to_owned()
        })
    })?;
    check_calls(overrides, &linked)?;
    Ok(linked)
}

/// What there can be one of only.
fn check_pair(first: &Override, second: &Override) -> Result<(), String> {
    let both = format!("{} and {} both", first.name, second.name);
    if let Some(hook) = second.hooks().find(|hook| first.hook(hook).is_some()) {
        return Err(format!("{both} override {hook}(); leave one of them out"));
    }
    let shared = |name: &&String| first.object.globals.contains(name);
    if let Some(name) = second.object.globals.iter().find(shared) {
        return Err(if name == EXIT_INFO {
            format!(
                "{both} have an exit-info record, UEI_DEFINE({name}); give one of them another name"
            )
        } else {
            format!("{both} define {name}; make it static, or give one of them another name")
        });
    }
    if first.types.has_arena() && second.types.has_arena() {
        return Err(format!(
            "{both} define an arena, and a scheduler can have one only; declare that of the other \
             extern in one of them"
        ));
    }
    for &(a, a_count) in &first.object.own_queues {
        let overlaps = |&(b, b_count): &(u64, u64)| {
            a < b.saturating_add(b_count) && b < a.saturating_add(a_count)
        };
        if second.object.own_queues.iter().any(overlaps) {
            return Err(format!(
                "{both} have queues {a:#x}; give one of them another space in PRELOAD_OWN_QUEUES()"
            ));
        }
    }
    Ok(())
}

/// Names of the defaults are taken, but for those of the hooks.
fn check_names(object: &Override, defaults: &BpfObject) -> Result<(), String> {
    let taken = |name: &&String| {
        object.hook(name).is_none() && defaults.globals.iter().any(|own| own == *name)
    };
    match object.object.globals.iter().find(taken) {
        Some(name) => Err(format!(
            "it defines {name}, which the defaults define already; make it static, or give it \
             another name"
        )),
        None => Ok(()),
    }
}

/// What no part defines and no kernel either.
fn check_externs(overrides: &[Override], defaults: &BpfObject) -> Result<()> {
    let parts = overrides.iter().map(|o| &o.object).chain([defaults]);
    let defined: HashSet<&str> = parts
        .flat_map(|object| object.defined.iter().map(String::as_str))
        .collect();
    for part in overrides {
        let missing = |name: &&String| !defined.contains(name.as_str());
        let missing: Vec<_> = part.object.externs.iter().filter(missing).collect();
        if missing.is_empty() {
            continue;
        }
        let (kernel, config) = (part.types.names(".ksyms"), part.types.names(".kconfig"));
        for name in missing {
            let advice = if config.contains(name) {
                "is read with __kconfig, which needs a file with the kernel's configuration that \
                 an initramfs lacks; leave it out"
            } else if kernel.contains(name) {
                continue;
            } else {
                "is used and nobody defines it; link the object that does, or declare it __ksym \
                 __weak if it is the kernel's"
            };
            return Err(Error::Object {
                name: part.name.clone(),
                reason: format!("{name} {advice}"),
            });
        }
    }
    Ok(())
}

/// Calls that the verifier would refuse.
fn check_calls(overrides: &[Override], linked: &[u8]) -> Result<()> {
    let functions = Functions::read(linked);
    for part in overrides {
        for symbol in &part.object.hooks {
            let Some(hook) = Hook::named(&symbol.name) else {
                continue;
            };
            let Some(call) = kfuncs::forbidden(&functions, hook) else {
                continue;
            };
            let through = call
                .through
                .map_or(String::new(), |name| format!(" through {name}()"));
            let allowed: Vec<_> = call.allowed.iter().map(|c| format!("ops.{c}()")).collect();
            return Err(Error::Object {
                name: part.name.clone(),
                reason: format!(
                    "{}() calls {}(){through}, but it is asked from ops.{}(), where the kernel \
                     refuses that; only {} may",
                    place(symbol),
                    call.kfunc,
                    call.callback,
                    allowed.join(", ")
                ),
            });
        }
    }
    Ok(())
}
