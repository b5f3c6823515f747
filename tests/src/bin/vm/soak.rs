// SPDX-License-Identifier: GPL-2.0-only
//! Runs the soak test: one boot of a given duration.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use scx_preload_tests::Report;

use crate::cpio::Archive;
use crate::lab::{self, Lab};
use crate::qemu::Clock;
use crate::suites::{Boot, Which, tiny};
use crate::{emulator, programs, step};

const BOOT: Boot = Boot {
    clock: Clock::Host,
    ..tiny("soak", Which::Newest, &[])
};

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
    let mut machine = lab.machine(&BOOT, &cmdline)?;
    let initrd = log.with_extension("initrd");
    lab::add(&machine.initrd, add_stress_ng, &initrd)?;
    machine.initrd = initrd;
    let ended = machine.boot(|report| {
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
        println!("a failure of QEMU, see emulator.rs");
    }
    Ok(ExitCode::FAILURE)
}

/// The host's stress-ng and the libraries that the guest lacks.
fn add_stress_ng(archive: &mut Archive) -> Result<()> {
    const PROGRAM: &str = "usr/bin/stress-ng";
    let program = Path::new("/").join(PROGRAM);
    for library in programs::libraries(&[&program])? {
        archive.copy(&library.display().to_string(), 0o755, &library)?;
    }
    archive.copy(PROGRAM, 0o755, &program)
}
