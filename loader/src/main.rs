// SPDX-License-Identifier: GPL-2.0-only
//! The `scx_preload` program.

mod commands;
mod logging;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use scx_preload::{Error, libbpf_log};

/// Exit code for a kernel that cannot run sched_ext schedulers. Wrong usage is
/// 2, as clap has it, and every other failure 1.
const EXIT_UNSUPPORTED: u8 = 3;

/// The missing default of sched_ext: a small BPF scheduler made of hooks that
/// you can override, loaded early and without a daemon.
#[derive(Debug, Parser)]
#[command(
    name = "scx_preload",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 this kernel cannot run sched_ext.\n\
                  To get rid of it: `scx_preload unload`, or boot with scx_preload.mode=off."
)]
struct Cli {
    /// Say more: libbpf's messages, the whole verifier log
    #[arg(short, long, global = true)]
    verbose: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Load(commands::load::Args),
    Unload(commands::unload::Args),
    Resume(commands::resume::Args),
    Run(commands::run::Args),
    Status(commands::status::Args),
    Bypass(commands::bypass::Args),
    Verify(commands::verify::Args),
    Hooks(commands::hooks::Args),
    New(commands::new::Args),
    Build(commands::build::Args),
    Link(commands::link::Args),
    Check(commands::check::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let udev = matches!(&cli.command, Command::Resume(args) if args.udev);
    logging::install(cli.verbose, udev);
    libbpf_log::install();

    let done = |()| ExitCode::SUCCESS;
    let result = match &cli.command {
        Command::Load(args) => commands::load::run(args),
        Command::Unload(args) => commands::unload::run(args).map(done),
        Command::Resume(args) => commands::resume::run(args).map(done),
        Command::Run(args) => commands::run::run(args),
        Command::Status(args) => commands::status::run(args).map(done),
        Command::Bypass(args) => commands::bypass::run(args).map(done),
        Command::Verify(args) => commands::verify::run(args).map(done),
        Command::Hooks(args) => commands::hooks::run(args).map(done),
        Command::New(args) => commands::new::run(args).map(done),
        Command::Build(args) => commands::build::run(args).map(done),
        Command::Link(args) => commands::link::run(args).map(done),
        Command::Check(args) => commands::check::run(args).map(done),
    };
    result.unwrap_or_else(|err| {
        log::error!("{err:#}");
        match err.downcast_ref::<Error>() {
            Some(Error::Unsupported(_)) => ExitCode::from(EXIT_UNSUPPORTED),
            Some(Error::Refused { log, .. }) => {
                explain(log, cli.verbose);
                ExitCode::FAILURE
            }
            _ => ExitCode::FAILURE,
        }
    })
}

/// Lines of a verifier log that are worth showing unasked: its end has the
/// instruction that was refused and the registers at it.
const TAIL: usize = 20;

fn explain(log: &str, all: bool) {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = if all {
        0
    } else {
        lines.len().saturating_sub(TAIL)
    };
    if skipped > 0 {
        log::error!("… {skipped} lines before; all of them with -v");
    }
    for line in &lines[skipped..] {
        log::error!("{line}");
    }
}
