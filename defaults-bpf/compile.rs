// SPDX-License-Identifier: GPL-2.0-only
//! Compile one `.bpf.c` with the flags that the contract requires.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Command;

/// Versions to look for, newest first, before plain `clang`.
const CLANG_MAJORS: std::ops::RangeInclusive<u32> = 18..=23;

/// Required by code generation and the kernel's own types.
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

/// The errors are mistakes that static linking would not report: a misspelled hook and a
/// `static` hook.
const WARNINGS: &[&str] = &[
    "-Wall",
    "-Werror=missing-prototypes",
    "-Werror=microsoft-redeclare-static",
];

/// Why compilation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No clang is new enough.
    #[error(
        "no clang {} or later found; install it (Debian: apt install clang-19) or set BPF_CLANG",
        CLANG_MAJORS.start()
    )]
    NoClang,

    /// clang could not be started.
    #[error("cannot run {clang}: {source}")]
    Run {
        /// Its name.
        clang: String,
        /// The system's error.
        source: io::Error,
    },

    /// clang failed and has printed why.
    #[error("{clang} cannot compile {name}")]
    Failed {
        /// Its name.
        clang: String,
        /// The source file.
        name: String,
    },
}

/// The name of a clang that can compile the sources: `$BPF_CLANG`, or the newest
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
/// arguments. clang's messages go to standard error unchanged.
///
/// Not with libbpf-cargo's builder: it passes each object through the linker, after
/// which extern maps conflict with their definitions.
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
    // Line info shows file names to users; do not leak the build directory.
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

/// The kernel's name of the architecture, as `bpf_tracing.h` requires.
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
