// SPDX-License-Identifier: GPL-2.0-only
//! Compile the defaults, link them into one object, and generate the catalog of
//! hooks from the header that documents them.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libbpf_rs::libbpf_sys::API_HEADERS;

#[path = "compile.rs"]
mod compile;
#[path = "link.rs"]
mod link;

/// libbpf's headers for BPF programs; its others are for user space.
const FOR_BPF: [&str; 5] = [
    "bpf_helpers.h",
    "bpf_helper_defs.h",
    "bpf_tracing.h",
    "bpf_core_read.h",
    "bpf_endian.h",
];

fn main() -> Result<()> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=include");
    println!("cargo:rerun-if-env-changed=BPF_CLANG");

    let vmlinux = vmlinux_dir(&out)?;
    let include = here.join("include");
    let libbpf = out.join("libbpf");
    fs::create_dir_all(libbpf.join("bpf"))?;
    for (name, text) in API_HEADERS
        .iter()
        .filter(|(name, _)| FOR_BPF.contains(name))
    {
        fs::write(libbpf.join("bpf").join(name), without_comments(text))?;
    }
    fs::write(out.join("headers.rs"), headers(&[&include, &libbpf])?)?;

    let sources = sorted(&here.join("src"), "bpf.c")?;
    for (name, args) in [
        ("defaults", &["-Werror", "-DPRELOAD_DEFAULTS"][..]),
        (
            "alone",
            &["-Werror", "-DPRELOAD_DEFAULTS", "-DPRELOAD_ALONE"],
        ),
    ] {
        let dir = out.join(name);
        fs::create_dir_all(&dir)?;
        let mut objects = Vec::new();
        for src in &sources {
            let obj = dir.join(src.file_name().unwrap()).with_extension("o");
            compile::object(src, &obj, &[&vmlinux, &include, &libbpf], args)?;
            objects.push(fs::read(obj)?);
        }
        let parts: Vec<&[u8]> = objects.iter().map(Vec::as_slice).collect();
        let linked = link::link(&parts).context("cannot link the defaults")?;

        let object = out.join(name).with_extension("bpf.o");
        fs::write(&object, linked)?;
        strip_dwarf(&object)?;
    }

    let hooks = fs::read_to_string(include.join("scx_preload/hooks.bpf.h"))?;
    fs::write(out.join("hooks.rs"), catalog(&hooks)?)?;
    println!("cargo:rustc-env=SCX_PRELOAD_VMLINUX={}", vmlinux.display());
    Ok(())
}

/// The directory of `vmlinux.h`: creating scx_cargo's builder unpacks it, for each
/// architecture.
fn vmlinux_dir(out: &Path) -> Result<PathBuf> {
    // SAFETY: no other thread runs yet.
    unsafe { env::set_var("BPF_CLANG", compile::clang()?) };
    scx_cargo::BpfBuilder::new()?;
    let dir = out.join("scx_utils-bpf_h/arch").join(compile::arch());
    ensure!(
        dir.join("vmlinux.h").exists(),
        "scx_cargo has no vmlinux.h in {}",
        dir.display()
    );
    Ok(dir)
}

fn sorted(dir: &Path, suffix: &str) -> Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(dir)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.to_string_lossy().ends_with(suffix));
    paths.sort();
    Ok(paths)
}

/// Comments are half of what libbpf's headers add to the program's size. The first, with
/// the license, is kept.
fn without_comments(c: &str) -> String {
    let (license, code) = c.split_once("*/").unwrap_or_default();
    let mut parts = code.split("/*");
    let mut out = format!("{license}*/{}", parts.next().unwrap_or_default());
    for part in parts {
        out.push_str(part.split_once("*/").map_or("", |(_, code)| code));
    }
    let mut lines: Vec<&str> = out.lines().map(str::trim_end).collect();
    lines.dedup_by(|a, b| a.is_empty() && b.is_empty());
    lines.join("\n") + "\n"
}

/// The source of `HEADERS`, from the directories that clang would search.
fn headers(dirs: &[&Path]) -> Result<String> {
    let mut out = String::from(
        "/// The headers that an override includes besides `vmlinux.h`: path and text.\n\
         pub const HEADERS: &[(&str, &str)] = &[\n",
    );
    for dir in dirs {
        for sub in sorted(dir, "")? {
            for header in sorted(&sub, ".h")? {
                let name = header.strip_prefix(dir)?;
                writeln!(out, "    ({name:?}, include_str!({header:?})),")?;
            }
        }
    }
    out.push_str("];\n");
    Ok(out)
}

