// SPDX-License-Identifier: GPL-2.0-only
//! A preparation step: prints its name and duration; a failure names the step and shows
//! the end of its output.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::programs;

/// Lines of a failed step's log to print.
const TAIL: usize = 15;

/// Runs a command as a step, with its output in a log.
pub fn run(what: &str, command: &mut Command) -> Result<()> {
    let path = log_path(what)?;
    let log = std::fs::File::create(&path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    done(what, || {
        let program = command.get_program().display().to_string();
        let status = command
            .status()
            .with_context(|| format!("cannot run {program}"))?;
        if status.success() {
            return Ok(());
        }
        let text = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        bail!(
            "{tail}\n{program}: {status}\nsee the whole log in {}",
            path.display()
        )
    })
}

/// Runs `work`, printing its name and duration.
pub fn done<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    print!("{what} ... ");
    let _ = std::io::stdout().flush();
    let start = Instant::now();
    let result = work();
    let seconds = start.elapsed().as_secs_f32();
    match &result {
        Ok(_) => println!("{seconds:.1} s"),
        Err(_) => println!("failed after {seconds:.1} s"),
    }
    named(what, || result)
}

/// Runs `work`, which prints its own progress.
pub fn named<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    work().with_context(|| format!("step \"{what}\" failed"))
}

/// Path of a boot's console log.
pub fn boot_log(boot: &str) -> Result<PathBuf> {
    log_path(&format!("boot {boot}"))
}

fn log_path(what: &str) -> Result<PathBuf> {
    let dir = programs::target_dir()?.join("vm-logs");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir.join(what.replace([' ', '/', ','], "_") + ".log"))
}
