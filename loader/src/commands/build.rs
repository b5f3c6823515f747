// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload build`

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use nix::unistd::mkdtemp;
use scx_preload::abi::VMLINUX_BTF;
use scx_preload::object::linker::{Override, link_overrides};
use scx_preload::object::source::Source;
use scx_preload::object::vmlinux;
use scx_preload::{Error, scheduler};
use scx_preload_defaults::{compile, write_headers};

/// Make a scheduler of overrides in C: compile them, link them with the defaults, verify
///
/// Takes clang 18 or later (BPF_CLANG names one). The headers of this program and
/// libbpf's come with it; vmlinux.h is made from the kernel's BTF. If this kernel can
/// and you may, its verifier has the last word. Nothing is written if anything fails.
///
/// The result is for `load --object`. With -c it is each override by itself instead,
/// which is what `link` and /etc/scx_preload/overrides.d take; it is linked and verified
/// all the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    scx_preload build boost.bpf.c stay.bpf.c     # both with the defaults: scheduler.bpf.o\n  \
    scx_preload build -c boost.bpf.c             # the override by itself: boost.bpf.o")]
pub struct Args {
    /// Sources, each with hooks of its own
    #[arg(value_name = "FILE.bpf.c", required = true)]
    sources: Vec<PathBuf>,

    /// Where to write the object: scheduler.bpf.o if not given, with -c FILE.bpf.o, both
    /// in the current directory
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,

    /// Write the compiled overrides, not the scheduler linked with them
    #[arg(short, long)]
    compile_only: bool,

    /// Build for the kernel with this BTF: a copy of its /sys/kernel/btf/vmlinux, or an ELF
    /// file with a section .BTF. The running kernel's if not given
    #[arg(long, value_name = "FILE", conflicts_with = "vmlinux")]
    btf: Option<PathBuf>,

    /// Take this file as vmlinux.h
    #[arg(long, value_name = "FILE")]
    vmlinux: Option<PathBuf>,

    /// Look for headers in this directory first, as clang's -I
    #[arg(short = 'I', value_name = "DIR")]
    include: Vec<PathBuf>,

    /// Define a macro, as clang's -D
    #[arg(short = 'D', value_name = "NAME[=VALUE]")]
    define: Vec<String>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let outputs = outputs(args)?;
    // Before the work of making a header.
    compile::clang().map_err(Error::from)?;
    let work = Work::new()?;
    write_headers(&work.0).context("cannot write the headers")?;
    let header = work.0.join("vmlinux.h");
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
        .map(|source| compile_one(args, source, &work.0))
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
        super::write(output, bytes)?;
        log::info!("wrote {}", output.display());
    }
    super::link::print_hooks(&overrides)
}

/// One for each object that is to be written.
fn outputs(args: &Args) -> anyhow::Result<Vec<PathBuf>> {
    for source in &args.sources {
        ensure!(
            source.extension().is_some_and(|e| e == "c"),
            "{}: not a C source; `scx_preload link` takes objects",
            source.display()
        );
    }
    let outputs = match (&args.output, args.compile_only) {
        (Some(output), true) => {
            ensure!(
                args.sources.len() == 1,
                "-c with -o takes one source; leave out -o to get an object beside each name"
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

fn compile_one(args: &Args, source: &Path, work: &Path) -> anyhow::Result<Vec<u8>> {
    // What clang says of a file that is not there is not the first thing wrong with it.
    fs::metadata(source).with_context(|| format!("cannot read {}", source.display()))?;
    let object = work.join("override.bpf.o");
    let mut includes: Vec<&Path> = args.include.iter().map(PathBuf::as_path).collect();
    includes.push(work);
    let defines: Vec<_> = args.define.iter().map(|d| format!("-D{d}")).collect();
    compile::object(source, &object, &includes, &defines).map_err(Error::from)?;
    fs::read(&object).with_context(|| format!("cannot read {}", object.display()))
}

/// The kernel's verdict where it can be had; else a line that says why not.
fn verify(args: &Args, linked: &[u8]) -> anyhow::Result<()> {
    if let Some(file) = args.btf.as_ref().or(args.vmlinux.as_ref()) {
        log::info!(
            "not verified: built for the kernel of {}; `scx_preload verify` does it there",
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

/// A directory for as long as the work takes.
struct Work(PathBuf);

impl Work {
    fn new() -> anyhow::Result<Self> {
        let template = env::temp_dir().join("scx_preload.XXXXXX");
        let dir =
            mkdtemp(&template).with_context(|| format!("cannot make {}", template.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