/// Strip DWARF, most of the object's size, and keep BTF.
fn strip_dwarf(object: &Path) -> Result<()> {
    let strip = compile::clang()?.replace("clang", "llvm-strip");
    let status = Command::new(&strip)
        .arg("-g")
        .arg(object)
        .status()
        .with_context(|| format!("cannot run {strip}; install LLVM along with clang"))?;
    ensure!(status.success(), "{strip} -g {} failed", object.display());
    Ok(())
}

/// The source of `HOOKS`, in the order of `enum preload_hook`, from each comment that starts
/// with `/**` and the declaration after it.
fn catalog(header: &str) -> Result<String> {
    let mut out = String::from(
        "/// Every hook, in the order of the counters of `enum preload_hook`.\n\
         pub const HOOKS: &[Hook] = &[\n",
    );
    let enumerators: Vec<&str> = header
        .split_once("enum preload_hook {\n")
        .and_then(|(_, rest)| rest.split_once("\tPRELOAD_NR_HOOKS"))
        .context("no enum preload_hook")?
        .0
        .lines()
        .map(|line| line.trim().trim_end_matches(','))
        .collect();
    let mut documented = Vec::new();
    for block in header.split("/**\n").skip(1) {
        let (comment, code) = block.split_once(" */\n").context("unclosed comment")?;
        let (name, summary) = comment
            .lines()
            .next()
            .and_then(|line| line.trim_start_matches(" * ").split_once("() - "))
            .context("a hook's comment starts with `name() - summary`")?;
        let declaration = code.split_once(';').context("no declaration")?.0;
        let signature = declaration.replace("__preload_hook ", "");
        let signature = signature.split_whitespace().collect::<Vec<_>>().join(" ");
        let (args, text) = parts(comment).with_context(|| format!("comment of {name}()"))?;
        let arguments = args.iter().map(|(arg, _)| arg.as_str());
        ensure!(
            arguments.eq(argument_names(&signature)),
            "{name}(): its comment and {signature} have different arguments"
        );
        writeln!(
            out,
            "    Hook {{ name: {name:?}, summary: {summary:?}, signature: {signature:?}, \
             args: &{args:?}, text: &{text:?} }},"
        )?;
        documented.push(name.to_uppercase());
    }
    ensure!(
        documented == enumerators,
        "documented hooks differ from enum preload_hook: {documented:?} {enumerators:?}"
    );
    out.push_str("];\n");
    Ok(out)
}

/// Titles of the parts of a hook's comment, in their order there.
const TITLES: [&str; 6] = ["When", "May call", "Must", "Returns", "Default", "Kernel"];

type Parts = Vec<(String, String)>;

/// The arguments (`@name: text`) and the titled parts of a hook's comment.
fn parts(comment: &str) -> Result<(Parts, Parts)> {
    let (mut args, mut text) = (Parts::new(), Parts::new());
    for line in comment.lines().skip(1) {
        let line = line.trim_start_matches(" *").trim();
        let title = TITLES.iter().find_map(|title| {
            let rest = line.strip_prefix(title)?;
            let rest = rest.strip_prefix(if *title == "Must" { " " } else { ": " })?;
            Some((title, rest))
        });
        if let Some((arg, meaning)) = line.strip_prefix('@').and_then(|l| l.split_once(": "))
            && text.is_empty()
        {
            args.push((arg.into(), meaning.into()));
        } else if let Some((title, rest)) = title {
            text.push((title.to_string(), rest.into()));
        } else if let Some((_, last)) = text.last_mut().or(args.last_mut()) {
            if !line.is_empty() {
                last.push(' ');
                last.push_str(line);
            }
        } else {
            ensure!(
                line.is_empty(),
                "{line:?} is neither an argument nor titled"
            );
        }
    }
    for needed in ["When", "Default", "Kernel"] {
        ensure!(
            text.iter().any(|(title, _)| title == needed),
            "no {needed}:"
        );
    }
    Ok((args, text))
}

/// `p` and `cpu` of `u64 hook_x(struct task_struct *p __arg_trusted, s32 cpu)`.
fn argument_names(signature: &str) -> impl Iterator<Item = &str> {
    let (_, list) = signature.split_once('(').unwrap_or_default();
    let list = list.trim_end_matches(')');
    list.split(',')
        .filter(|arg| *arg != "void")
        .filter_map(|arg| {
            let mut words = arg.split_whitespace().rev();
            Some(
                words
                    .find(|w| !w.starts_with("__arg"))?
                    .trim_start_matches('*'),
            )
        })
}
