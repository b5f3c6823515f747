// SPDX-License-Identifier: GPL-2.0-only
//! The command line of the `scx_preload` program. It is part of the library, as the
//! generator of the man page and the completions needs it without the program.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use scx_preload_defaults::HOOKS;

use crate::scheduler::Setting;

/// The missing default of sched_ext: a small BPF scheduler made of hooks that you can
/// override, loaded early and without a daemon
#[derive(Debug, Parser)]
#[command(
    name = "scx_preload",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 this kernel cannot run sched_ext.\n\
                  To disable it: `scx_preload unload`, or boot with scx_preload.mode=off."
)]
pub struct Cli {
    /// Print debug messages: those of libbpf and the whole verifier log
    #[arg(short, long, global = true)]
    pub verbose: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: CliCommand,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
#[expect(missing_docs)] // The arguments of each have its documentation.
pub enum CliCommand {
    Load(LoadArgs),
    Unload(UnloadArgs),
    Resume(ResumeArgs),
    Run(RunArgs),
    Status(StatusArgs),
    Bypass(BypassArgs),
    Verify(VerifyArgs),
    Hooks(HooksArgs),
    New(NewArgs),
    Build(BuildArgs),
    Link(LinkArgs),
    Check(CheckArgs),
}

/// Make scx_preload the scheduler of this system
///
/// Verifies and attaches the scheduler, checks that the kernel runs it, and pins it in
/// /sys/fs/bpf/scx_preload. It keeps running after this program has ended.
///
/// The scheduler is the built-in defaults, linked with the drop-ins (*.bpf.o) in
/// /etc/scx_preload/overrides.d and /usr/lib/scx_preload/overrides.d, if any. A file in
/// /etc replaces the file of the same name in /usr/lib; an empty file or a link to
/// /dev/null masks it.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Load this object, written by `scx_preload link` or `build`
    #[arg(long, value_name = "FILE")]
    pub object: Option<PathBuf>,

    /// Load the built-in defaults without drop-ins
    #[arg(long, conflicts_with = "object")]
    pub defaults: bool,

    /// Set a variable of the scheduler, such as slice_ns=3000000 or stats_enabled=false;
    /// `scx_preload status` lists them
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub settings: Vec<Setting>,

    /// Do not attach the scheduler until another one has ended, or until
    /// `scx_preload resume`
    #[arg(long)]
    pub standby: bool,

    /// Load as part of a boot: obey scx_preload.mode=off, scx_preload.mode=standby and
    /// rd.scx_preload=0 on the kernel command line; load /etc/scx_preload/scheduler.bpf.o
    /// if it exists, else the drop-ins; leave out broken drop-ins or fall back to the
    /// built-in defaults; stand by if another scheduler is running; keep a scheduler that
    /// an initramfs has loaded; succeed on a kernel without sched_ext
    #[arg(long)]
    pub boot: bool,

    /// With --boot: load nothing; exit with 1 in an initramfs if the kernel command line has
    /// rd.scx_preload=0. For ExecCondition= of the unit
    #[arg(long, requires = "boot", conflicts_with_all = ["object", "defaults", "settings", "standby"])]
    pub condition: bool,

    /// With --boot: this is an initramfs, even without /etc/initrd-release
    #[arg(long, requires = "boot")]
    pub initrd: bool,
}

fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok(Setting {
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

/// Give the system back to the kernel's own scheduler
///
/// Detaches our scheduler and removes its pins. Fails if our scheduler is not loaded;
/// another sched_ext scheduler is left alone.
#[derive(Debug, Args)]
pub struct UnloadArgs {}

/// Attach the loaded scheduler unless another one is running
///
/// The scheduler stays pinned when another one takes over, so nothing is loaded or
/// verified. The udev rule runs this whenever a sched_ext scheduler has ended. By hand it
/// attaches a scheduler loaded with `load --standby`.
///
/// If the kernel has ended our scheduler for an error, this loads the built-in defaults
/// without overrides. After a second error within an hour, or after sysrq-S, our scheduler
/// stays out until `scx_preload load`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// How long to wait while another process is loading a scheduler
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub wait: u64,

    /// Run as a udev rule: succeed if there is nothing to do
    #[arg(long)]
    pub udev: bool,
}

/// Hand over to another scheduler while a command runs
///
/// Detaches our scheduler, runs COMMAND, which starts another one in the foreground, and
/// reattaches ours when COMMAND has ended, whatever its exit code. A scheduler that is
/// started without this takes over, too, but ours is reattached if it takes long to start.
#[derive(Debug, Args)]
#[command(
    after_help = "The exit code is that of COMMAND; 128 plus the signal's number if a signal ended it; \
                  126 if it cannot be run; 127 if it is not found."
)]
pub struct RunArgs {
    /// The program and its arguments, after `--`
    #[arg(required = true, last = true)]
    pub command: Vec<OsString>,
}

/// Show the kernel's scheduler and our hooks, topology and counters
///
/// Reads all of it from the kernel at this moment. CALLS counts how often the scheduler
/// called a hook, DEFAULT how often the default body ran, BAD the results that were out
/// of range.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print JSON, with every CPU and LLC
    #[arg(long)]
    pub json: bool,
}

/// Turn soft bypass on or off: the defaults decide without the overrides
///
/// The scheduler turns it on by itself when an override returns results out of range,
/// takes too much time, or leaves a task without a CPU; `scx_preload status` says why.
/// That ends by itself, later each time, and after several times only with `off`.
#[derive(Debug, Args)]
pub struct BypassArgs {
    /// on: until `off`. off: call the overrides again, and forget earlier errors
    pub state: BypassState,
}

