// SPDX-License-Identifier: GPL-2.0-only
//! Compiles the overrides and the fixtures for the VMs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use scx_preload_defaults::{HOOKS, OBJECT, VMLINUX_DIR, compile, link, write_headers};

fn main() -> Result<()> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?).join("objects");
    fs::create_dir_all(&out)?;
    write_headers(&headers()?)?;
    println!("cargo:rustc-env=SCX_PRELOAD_OBJECTS={}", out.display());

    for dir in [here.join("../overrides"), here.join("fixtures")] {
        println!("cargo:rerun-if-changed={}", dir.display());
        for entry in fs::read_dir(&dir)? {
            let src = entry?.path();
            let Some(name) = name(&src) else { continue };
            match name {
                "each_hook" => each_hook(&src, &out)?,
                "faults" => faults(&src, &out)?,
                "misspelled" => object(
                    &src,
                    &out.join("misspelled.bpf.o"),
                    &["-Wno-missing-prototypes"],
                )?,
                _ => object(&src, &out.join(format!("{name}.bpf.o")), &[])?,
            }
        }
    }
    unknown_callback(&out)
}

/// The defaults with a callback that no kernel knows: `tick` renamed.
fn unknown_callback(out: &Path) -> Result<()> {
    const KNOWN: &[u8] = b"\0tick\0";
    let mut object = OBJECT.to_vec();
    let at = object.windows(KNOWN.len()).position(|w| w == KNOWN);
    let at = at.context("the defaults have no member tick")?;
    object[at + 1..at + 5].copy_from_slice(b"tock");
    Ok(fs::write(out.join("unknown_callback.bpf.o"), object)?)
}

fn name(src: &Path) -> Option<&str> {
    src.file_name()?.to_str()?.strip_suffix(".bpf.c")
}

fn headers() -> Result<PathBuf> {
    Ok(PathBuf::from(env::var("OUT_DIR")?).join("headers"))
}

fn object(src: &Path, obj: &Path, args: &[&str]) -> Result<()> {
    let headers = headers()?;
    let includes = [VMLINUX_DIR.as_ref(), headers.as_path()];
    compile::object(src, obj, &includes, &[&["-Werror"], args].concat())?;
    Ok(())
}

/// An override of each hook, alone and linked after the defaults, an order that
/// `scx_preload link` does not use.
fn each_hook(src: &Path, out: &Path) -> Result<()> {
    for (n, hook) in HOOKS.iter().enumerate() {
        let obj = out.join(format!("{}.bpf.o", hook.name));
        object(src, &obj, &[&format!("-DOVERRIDE={n}")])?;
        let last = link::link(&[OBJECT, &fs::read(&obj)?])?;
        fs::write(out.join(format!("{}.last.bpf.o", hook.name)), last)?;
    }
    Ok(())
}

/// Builds `fault_<what>` for each `#ifdef FAULT_<WHAT>`.
fn faults(src: &Path, out: &Path) -> Result<()> {
    let text = fs::read_to_string(src)?;
    for fault in text.lines().filter_map(|l| l.strip_prefix("#ifdef ")) {
        let obj = out.join(format!("{}.bpf.o", fault.to_lowercase()));
        object(src, &obj, &[&format!("-D{fault}")])?;
    }
    Ok(())
}
