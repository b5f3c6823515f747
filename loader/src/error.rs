// SPDX-License-Identifier: GPL-2.0-only
//! Errors, each with what is wrong and, where it is ours to know, what to do.

use std::io;

/// A result of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between an object file and a running scheduler.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The running kernel has no sched_ext, no BTF, or no BPF file system.
    #[error("this kernel cannot run a sched_ext scheduler: {0}")]
    Unsupported(String),

    /// Another scheduler holds the root.
    #[error("{0}")]
    Busy(String),

    /// An earlier load of ours runs.
    #[error("scx_preload is loaded already; run `scx_preload unload` first")]
    AlreadyLoaded,

    /// What is pinned is not to be attached now, for this reason.
    #[error("{0}")]
    StaysOut(String),

    /// Not root.
    #[error("this needs root: CAP_BPF, CAP_PERFMON and {0}")]
    NotRoot(&'static str),

    /// The object is not a BPF object that we can use.
    #[error("{name}: {reason}")]
    Object {
        /// Name of the object, its path if it has one.
        name: String,
        /// What is wrong with it.
        reason: String,
    },

    /// Objects do not fit together.
    #[error("cannot link: {0}")]
    Link(String),

    /// There is no clang, or it did not compile a source.
    #[error(transparent)]
    Compile(#[from] scx_preload_defaults::compile::Error),

    /// A `--set` that the object has no use for.
    #[error("--set {name}: {reason}")]
    Setting {
        /// The name before the `=`.
        name: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The kernel refused the programs, or stopped the scheduler at once.
    #[error("{name}: {summary}")]
    Refused {
        /// Name of the object.
        name: String,
        /// The decisive line.
        summary: String,
        /// All that libbpf, the verifier and the kernel said.
        log: String,
    },

    /// Nothing of ours is pinned.
    #[error("scx_preload is not loaded")]
    NotLoaded,

    /// The defaults decide alone anyway.
    #[error(
        "there is nothing to bypass: no hook of placement, order or balance is overridden, the defaults decide already"
    )]
    NothingToBypass,

    /// It was ended, and began again at once, for this reason.
    #[error("it ended and began again: {0}; load a scheduler without that override")]
    BypassedAgain(String),

    /// The scheduler did not do what it was asked to, within so many seconds.
    #[error("the scheduler has not answered within {0} s; `scx_preload status` says what it does")]
    NoAnswer(u64),

    /// A libbpf call failed.
    #[error("{what}: {cause}")]
    Libbpf {
        /// What was being done.
        what: String,
        /// libbpf's own error. No `source`, which who prints a chain would say twice.
        cause: libbpf_rs::Error,
    },

    /// A system call failed.
    #[error("{what}: {cause}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The system's error.
        cause: io::Error,
    },
}

impl Error {
    /// Wrap a system error with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io {
            what: what.into(),
            cause,
        }
    }

    /// Wrap a libbpf error with what was being done.
    pub fn libbpf(what: impl Into<String>) -> impl FnOnce(libbpf_rs::Error) -> Self {
        move |cause| Self::Libbpf {
            what: what.into(),
            cause,
        }
    }
}
