// SPDX-License-Identifier: GPL-2.0-only
//! Compile one `.bpf.c` the way that the contract asks for.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Command;

/// Versions to look for when `clang` is too old or missing, newest first.
const CLANG_MAJORS: std::ops::RangeInclusive<u32> = 18..=23;

/// What code generation and the kernel's own types ask for.
const FLAGS: &[&str] = &[
    "-target",
    "bpf",
    "-g",
    "-O2",
    "-mcpu=v3",
    "-fms-extensions",
    "-Wno-microsoft-anon-tag",
    "-Wno-compare-distinct-pointer-types",
];

/// Those that are errors are mistakes that static linking would pass over in
/// silence: a misspelled hook, and a hook that is `static`.
const WARNINGS: &[&str] = &[
    "-Wall",
    "-Werror=missing-prototypes",
    "-Werror=microsoft-redeclare-static",
];

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No clang that is new enough.
    #[error(
        "no clang >= {} found; install one (Debian: apt install clang-19) or name it in BPF_CLANG",
        CLANG_MAJORS.start()
    )]
    NoClang,

    /// It did not start.
    #[error("cannot run {clang}: {source}")]
    Run {
        /// Its name.
        clang: String,
        /// The system's error.
        source: io::Error,
    },

    /// It has said why.
    #[error("{clang} cannot compile {name}")]
    Failed {
        /// Its name.
        clang: String,
        /// The source file.
        name: String,
    },
}

/// Name of a clang that can compile the sources: `$BPF_CLANG`, or the newest
/// that is installed.
pub fn clang() -> Result<String, Error> {
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
    Err(Error::NoClang)
}

/// Compile `src` to the BPF object `obj`. `includes` holds the directories of
/// `vmlinux.h`, `scx_preload/*.h` and `bpf/*.h`; `args` are further compiler
/// arguments. What clang says goes to standard error as it is.
///
/// clang is called directly: libbpf-cargo's builder passes each object through
/// the linker, after which its extern maps clash with their definitions.
pub fn object(
    src: &Path,
    obj: &Path,
    includes: &[&Path],
    args: &[impl AsRef<OsStr>],
) -> Result<(), Error> {
    let clang = clang()?;
    let mut command = Command::new(&clang);
    command
        .args(FLAGS)
        .arg(format!("-D__TARGET_ARCH_{}", arch()))
        .args(WARNINGS)
        .args(args);
    for dir in includes {
        command.arg("-I").arg(dir);
    }
    // Line info shows file names to users; where they were built is nobody's business.
    let dir = match src.parent() {
        Some(dir) if src.is_absolute() => format!("{}/", dir.display()),
        _ => env::current_dir().unwrap_or_default().display().to_string(),
    };
    if !dir.is_empty() {
        command.arg(format!("-ffile-prefix-map={dir}="));
    }
    command.arg("-c").arg(src).arg("-o").arg(obj);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Error::Failed {
            clang,
            name: src.display().to_string(),
        }),
        Err(source) => Err(Error::Run { clang, source }),
    }
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
