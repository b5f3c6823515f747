// SPDX-License-Identifier: GPL-2.0-only
//! Boots scx_preload in virtual machines, to test it and to show it.

mod apt;
mod bench;
mod cache;
mod cpio;
mod debian;
mod demo;
mod drills;
mod emulator;
mod kernel;
mod kit;
mod lab;
mod peers;
mod programs;
mod qemu;
mod scx_loader;
mod soak;
mod step;
mod suites;
mod tiny;
mod unit;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Boot scx_preload in virtual machines (QEMU without KVM), to test it and to
/// show it.
///
/// Debian's kernels, a Debian root and the images made of them are kept in
/// $SCX_PRELOAD_CACHE, else $XDG_CACHE_HOME/scx_preload, else
/// ~/.cache/scx_preload, and reused. They come from the mirror that the
/// machine's own apt uses; its sources and lists are not touched. Logs of steps
/// and consoles are in target/vm-logs.
#[derive(Parser)]
struct Args {
    /// Update the package lists even if they are less than a week old.
    #[arg(long, global = true)]
    refresh: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Download and build all that the boots need.
    Setup,
    /// Run the tests; the last line is "N passed, N failed".
    Test {
        /// Only tests with this text in boot/suite/test; see `list`.
        filter: Option<String>,
        /// Run the workspace's unit tests first and count them.
        #[arg(long)]
        unit: bool,
    },
    /// Boot Debian from its dracut image and show the scheduler at work: first
    /// the defaults, then an override.
    Demo {
        /// Boot with this object instead, as `scx_preload build` writes it.
        #[arg(long, value_name = "FILE")]
        object: Option<PathBuf>,
    },
    /// Write the BTF of the kernel that `demo` boots, for `scx_preload build --btf`.
    Btf { output: PathBuf },
    /// Compare schedulers: all in one boot of a machine, taking turns.
    ///
    /// By default time in the VM is the number of instructions that it has
    /// executed (QEMU's icount): two runs agree within a few percent however
    /// busy the host is, and a row shows what a scheduler's work costs and what
    /// it decides; it shows neither lock contention nor caches. Each row is
    /// measured once in each repetition, by all schedulers before the next
    /// repetition begins; the tables have the median, its spread (greatest less
    /// least, of the median), and the ratio to EEVDF, the kernel's own
    /// scheduler, in the same boot.
    ///
    /// A second table is about bypass, when the scheduler's own decisions are off:
    /// many tasks begin on one CPU, and each mode of bypass is to spread them.
    ///
    /// Fails if a scheduler did not get to work or did not stay, after it has
    /// shown the rest.
    Bench(bench::Options),
    /// Say whether two `results.json` of `bench` agree within their spreads.
    BenchDiff { before: PathBuf, after: PathBuf },
    /// Let everything change at once, schedulers, CPUs, cgroups, affinities and tasks, and
    /// look for what stalls, leaks or makes the kernel complain.
    Soak {
        /// How long; it ends with the round that has begun.
        #[arg(long, value_name = "N", default_value_t = 10)]
        minutes: u32,
    },
    /// List all tests as boot/suite/test.
    List,
    /// Run each scheduler that the benchmark compares with for some seconds beside ours,
    /// and scx_loader, which switches between them. The first time they are built,
    /// which takes longer than all tests.
    Peers {
        /// Only those with this text in peers/peers/NAME or scx_loader/scx_loader/TEST.
        filter: Option<String>,
    },
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(e) => {
            eprintln!("vm: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let args = Args::parse();
    match args.verb {
        Verb::Setup => suites::setup(args.refresh)?,
        Verb::Demo { object } => demo::run(args.refresh, object.as_deref())?,
        Verb::Btf { output } => kit::write_btf(args.refresh, &output)?,
        Verb::Bench(options) => return bench::run(args.refresh, &options),
        Verb::BenchDiff { before, after } => bench::diff(&before, &after)?,
        Verb::List => {
            kit::plan("")
                .iter()
                .for_each(|test| println!("{}", test.name));
            for planned in suites::plan(suites::BOOTS, "")? {
                planned.tests.iter().for_each(|name| println!("{name}"));
            }
        }
        Verb::Test { filter, unit } => {
            let filter = filter.unwrap_or_default();
            return suites::run(args.refresh, unit, &filter);
        }
        Verb::Soak { minutes } => return soak::run(args.refresh, minutes),
        Verb::Peers { filter } => {
            let filter = filter.unwrap_or_default();
            return suites::run_peers(args.refresh, &filter);
        }
    }
    Ok(ExitCode::SUCCESS)
}
