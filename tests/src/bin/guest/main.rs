// SPDX-License-Identifier: GPL-2.0-only
//! The test runner inside the VM.
//!
//! In the tiny VM it is /init; in the Debian VM a unit starts it after multi-user.target. The
//! kernel command line tells it what to do:
//!
//! - `scx_test.boot=NAME` names the boot in the report,
//! - `scx_test.suite=NAME[,NAME]` names the suites to run,
//! - `scx_test.filter=TEXT[,TEXT]` selects the tests whose full name contains one of the TEXTs,
//! - `scx_test.online=CPUS` brings CPUs online first, for a boot with `maxcpus=`,
//! - `scx_test.demo` shows the system instead of testing it,
//! - `scx_test.soak=SECONDS` runs the soak test for this time instead,
//! - `scx_bench.schedulers=NAME[,NAME]` compares schedulers instead; the other
//!   parameters are in `scx_preload_tests::bench::words`.
//!
//! The host runs `guest --list` to know which results to expect.

mod bench;
mod demo;
mod hog;
mod init;
mod journal;
mod kmsg;
mod other;
mod port;
mod preload;
mod runner;
mod soak;
mod storm;
mod suites;
mod sys;

use std::panic;
use std::process::{self, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::reboot::{RebootMode, reboot};
use scx_preload_tests::Report;
use scx_preload_tests::bench::words;

use crate::port::Port;
use crate::sys::word;

fn main() -> ExitCode {
    // A forked child must not unwind into the parent's stack frames.
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        print(info);
        process::abort();
    }));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let pid1 = std::process::id() == 1;
    let done = match args[..] {
        // The kernel passes unknown command line words to init.
        _ if pid1 => init::mount_all().and_then(|()| whole_run()),
        ["--list"] => list(),
        ["--one", suite, test] => runner::run_here(suite, test),
        ["--workload", name, scale, under] => bench::run_here(name, scale, under),
        // As BPF_CLANG: the VM has no clang, and the "sources" are objects already.
        ["-target", "bpf", .., "-c", from, "-o", to] => sys::copy(from, to),
        ["--helper", what] => bench::run_helper(what),
        ["--run"] => whole_run(),
        _ => Err(anyhow::anyhow!("usage: guest --list | --run")),
    };
    if let Err(e) = &done {
        eprintln!("{e:#}");
    }
    if pid1 || args == ["--run"] {
        let Err(e) = reboot(RebootMode::RB_POWER_OFF);
        eprintln!("cannot power off: {e}");
    }
    if done.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn list() -> Result<()> {
    for (suite, tests) in suites::ALL {
        for test in tests.iter().chain(suites::LAST) {
            println!("{suite}/{}", test.name);
        }
    }
    Ok(())
}

/// Does what the kernel command line requests; reports an error to the host.
fn whole_run() -> Result<()> {
    let mut port = Port::open()?;
    let done = obey(&mut port);
    match &done {
        Ok(()) => port.send(&Report::Done)?,
        Err(e) => port.send(&Report::Text {
            line: format!("guest: {e:#}"),
        })?,
    }
    port.drain()?;
    done
}

fn obey(port: &mut Port) -> Result<()> {
    let cmdline = sys::read("/proc/cmdline")?;
    if cmdline.split_whitespace().any(|w| w == "scx_test.demo") {
        return demo::show(port);
    }
    if let Some(seconds) = word("scx_test.soak")? {
        return soak::run_for(Duration::from_secs(seconds.parse()?), port);
    }
    if word(words::SCHEDULERS)?.is_some() {
        return bench::compare(port);
    }
    let boot = word("scx_test.boot")?.unwrap_or("by-hand".into());
    let filter = word("scx_test.filter")?.unwrap_or_default();
    if let Some(cpus) = word("scx_test.online")? {
        sys::set_online(sys::cpu_list(&cpus)?, true)?;
    }
    let names = word("scx_test.suite")?.context("no scx_test.suite= on the kernel command line")?;
    for name in names.split(',') {
        let Some(tests) = suites::find(name) else {
            bail!("unknown suite {name:?}");
        };
        for test in tests.iter().chain(suites::LAST) {
            let full = format!("{boot}/{name}/{}", test.name);
            if filter.split(',').any(|text| full.contains(text)) {
                runner::run_apart(port, &full, name, test)?;
            }
        }
    }
    Ok(())
}
