// SPDX-License-Identifier: GPL-2.0-only
//! A few numbers that outlive the process and the scheduler: a pinned map, kept as long
//! as the kernel runs or until it is removed.

use std::fs;

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, libbpf_sys};

use crate::{Error, Result};

/// Where the numbers are, `N` of them.
pub(crate) struct Record<const N: usize> {
    /// Its pin.
    pub path: &'static str,
    /// The name that the kernel shows.
    pub name: &'static str,
}

impl<const N: usize> Record<N> {
    /// None if there is none.
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

    /// Pin it if it is not there yet.
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
        // Whoever finds it finds the numbers in it.
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
