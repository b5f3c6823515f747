// SPDX-License-Identifier: GPL-2.0-only
//! Boots for demonstration: the defaults, an override beside a broken one, or the user's
//! object.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use scx_preload_tests::Report;

use crate::debian::Image;
use crate::lab::{self, Lab};
use crate::suites::{Boot, DEBIAN, ICOUNT, Vm, Which};
use crate::{drills, step};

const fn boot(name: &'static str, vm: Vm) -> Boot {
    Boot {
        name,
        vm,
        kernel: Which::Newest,
        shape: DEBIAN,
        clock: ICOUNT,
        cmdline: "scx_test.demo",
        suites: &[],
    }
}

const BOOTS: &[(&str, Boot)] = &[
    ("the defaults", boot("demo", Vm::Debian)),
    (
        "an override linked in and a broken one left out",
        boot("demo_override", Vm::Image(Image::Dracut)),
    ),
];

const OWN: &[(&str, Boot)] = &[("your object", boot("demo_object", Vm::Debian))];

/// Boots all demonstrations, or only that of `object`, installed as the administrator's.
pub fn run(refresh: bool, object: Option<&Path>) -> Result<()> {
    let boots = object.map_or(BOOTS, |_| OWN);
    let start = Instant::now();
    let mut lab = Lab::new(refresh)?;
    lab.prepare(&boots.iter().map(|(_, boot)| boot).collect::<Vec<_>>())?;
    for (what, boot) in boots {
        let release = &lab.kernel(boot.kernel)?.release;
        println!("\nDebian with Linux {release} boots with {what}; this takes about a minute\n");
        let on_report = |report| {
            if let Report::Text { line } = report {
                println!("{}", format!("  {line}").trim_end());
            }
        };
        let log = step::boot_log(boot.name)?;
        step::named(
            &format!("boot with {what} (console: {})", log.display()),
            || {
                let mut machine = lab.machine(boot, "")?;
                if let Some(object) = object {
                    let more = log.with_extension("initrd");
                    lab::add(&machine.initrd, |to| drills::object(to, object), &more)?;
                    machine.initrd = more;
                }
                machine.boot(on_report)
            },
        )?;
    }
    println!("\ndone in {:.0} s", start.elapsed().as_secs_f32());
    Ok(())
}
