// SPDX-License-Identifier: GPL-2.0-only
//! A linked object that can be loaded.

use std::fs;
use std::path::Path;

use crate::{Error, Result};

/// An object and its name in messages.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path or another name.
    pub name: String,
    /// The file's content.
    pub bytes: Vec<u8>,
}

impl Source {
    /// The built-in defaults.
    pub fn built_in() -> Self {
        Self {
            name: "built-in defaults".into(),
            bytes: scx_preload_defaults::ALONE.to_vec(),
        }
    }

    /// The object at `path`, named after its path.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        match fs::read(path) {
            Ok(bytes) => Ok(Self { name, bytes }),
            Err(err) => Err(Error::io(format!("cannot read {name}"))(err)),
        }
    }
}
