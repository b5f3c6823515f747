// SPDX-License-Identifier: GPL-2.0-only
//! Link overrides with the defaults, and refuse what libbpf's linker would pass
//! over in silence.

use std::fs;
use std::path::Path;

use scx_preload_defaults::{HOOKS, OBJECT, link};

use crate::elf::{Binding, BpfObject};
use crate::{Error, Result, libbpf_log};

/// An override's object file.
#[derive(Debug)]
pub struct Override {
    /// Its path, for messages.
    pub name: String,
    bytes: Vec<u8>,
    object: BpfObject,
}

impl Override {
    /// Read and check the object file at `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(Error::io(format!("cannot read {name}")))?;
        Self::new(name, bytes)
    }

    /// Check the object in `bytes`: it must define at least one hook, each of
    /// them known and strong.
    pub fn new(name: String, bytes: Vec<u8>) -> Result<Self> {
        let object = BpfObject::parse(&name, &bytes)?;
        object.check_contract(&name)?;
        let bad = |reason| Error::Object {
            name: name.clone(),
            reason,
        };
        for hook in &object.hooks {
            if !HOOKS.iter().any(|known| known.name == hook.name) {
                return Err(bad(format!(
                    "{}() is not a hook of this contract; `scx_preload hooks` lists them",
                    hook.name
                )));
            }
            let qualifier = match hook.binding {
                Binding::Global => continue,
                Binding::Weak => "__weak",
                Binding::Local => "static",
            };
            return Err(bad(format!(
                "{}() is {qualifier}, so that the default would run instead; remove {qualifier}",
                hook.name
            )));
        }
        if object.hooks.is_empty() {
            return Err(bad(
                "it defines no hook; define a function that `scx_preload hooks` lists".into(),
            ));
        }
        Ok(Self {
            name,
            bytes,
            object,
        })
    }

    /// Names of the hooks that it overrides.
    pub fn hooks(&self) -> impl Iterator<Item = &str> {
        self.object.hooks.iter().map(|hook| hook.name.as_str())
    }
}

/// Link `overrides` with the defaults to one object. Their order does not
/// matter; two overrides of one hook are an error that names both.
pub fn link_overrides(overrides: &[Override]) -> Result<Vec<u8>> {
    for (i, second) in overrides.iter().enumerate() {
        for first in &overrides[..i] {
            if let Some(hook) = second
                .hooks()
                .find(|hook| first.hooks().any(|h| h == *hook))
            {
                return Err(Error::Link(format!(
                    "{} and {} both override {hook}(); leave one of them out",
                    first.name, second.name
                )));
            }
        }
    }

    let mut objects: Vec<&[u8]> = overrides.iter().map(|o| o.bytes.as_slice()).collect();
    objects.push(OBJECT);
    libbpf_log::take();
    link::link(&objects).map_err(|err| {
        let said = libbpf_log::take();
        let said = said.trim();
        Error::Link(if said.is_empty() {
            err.to_string()
        } else {
            said.to_owned()
        })
    })
}
