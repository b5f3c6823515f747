// SPDX-License-Identifier: GPL-2.0-only
//! Boots scx_preload in virtual machines, to test and demonstrate it.

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

/// Boot scx_preload in virtual machines (QEMU without KVM), to test and demonstrate it.
///
/// Debian's kernels, a Debian root and images built from them are cached in
/// $SCX_PRELOAD_CACHE, else $XDG_CACHE_HOME/scx_preload, else ~/.cache/scx_preload. They are
/// downloaded from the mirror of the system's apt, whose sources and lists are not changed.
/// Logs of steps and consoles are in target/vm-logs.
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
    /// Download and build everything that the boots require.
    Setup,
    /// Run the tests; the last line is "N passed, N failed".
    Test {
        /// Only tests with this text in boot/suite/test, or one of a,b; see `list`.
        filter: Option<String>,
        /// Run the workspace's unit tests first and count them.
        #[arg(long)]
        unit: bool,
        /// Boot machines whose randomness (QEMU's -seed) differs: under icount, the same tests
        /// in another order of events.
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u32,
    },
    /// Boot Debian from its dracut image and show the scheduler's state: first the defaults,
    /// then an override.
    Demo {
        /// Boot with this object instead, written by `scx_preload build`.
        #[arg(long, value_name = "FILE")]
        object: Option<PathBuf>,
    },
    /// Write the BTF of the kernel that `demo` boots, for `scx_preload build --btf`.
    Btf { output: PathBuf },
    /// Compare schedulers, which take turns within one boot of each machine.
    ///
    /// By default, time in the VM is the number of executed instructions (QEMU's icount): two
    /// runs agree within a few percent under any host load. A row shows the cost of a
    /// scheduler's work and of its decisions, but neither lock contention nor cache effects.
    /// Each repetition measures every row once with every scheduler. The tables show the
    /// median, its spread (maximum minus minimum, as a fraction of the median), and the ratio
    /// to EEVDF, the kernel's own scheduler, in the same boot.
    ///
    /// A second table compares our scheduler without bypass, in soft and in kernel bypass: many
    /// tasks start on one CPU, and each mode has to spread them.
    ///
    /// Fails if a scheduler did not start or was detached, after showing the other results.
    Bench(bench::Options),
    /// Report whether two `results.json` of `bench` agree within their spreads.
    BenchDiff { before: PathBuf, after: PathBuf },
    /// Change schedulers, CPUs, cgroups, affinities and tasks all at once, and look for
    /// stalls, leaks and kernel warnings.
    Soak {
        /// Duration; the round that is running then is completed.
        #[arg(long, value_name = "N", default_value_t = 10)]
        minutes: u32,
    },
    /// List all tests as boot/suite/test.
    List,
    /// Test the handover to each scheduler of the benchmark, running it for some seconds, and
    /// to scx_loader, which switches between them. The first run builds them, which takes
    /// longer than all tests.
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
        Verb::Test { filter, unit, seed } => {
            let filter = filter.unwrap_or_default();
            return suites::run(args.refresh, unit, seed, &filter);
        }
        Verb::Soak { minutes } => return soak::run(args.refresh, minutes),
        Verb::Peers { filter } => {
            let filter = filter.unwrap_or_default();
            return suites::run_peers(args.refresh, &filter);
        }
    }
    Ok(ExitCode::SUCCESS)
}
