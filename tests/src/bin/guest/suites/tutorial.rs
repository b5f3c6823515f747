// SPDX-License-Identifier: GPL-2.0-only
//! Runs the commands of docs/tutorial.md for the target system, with the object that the
//! author's part has built and the host has put into root's home.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use scx_preload_tests::docs::{TUTORIAL, script};

use super::Test;
use crate::preload::status;
use crate::tests;

pub const TESTS: &[Test] = tests![favours_as_it_says];

const HOME: &str = "/root";

/// Runs the commands with this tag and returns their output.
fn follow(tag: &str) -> Result<String> {
    let script = script(TUTORIAL, tag);
    let out = Command::new("sh")
        .args(["-euxc", &script])
        .current_dir(HOME)
        .output()?;
    let (said, errors) = (
        String::from_utf8_lossy(&out.stdout).into_owned(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    );
    println!("{said}{errors}");
    ensure!(out.status.success(), "{}", out.status);
    Ok(said)
}

fn favours_as_it_says() -> Result<()> {
    let said = follow("machine")?;
    let hook = said
        .lines()
        .find(|line| line.starts_with("hook_task_charge"));
    let hook = hook.context("no hook_task_charge in the status")?;
    ensure!(hook.ends_with(" override favour.bpf.c"), "{hook}");
    let seconds = |comm: &str| {
        let line = said
            .lines()
            .find(|line| line.split(' ').next() == Some(comm));
        line.and_then(|line| line.split_whitespace().last()?.parse::<f64>().ok())
            .with_context(|| format!("no time of {comm}"))
    };
    let ratio = seconds("favoured")? / seconds("yes")?;
    ensure!((2.0..4.5).contains(&ratio), "{ratio:.1} times the CPU time");
    let status = status()?;
    ensure!(
        status["settings"]["favour_times"] == 5,
        "{}",
        status["settings"]
    );
    Ok(())
}
