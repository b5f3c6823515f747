// SPDX-License-Identifier: GPL-2.0-only
//! The `scx_preload` program.

mod commands;
mod logging;

use std::process::ExitCode;

use clap::Parser;
use scx_preload::abi::EXIT_UNSUPPORTED;
use scx_preload::cli::{Cli, CliCommand};
use scx_preload::{Error, libbpf_log};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let udev = matches!(&cli.command, CliCommand::Resume(args) if args.udev);
    logging::install(cli.verbose, udev);
    libbpf_log::install();

    let done = |()| ExitCode::SUCCESS;
    let result = match &cli.command {
        CliCommand::Load(args) => commands::load::run(args),
        CliCommand::Unload(args) => commands::unload::run(args).map(done),
        CliCommand::Resume(args) => commands::resume::run(args).map(done),
        CliCommand::Run(args) => commands::run::run(args),
        CliCommand::Status(args) => commands::status::run(args).map(done),
        CliCommand::Bypass(args) => commands::bypass::run(args).map(done),
        CliCommand::Verify(args) => commands::verify::run(args).map(done),
        CliCommand::Hooks(args) => commands::hooks::run(args).map(done),
        CliCommand::New(args) => commands::new::run(args).map(done),
        CliCommand::Build(args) => commands::build::run(args).map(done),
        CliCommand::Link(args) => commands::link::run(args).map(done),
        CliCommand::Check(args) => commands::check::run(args).map(done),
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

/// Lines of a verifier log to show without -v: its end has the refused instruction and
/// the registers there.
const TAIL: usize = 20;

fn explain(log: &str, all: bool) {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = if all {
        0
    } else {
        lines.len().saturating_sub(TAIL)
    };
    if skipped > 0 {
        log::error!("… {skipped} lines skipped; -v shows them");
    }
    for line in &lines[skipped..] {
        log::error!("{line}");
    }
}
