// SPDX-License-Identifier: GPL-2.0-only
//! Somebody else's sched_ext scheduler: attached as long as this runs, as those
//! of the sched_ext project are, or, given a path, as long as it is pinned there.

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapType, ObjectBuilder};

const OBJECT: &[u8] = include_bytes!(concat!(env!("SCX_PRELOAD_OBJECTS"), "/other.bpf.o"));

fn main() -> Result<()> {
    let mut object = ObjectBuilder::default().open_memory(OBJECT)?.load()?;
    let mut ops = object
        .maps_mut()
        .find(|map| map.map_type() == MapType::StructOps)
        .context("no ops table")?;
    let mut link = ops.attach_struct_ops()?;
    if let Some(path) = std::env::args().nth(1) {
        return Ok(link.pin(path)?);
    }
    loop {
        std::thread::park();
    }
}
