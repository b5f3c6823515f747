// SPDX-License-Identifier: GPL-2.0-only
//! Numbers that outlive process and scheduler, in a pinned map: until the kernel ends or
//! the pin is removed.

use std::fs;

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, libbpf_sys};

use crate::{Error, Result};

/// A pinned map of `N` numbers.
pub(crate) struct Record<const N: usize> {
    /// Its pin.
    pub path: &'static str,
    /// The name that the kernel shows.
    pub name: &'static str,
}

impl<const N: usize> Record<N> {
    /// None if it is not pinned.
    pub fn read(&self) -> Result<Option<[u64; N]>> {
        let Some(map) = self.open()? else {
            return Ok(None);
        };
        let bytes = map
            .lookup(&[0; 4], MapFlags::ANY)
            .map_err(self.failed("read"))?
            .unwrap_or_default();
        let mut words = [0; N];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        }
        Ok(Some(words))
    }

    /// Write the numbers, and pin the map if it is not pinned yet.
    pub fn write(&self, words: [u64; N]) -> Result<()> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let set = |map: &MapHandle| {
            map.update(&[0; 4], &bytes, MapFlags::ANY)
                .map_err(self.failed("write"))
        };
        if let Some(map) = self.open()? {
            return set(&map);
        }
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
            ..Default::default()
        };
        let size = size_of::<[u64; N]>() as u32;
        let mut map = MapHandle::create(MapType::Array, Some(self.name), 4, size, 1, &options)
            .map_err(self.failed("create"))?;
        // Before the pin: no reader may find it empty.
        set(&map)?;
        map.pin(self.path).map_err(self.failed("pin"))
    }

    fn open(&self) -> Result<Option<MapHandle>> {
        if !fs::exists(self.path).unwrap_or(false) {
            return Ok(None);
        }
        let map = MapHandle::from_pinned_path(self.path).map_err(self.failed("open"))?;
        Ok(Some(map))
    }

    fn failed(&self, what: &str) -> impl FnOnce(libbpf_rs::Error) -> Error {
        Error::libbpf(format!("cannot {what} {}", self.path))
    }
}
