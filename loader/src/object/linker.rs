// SPDX-License-Identifier: GPL-2.0-only
//! Link overrides with the defaults. Refuses errors that libbpf's linker ignores, or
//! reports without saying what to do.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use scx_preload_defaults::{HOOKS, Hook, OBJECT, link};

use super::elf::{Binding, BpfObject, Functions, HookSymbol};
use super::kfuncs;
use super::signature::{self, Types};
use crate::{Error, Result, libbpf_log};

/// Smallest similarity of a misspelled name.
const ALIKE: f64 = 0.8;

/// The usual argument of `UEI_DEFINE()` of the sched_ext project's headers.
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

    /// Check the object in `bytes`: it must define at least one hook, and each hook must be
    /// known, strong, and declared as in the contract.
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
                "{}() is {qualifier}, so the default would run instead; remove {qualifier}",
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
                    "{}() differs from the contract: {difference}; declare it as `{}`",
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

/// The hook's source file and name.
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
        near.map_or(String::new(), |(_, name)| format!(
            "did you mean {name}()? "
        ))
    )
}

/// A linked object has one license string, as the linker merges the sections.
fn check_license(object: &BpfObject) -> Result<(), String> {
    const OURS: &str = "GPL";
    match &object.license {
        Some(other) if other != OURS => Err(format!(
            "its license string is {other:?}, but a linked object has only one, and the defaults' \
             is {OURS:?}; write char _license[] SEC(\"license\") = {OURS:?};"
        )),
        _ => Ok(()),
    }
}

/// Link `overrides` with the defaults into one object, in any order. Two overrides of one
/// hook are an error that names both.
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

/// Check that neither object defines anything that the other one defines.
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
            "{both} define an arena, and a scheduler can have only one; declare it extern in one of \
             them"
        ));
    }
    for &(a, a_count) in &first.object.own_queues {
        let overlaps = |&(b, b_count): &(u64, u64)| {
            a < b.saturating_add(b_count) && b < a.saturating_add(a_count)
        };
        if second.object.own_queues.iter().any(overlaps) {
            return Err(format!(
                "{both} create DSQ {a:#x}; give one of them another space in PRELOAD_OWN_QUEUES()"
            ));
        }
    }
    Ok(())
}

/// Check that an override defines no name of the defaults but hooks.
fn check_names(object: &Override, defaults: &BpfObject) -> Result<(), String> {
    let taken = |name: &&String| {
        object.hook(name).is_none() && defaults.globals.iter().any(|own| own == *name)
    };
    match object.object.globals.iter().find(taken) {
        Some(name) => Err(format!(
            "it defines {name}, which the defaults define, too; make it static, or give it another \
             name"
        )),
        None => Ok(()),
    }
}

/// Check that each name is defined, by a part or by the kernel.
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
                "is read with __kconfig, which requires the kernel's configuration file, which an \
                 initramfs lacks; leave it out"
            } else if kernel.contains(name) {
                continue;
            } else {
                "is undefined; link the object that defines it, or declare it __ksym __weak if the \
                 kernel does"
            };
            return Err(Error::Object {
                name: part.name.clone(),
                reason: format!("{name} {advice}"),
            });
        }
    }
    Ok(())
}

/// Check that hooks make no calls that the verifier refuses.
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
                    "{}() calls {}(){through}, but it is called from ops.{}(), where the kernel \
                     forbids that; only {} may",
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
