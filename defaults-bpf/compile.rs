// SPDX-License-Identifier: GPL-2.0-only
//! Compile one `.bpf.c` the way that the contract asks for.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use libbpf_rs::libbpf_sys::API_HEADERS;

/// Versions to look for when `clang` is too old or missing, newest first.
const CLANG_MAJORS: std::ops::RangeInclusive<u32> = 18..=23;

/// Warnings that are errors: each of them is a mistake that static linking
/// would pass over in silence, such as a misspelled hook.
const WARNINGS: &[&str] = &[
    "-Wall",
    "-Werror",
    "-Wmissing-prototypes",
    "-Wmicrosoft-redeclare-static",
    "-Wno-compare-distinct-pointer-types",
];

/// Name of a clang that can compile the sources: `$BPF_CLANG`, or the newest
/// that is installed.
pub fn clang() -> Result<String> {
    if let Ok(clang) = env::var("BPF_CLANG") {
        return Ok(clang);
    }
    let versioned = CLANG_MAJORS.rev().map(|major| format!("clang-{major}"));
    for clang in versioned.chain(["clang".into()]) {
        let Ok(out) = Command::new(&clang).arg("-dumpversion").output() else {
            continue;
        };
        let version = String::from_utf8_lossy(&out.stdout);
        let major = version.split('.').next().and_then(|m| m.parse().ok());
        if major.is_some_and(|major: u32| major >= *CLANG_MAJORS.start()) {
            return Ok(clang);
        }
    }
    bail!(
        "no clang >= {} found; install one (Debian: apt install clang-19) or name it in BPF_CLANG",
        CLANG_MAJORS.start()
    )
}

/// Compile `src` to the BPF object `obj`. `includes` holds the directories of
/// `vmlinux.h` and of `scx_preload/*.h`; `args` are further compiler arguments.
///
/// clang is called directly: libbpf-cargo's builder passes each object through
/// the linker, after which its extern maps clash with their definitions.
pub fn object(src: &Path, obj: &Path, includes: &[&Path], args: &[&str]) -> Result<()> {
    let headers = obj.with_extension("include");
    fs::create_dir_all(headers.join("bpf"))?;
    for (name, text) in API_HEADERS {
        fs::write(headers.join("bpf").join(name), text)?;
    }

    let mut clang = Command::new(clang()?);
    clang
        .args(["-target", "bpf", "-g", "-O2", "-mcpu=v3"])
        .arg(format!("-D__TARGET_ARCH_{}", arch()))
        .args(WARNINGS)
        .args(args)
        .arg("-c")
        .arg(src)
        .arg("-o")
        .arg(obj);
    for dir in includes.iter().chain([&headers.as_path()]) {
        clang.arg("-I").arg(dir);
    }
    // Line info shows file names to users; where they were built is nobody's business.
    if let Some(dir) = src.parent() {
        clang.arg(format!("-ffile-prefix-map={}/=", dir.display()));
    }
    let out = clang.output().context("cannot run clang")?;
    ensure!(
        out.status.success(),
        "cannot compile {}:\n{}",
        src.display(),
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}

/// The architecture in the kernel's spelling, as `bpf_tracing.h` wants it.
pub fn arch() -> String {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| env::consts::ARCH.into());
    match arch.as_str() {
        "x86_64" => "x86".into(),
        "aarch64" => "arm64".into(),
        "powerpc64" => "powerpc".into(),
        "riscv64" => "riscv".into(),
        "s390x" => "s390".into(),
        _ => arch,
    }
}
