// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload run`

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::Context;
use nix::sys::signal::Signal::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use nix::sys::signal::{SigSet, kill};
use nix::unistd::Pid;
use scx_preload::cli::RunArgs;
use scx_preload::object::source::Source;
use scx_preload::scheduler;

pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    scheduler::hand_over()?;
    let ended = run_command(&args.command);
    scheduler::hurry();
    scheduler::take_back(&Source::built_in())
        .context("the command has ended, but our scheduler is not reattached")?;
    Ok(match ended {
        Ok(status) => ExitCode::from(code(status)),
        Err(err) => {
            log::error!("cannot run {}: {err}", args.command[0].display());
            ExitCode::from(match err.kind() {
                io::ErrorKind::NotFound => 127,
                _ => 126,
            })
        }
    })
}

/// Run the command and wait for its end, whatever the signals: the terminal sends SIGINT
/// and SIGQUIT to the command, too; SIGHUP and SIGTERM are forwarded.
fn run_command(command: &[OsString]) -> io::Result<ExitStatus> {
    let signals = SigSet::from_iter([SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM]);
    let (program, args) = command.split_first().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    command.args(args);
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(move || Ok(signals.thread_unblock()?)) };
    signals.thread_block()?;
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if let signal @ (SIGHUP | SIGTERM) = signals.wait()? {
            kill(Pid::from_raw(child.id() as i32), signal)?;
        }
    }
}

/// The exit code that a shell would return.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