/// Whether soft bypass is wanted.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[expect(missing_docs)] // They would be printed as help.
pub enum BypassState {
    On,
    Off,
}

/// Run this kernel's verifier on an object without attaching it
///
/// Prints how many instructions the verifier processed for each program, a measure of
/// what the program costs to load. The running scheduler is left alone.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The linked object; the built-in defaults if not given
    pub object: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// List the hooks that an override can define, or which of them an object overrides
#[derive(Debug, Args)]
pub struct HooksArgs {
    /// An object written by `scx_preload link`; if not given, list all hooks
    pub object: Option<PathBuf>,

    /// Print the documentation of one hook
    #[arg(
        long,
        value_name = "HOOK",
        value_parser = hook_names(),
        hide_possible_values = true,
        conflicts_with_all = ["object", "json"],
    )]
    pub doc: Option<String>,

    /// Print the whole documentation as a man page, scx_preload-hooks(7)
    #[arg(long, conflicts_with_all = ["object", "json", "doc"])]
    pub man: bool,

    /// Print JSON, with the declaration of each hook
    #[arg(long)]
    pub json: bool,
}

fn hook_names() -> PossibleValuesParser {
    HOOKS.iter().map(|hook| hook.name).into()
}

/// Start an override: a C file that compiles as it is, for you to change
///
/// It contains the chosen hooks with the essentials of their documentation. Each calls
/// its default until you change it. `scx_preload build` compiles the file.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Name of the override: writes NAME.bpf.c in the current directory
    #[arg(value_parser = override_name)]
    pub name: String,

    /// A hook to override; can be given several times. `scx_preload hooks` lists them
    #[arg(
        long = "hook",
        value_name = "HOOK",
        default_value = "hook_task_slice",
        value_parser = hook_names(),
        hide_possible_values = true,
    )]
    pub hooks: Vec<String>,

    /// Write to this file instead
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// A name that is a valid file name everywhere, and not an option.
fn override_name(text: &str) -> Result<String, String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.starts_with(word) && text.chars().all(|c| word(c) || c == '-') {
        return Ok(text.to_owned());
    }
    Err("use letters, digits, '_' and '-' only; choose another path with -o FILE".into())
}

/// Build a scheduler from overrides in C: compile, link with the defaults, verify
///
/// Requires clang 18 or later (BPF_CLANG names one). The program's and libbpf's headers
/// are built in; vmlinux.h is generated from the kernel's BTF. The result is verified if
/// this kernel and your privileges allow. Nothing is written if a step fails.
///
/// The result is for `load --object`. With -c, each override is written by itself, for
/// `link` and /etc/scx_preload/overrides.d; it is linked and verified all the same.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    scx_preload build boost.bpf.c stay.bpf.c     # both with the defaults: scheduler.bpf.o\n  \
    scx_preload build -c boost.bpf.c             # the override by itself: boost.bpf.o")]
pub struct BuildArgs {
    /// Sources, each with hooks of its own
    #[arg(value_name = "FILE.bpf.c", required = true)]
    pub sources: Vec<PathBuf>,

    /// Write the object here. The default is scheduler.bpf.o, with -c FILE.bpf.o, in the
    /// current directory
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,

    /// Write the compiled overrides instead of the linked scheduler
    #[arg(short, long)]
    pub compile_only: bool,

    /// Build for the kernel with this BTF: a copy of its /sys/kernel/btf/vmlinux, or an ELF
    /// file with a section .BTF. The default is the running kernel's
    #[arg(long, value_name = "FILE", conflicts_with = "vmlinux")]
    pub btf: Option<PathBuf>,

    /// Use this file as vmlinux.h
    #[arg(long, value_name = "FILE")]
    pub vmlinux: Option<PathBuf>,

    /// Search this directory for headers first, like clang's -I
    #[arg(short = 'I', value_name = "DIR")]
    pub include: Vec<PathBuf>,

    /// Define a macro, like clang's -D
    #[arg(short = 'D', value_name = "NAME[=VALUE]")]
    pub define: Vec<String>,
}

/// Link overrides with the defaults into one object for `load --object`
///
/// Overrides of different hooks combine, in any order. Two overrides of one hook, an
/// unknown hook, and a static or weak hook are errors; nothing is written then. Without
/// overrides it writes the defaults.
#[derive(Debug, Args)]
pub struct LinkArgs {
    /// Write the linked object here
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,

    /// Link the drop-ins that `scx_preload load` would load
    #[arg(long, conflicts_with = "overrides")]
    pub drop_ins: bool,

    /// With --drop-ins: write what `load --boot` is to load in an initramfs:
    /// /etc/scx_preload/scheduler.bpf.o unchanged if it exists, else the linked drop-ins.
    /// Broken drop-ins are left out with a warning, and listed in OUT.left-out for the
    /// journal of the boot. Nothing is written without drop-ins
    #[arg(long, requires = "drop_ins")]
    pub boot: bool,

    /// With --drop-ins: search for them under this directory
    #[arg(long, value_name = "DIR", requires = "drop_ins", default_value = "/")]
    pub root: PathBuf,

    /// Objects compiled with clang -target bpf, each with hooks of its own
    #[arg(value_name = "OVERRIDE.o")]
    pub overrides: Vec<PathBuf>,
}

/// Check compiled overrides, alone and together, without writing anything
///
/// Finds misspelled, static and weak hooks, declarations that differ from the contract,
/// kfunc calls that the kernel forbids where the hook is called, names and hooks defined
/// twice, and undefined names. Requires neither root nor a kernel with sched_ext;
/// `scx_preload verify` runs the verifier.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Objects compiled with clang -target bpf
    #[arg(required = true, value_name = "OVERRIDE.o")]
    pub overrides: Vec<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
