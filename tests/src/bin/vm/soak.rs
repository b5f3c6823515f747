// SPDX-License-Identifier: GPL-2.0-only
//! One boot that goes on for as long as one likes.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use scx_preload_tests::Report;

use crate::lab::Lab;
use crate::suites::{Boot, Which, tiny};
use crate::{emulator, step};

const BOOT: Boot = tiny("soak", Which::Newest, &[]);

pub fn run(refresh: bool, minutes: u32) -> Result<ExitCode> {
    let mut lab = Lab::new(refresh)?;
    lab.prepare(&[&BOOT])?;
    let log = step::boot_log(BOOT.name)?;
    println!(
        "Linux {} for {minutes} min, console: {}",
        lab.kernel(BOOT.kernel)?.release,
        log.display()
    );
    let start = Instant::now();
    let cmdline = format!("scx_test.soak={}", minutes * 60);
    let ended = lab.machine(&BOOT, &cmdline)?.boot(|report| {
        if let Report::Text { line } = report {
            println!("  {line}");
        }
    });
    let seconds = start.elapsed().as_secs_f32();
    let Err(err) = ended else {
        println!("passed, {seconds:.0} s");
        return Ok(ExitCode::SUCCESS);
    };
    println!("FAIL after {seconds:.0} s: {err:#}");
    if emulator::failed(&log) {
        println!("this is QEMU's failure, see emulator.rs");
    }
    Ok(ExitCode::FAILURE)
}
