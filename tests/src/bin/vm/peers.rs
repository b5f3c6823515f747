// SPDX-License-Identifier: GPL-2.0-only
//! The schedulers that the benchmark compares with: those in Rust from crates.io, scx_simple
//! from Debian's source package of the newest kernel.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use scx_preload_defaults::{VMLINUX_DIR, compile, write_headers};
use scx_preload_tests::bench::{LAYERED, PEERS, PEERS_FILE, Peer, SIMPLE};

use crate::apt::{Mirror, Suite};
use crate::cache::Cache;
use crate::cpio::Archive;
use crate::kernel::{Kernel, output};
use crate::lab::NEWEST;
use crate::{programs, step};

/// cargo's target directory, shared because they have most dependencies in common.
const TARGET: &str = "peers/target";

/// Builds the schedulers in `names`; prints a line for each that cannot be built.
pub fn get(cache: &Cache, mirror: &Mirror, names: &[&str]) -> Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for name in names {
        let known = PEERS.iter().find(|(n, _)| n == name);
        let (_, version) = known.with_context(|| format!("unknown scheduler {name:?}"))?;
        match peer(cache, mirror, name, *version) {
            Ok(peer) => peers.push(peer),
            Err(e) => println!("skipping {name}: {}", reason(&e)),
        }
    }
    // Large, and only useful while a scheduler is still to be built.
    let target = cache.dir.join(TARGET);
    let built = |(name, version): &(&str, Option<&str>)| {
        version.is_none_or(|version| cache.dir.join(entry(&crate_name(name), version)).exists())
    };
    if PEERS.iter().all(built) && target.exists() {
        fs::remove_dir_all(&target)
            .with_context(|| format!("cannot remove {}", target.display()))?;
    }
    // Keep the previous version of each, too.
    cache.prune("peers", 2 * PEERS.len())?;
    Ok(peers)
}

/// Adds them to an initramfs, with a list for the guest and the kernel's config, which those
/// in Rust require to start.
pub fn add(peers: &[Peer], kernel: &Kernel, archive: &mut Archive) -> Result<()> {
    // A map, as they share libraries.
    let files: BTreeMap<_, _> = peers.iter().flat_map(|p| p.files.iter().cloned()).collect();
    for (inside, from) in &files {
        archive.copy(inside, 0o755, from)?;
    }
    archive.file(PEERS_FILE, 0o644, &serde_json::to_vec(peers)?);
    let config = format!("boot/config-{}", kernel.release);
    archive.copy(&config, 0o644, &kernel.dir.join("config"))
}

/// The decisive line of a compiler's output.
fn reason(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let decisive = text.lines().find(|line| line.starts_with("error"));
    decisive.or(text.lines().last()).unwrap_or_default().into()
}

fn peer(cache: &Cache, mirror: &Mirror, name: &str, version: Option<&str>) -> Result<Peer> {
    let mut files = Vec::new();
    let (program, from, args) = match version {
        Some(version) => (
            format!("usr/bin/scx_{name}"),
            installed(cache, &crate_name(name), version)?,
            match name {
                LAYERED => vec!["--run-example".into()],
                _ => vec![],
            },
        ),
        None => {
            let object = "objects/scx_simple.bpf.o";
            files.push((object.into(), simple(cache, mirror)?));
            (
                "usr/bin/other".into(),
                programs::find("other")?,
                vec![format!("/{object}")],
            )
        }
    };
    for library in programs::libraries(&[&from])? {
        files.push((library.display().to_string(), library));
    }
    let command = [vec![format!("/{program}")], args].concat();
    files.push((program, from));
    Ok(Peer {
        name: name.into(),
        command,
        files,
    })
}

/// Name of a scheduler's crate and program.
fn crate_name(name: &str) -> String {
    format!("scx_{name}")
}

/// A crate's name in the cache.
fn entry(name: &str, version: &str) -> String {
    format!("peers/{name}_{version}")
}

/// The program of a crate, built by `cargo install`.
pub fn installed(cache: &Cache, name: &str, version: &str) -> Result<PathBuf> {
    let dir = cache.get(&entry(name, version), |dir| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut install = Command::new("nice");
        install
            .arg(cargo)
            .args(["install", "--locked", "--no-track"])
            .args([name, "--version", &format!("={version}")])
            .arg("--root")
            .arg(dir)
            .env("CARGO_TARGET_DIR", cache.dir.join(TARGET))
            .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
            .env("BPF_CLANG", compile::clang()?);
        step::run(&format!("cargo install {name}"), &mut install)
    })?;
    Ok(dir.join("bin").join(name))
}

/// The BPF object of scx_simple; our program `other` loads it.
fn simple(cache: &Cache, mirror: &Mirror) -> Result<PathBuf> {
    let suite = Suite::open(cache, mirror, NEWEST, false)?;
    let meta = suite.package("linux-source")?;
    let source = meta.depends.iter().find(|d| d.starts_with("linux-source-"));
    let package = suite.package(source.context("linux-source depends on no source package")?)?;
    let dir = cache.get(&entry(&crate_name(SIMPLE), &package.version), |dir| {
        fs::create_dir(dir)?;
        suite.download(&[package], dir)?;
        step::done("scx_simple", || compile_simple(dir))
    })?;
    Ok(dir.join("scx_simple.bpf.o"))
}

/// Unpacks the package in `dir` and compiles the object.
fn compile_simple(dir: &Path) -> Result<()> {
    let full = dir.join("full");
    let deb = only(dir)?;
    output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&full))?;
    let mut tar = Command::new("tar");
    tar.arg("-xf")
        .arg(only(&full.join("usr/src"))?)
        .arg("-C")
        .arg(&full)
        .args(["--strip-components=1", "--wildcards", "*/tools/sched_ext"]);
    output(&mut tar)?;
    let source = full.join("tools/sched_ext");
    let include = source.join("include");
    // libbpf's headers, which need not be installed.
    let libbpf = full.join("libbpf");
    write_headers(&libbpf)?;
    let object = full.join("scx_simple.bpf.o");
    compile::object(
        &source.join("scx_simple.bpf.c"),
        &object,
        &[
            &include,
            &include.join("bpf-compat"),
            VMLINUX_DIR.as_ref(),
            &libbpf,
        ],
        // Its own Makefile is less strict than our build.
        &["-Wno-error", "-Wno-missing-prototypes"],
    )?;
    fs::rename(&object, dir.join("scx_simple.bpf.o"))?;
    fs::remove_file(&deb)?;
    fs::remove_dir_all(&full).context("cannot remove the unpacked package")
}

/// The only entry of a directory.
fn only(dir: &Path) -> Result<PathBuf> {
    let mut entries =
        fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let entry = entries
        .next()
        .with_context(|| format!("{} is empty", dir.display()))?;
    Ok(entry?.path())
}
