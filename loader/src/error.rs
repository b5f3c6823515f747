// SPDX-License-Identifier: GPL-2.0-only
//! Errors: what is wrong and, where known, what to do.

use std::io;

/// A result of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error on the way from an object file to a running scheduler.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The running kernel has no sched_ext, no BTF, or no BPF file system.
    #[error("this kernel cannot run a sched_ext scheduler: {0}")]
    Unsupported(String),

    /// Another scheduler is running or being loaded.
    #[error("{0}")]
    Busy(String),

    /// Our scheduler is running.
    #[error("scx_preload is loaded already; run `scx_preload unload` first")]
    AlreadyLoaded,

    /// The pinned scheduler must not be attached now, for this reason.
    #[error("{0}")]
    StaysOut(String),

    /// Not root.
    #[error("requires root: CAP_BPF, CAP_PERFMON and access to {0}")]
    NotRoot(&'static str),

    /// The object cannot be used.
    #[error("{name}: {reason}")]
    Object {
        /// Name of the object, its path if it has one.
        name: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The objects do not link.
    #[error("cannot link: {0}")]
    Link(String),

    /// There is no clang, or it failed to compile a source.
    #[error(transparent)]
    Compile(#[from] scx_preload_defaults::compile::Error),

    /// An unknown variable or a wrong value in `--set`.
    #[error("--set {name}: {reason}")]
    Setting {
        /// The name before `=`.
        name: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The kernel refused the programs, or ended the scheduler at once.
    #[error("{name}: {summary}")]
    Refused {
        /// Name of the object.
        name: String,
        /// The decisive line.
        summary: String,
        /// All messages of libbpf, the verifier and the kernel.
        log: String,
    },

    /// Our scheduler is not pinned.
    #[error("scx_preload is not loaded")]
    NotLoaded,

    /// Soft bypass would change nothing.
    #[error("there is nothing to bypass: no hook of placement, order or balance is overridden")]
    NothingToBypass,

    /// Soft bypass was ended and began again at once, for this reason.
    #[error("soft bypass ended and began again: {0}; load a scheduler without that override")]
    BypassedAgain(String),

    /// The scheduler did not act on a request within this many seconds.
    #[error("the scheduler did not act on the request within {0} s; see `scx_preload status`")]
    NoAnswer(u64),

    /// A libbpf call failed.
    #[error("{what}: {cause}")]
    Libbpf {
        /// The failed operation.
        what: String,
        /// libbpf's error. Not a `source`: printing the chain would repeat it.
        cause: libbpf_rs::Error,
    },

    /// A system call failed.
    #[error("{what}: {cause}")]
    Io {
        /// The failed operation, with the path.
        what: String,
        /// The system's error.
        cause: io::Error,
    },
}

impl Error {
    /// Wrap a system error with the failed operation.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io {
            what: what.into(),
            cause,
        }
    }

    /// Wrap a libbpf error with the failed operation.
    pub fn libbpf(what: impl Into<String>) -> impl FnOnce(libbpf_rs::Error) -> Self {
        move |cause| Self::Libbpf {
            what: what.into(),
            cause,
        }
    }
}
