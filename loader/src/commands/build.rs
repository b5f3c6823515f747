// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload build`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use scx_preload::abi::VMLINUX_BTF;
use scx_preload::cli::BuildArgs;
use scx_preload::object::linker::{Override, link_overrides};
use scx_preload::object::source::Source;
use scx_preload::object::vmlinux;
use scx_preload::{Error, scheduler};
use scx_preload_defaults::{compile, write_headers};

use super::output;

pub fn run(args: &BuildArgs) -> anyhow::Result<()> {
    let outputs = outputs(args)?;
    // Fail before the slow generation of the header.
    compile::clang().map_err(Error::from)?;
    let work = tempfile::Builder::new()
        .prefix("scx_preload.")
        .tempdir()
        .context("cannot create a temporary directory")?;
    let work = work.path();
    write_headers(work).context("cannot write the headers")?;
    let header = work.join("vmlinux.h");
    match &args.vmlinux {
        Some(path) => fs::copy(path, header)
            .map(drop)
            .with_context(|| format!("cannot read {}", path.display()))?,
        None => {
            let btf = args.btf.as_deref().unwrap_or(VMLINUX_BTF.as_ref());
            fs::write(header, vmlinux::header(btf)?).context("cannot write vmlinux.h")?;
        }
    }

    let objects = args
        .sources
        .iter()
        .map(|source| compile_one(args, source, work))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let overrides = objects
        .iter()
        .zip(&args.sources)
        .map(|(bytes, source)| Override::new(source.display().to_string(), bytes.clone()))
        .collect::<Result<Vec<_>, _>>()?;
    let linked = link_overrides(&overrides)?;
    verify(args, &linked)?;

    let results = if args.compile_only {
        objects
    } else {
        vec![linked]
    };
    for (output, bytes) in outputs.iter().zip(&results) {
        output::write(output, bytes)?;
        log::info!("wrote {}", output.display());
    }
    output::print_overrides(&overrides)
}

/// Paths of the objects to write.
fn outputs(args: &BuildArgs) -> anyhow::Result<Vec<PathBuf>> {
    for source in &args.sources {
        ensure!(
            source.extension().is_some_and(|e| e == "c"),
            "{}: not a C source; link objects with `scx_preload link`",
            source.display()
        );
    }
    let outputs = match (&args.output, args.compile_only) {
        (Some(output), true) => {
            ensure!(
                args.sources.len() == 1,
                "-c with -o takes one source; leave out -o to write one object for each"
            );
            vec![output.clone()]
        }
        (Some(output), false) => vec![output.clone()],
        (None, false) => vec!["scheduler.bpf.o".into()],
        (None, true) => {
            let name = |source: &PathBuf| source.with_extension("o").file_name().map(PathBuf::from);
            args.sources.iter().filter_map(name).collect()
        }
    };
    for (n, output) in outputs.iter().enumerate() {
        ensure!(
            !args.sources.contains(output) && !outputs[..n].contains(output),
            "{} would be overwritten; choose another name",
            output.display()
        );
    }
    Ok(outputs)
}

fn compile_one(args: &BuildArgs, source: &Path, work: &Path) -> anyhow::Result<Vec<u8>> {
    // clang's message about a missing file is misleading.
    fs::metadata(source).with_context(|| format!("cannot read {}", source.display()))?;
    let object = work.join("override.bpf.o");
    let mut includes: Vec<&Path> = args.include.iter().map(PathBuf::as_path).collect();
    includes.push(work);
    let defines: Vec<_> = args.define.iter().map(|d| format!("-D{d}")).collect();
    compile::object(source, &object, &includes, &defines).map_err(Error::from)?;
    fs::read(&object).with_context(|| format!("cannot read {}", object.display()))
}

/// Run the kernel's verifier if possible, else log why not.
fn verify(args: &BuildArgs, linked: &[u8]) -> anyhow::Result<()> {
    if let Some(file) = args.btf.as_ref().or(args.vmlinux.as_ref()) {
        log::info!(
            "not verified: built for the kernel of {}; run `scx_preload verify` there",
            file.display()
        );
        return Ok(());
    }
    let names: Vec<_> = args
        .sources
        .iter()
        .map(|s| s.display().to_string())
        .collect();
    let source = Source {
        name: names.join(", "),
        bytes: linked.to_vec(),
    };
    match scheduler::verify(&source, &[]) {
        Ok(_) => log::info!("verified by this kernel"),
        Err(err @ (Error::Unsupported(_) | Error::NotRoot(_))) => {
            log::info!("not verified: {err}");
        }
        Err(err) => return Err(err.into()),
    }
    Ok(())
}
