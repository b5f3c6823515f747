// SPDX-License-Identifier: GPL-2.0-only
//! Two boots to look at: the defaults, and an override of one hook beside a
//! broken one.

use std::time::Instant;

use anyhow::Result;
use scx_preload_tests::Report;

use crate::lab::Lab;
use crate::step;
use crate::suites::{Boot, DEBIAN, Vm, Which};

const fn boot(name: &'static str, vm: Vm) -> Boot {
    Boot {
        name,
        vm,
        kernel: Which::Newest,
        shape: DEBIAN,
        cmdline: "scx_test.demo",
        suites: &[],
    }
}

const BOOTS: &[(&str, Boot)] = &[
    ("the defaults", boot("demo", Vm::Debian)),
    (
        "an override linked in and a broken one left out",
        boot("demo_override", Vm::Override),
    ),
];

pub fn run(refresh: bool) -> Result<()> {
    let start = Instant::now();
    let mut lab = Lab::new(refresh)?;
    lab.prepare(&BOOTS.iter().map(|(_, boot)| boot).collect::<Vec<_>>())?;
    for (what, boot) in BOOTS {
        let release = &lab.kernel(boot.kernel)?.release;
        println!(
            "\nDebian with Linux {release} boots with {what}; this takes about half a minute\n"
        );
        let on_report = |report| {
            if let Report::Text { line } = report {
                println!("{}", format!("  {line}").trim_end());
            }
        };
        let log = step::boot_log(boot.name)?;
        step::named(
            &format!("boot with {what} (console: {})", log.display()),
            || lab.machine(boot, boot.cmdline)?.boot(on_report),
        )?;
    }
    println!("\ndone in {:.0} s", start.elapsed().as_secs_f32());
    Ok(())
}
