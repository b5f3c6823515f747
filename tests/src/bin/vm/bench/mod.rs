// SPDX-License-Identifier: GPL-2.0-only
//! Compares schedulers in VMs and shows the results.

mod diff;
mod machines;
mod plot;
mod progress;
mod results;
mod tables;
mod verdict;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use scx_preload_tests::Report;
use scx_preload_tests::bench::{
    self, Bypass, EEVDF, OBJECTS, PEERS, PRELOAD, Peer, Table, row, split_schedulers, variant,
    words, workloads,
};

use crate::cpio::Archive;
use crate::lab::{self, Lab};
use crate::qemu::Clock;
use crate::{programs, qemu, step};

pub use diff::diff;
use machines::Machine;
use progress::Progress;
use results::{Failure, Results, Sample};

/// What to compare, and how.
#[derive(Args)]
pub struct Options {
    /// Rows to measure, separated by commas; all by default. Rows from the same run of a
    /// workload are measured together.
    #[arg(long, value_name = "ROW,…", value_delimiter = ',')]
    rows: Vec<String>,

    /// Schedulers to compare, separated by commas.
    ///
    /// "eevdf" is the kernel's own, without sched_ext. "preload" is ours;
    /// "preload:slice_ns=3000000" sets variables like `scx_preload load --set`, and
    /// "preload@FILE" is another object of ours, by its path on this system. The others are
    /// built when first used, which takes a while; those that fail to build are left out.
    /// [default: eevdf,preload and all others]
    #[arg(long, value_name = "NAME,…")]
    schedulers: Option<String>,

    /// Bypass modes of our scheduler to compare, separated by commas.
    #[arg(long, value_name = "MODE,…", value_enum, value_delimiter = ',',
          default_values_t = Bypass::value_variants().to_vec())]
    modes: Vec<Bypass>,

    /// Number of measurements of each row.
    #[arg(long, value_name = "N", default_value_t = 5)]
    repetitions: u32,

    /// Machine to measure on, in a boot of its own; may be given several times.
    #[arg(long, value_enum, default_values = ["smt", "isolated"])]
    machine: Vec<Machine>,

    /// Measure on all machines.
    #[arg(long)]
    all: bool,

    /// How time passes in the VM.
    #[arg(long, value_enum, default_value = "icount")]
    mode: Mode,

    /// Factor for the workloads' iterations and durations.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    scale: f64,

    /// Directory for results.md, results.json and results.svg, created if missing. [default: bench in cargo's target directory]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// How time passes.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Mode {
    /// by executed instructions, one CPU after the other: shows costs
    Icount,
    /// as on the host, CPUs in parallel: only CPU shares are meaningful
    Multi,
}

pub fn run(refresh: bool, options: &Options) -> Result<ExitCode> {
    ensure!(options.scale > 0.0, "--scale must be greater than 0");
    ensure!(
        options.repetitions > 0,
        "--repetitions must be greater than 0"
    );
    let mut plan = Plan::new(options)?;
    let mut lab = Lab::new(refresh)?;
    let boots: Vec<_> = plan.machines.iter().map(|m| m.boot()).collect();
    lab.prepare(&boots)?;
    plan.keep(lab.prepare_peers(&plan.peers())?)?;

    let mut results = Results::new(
        lab.kernel(boots[0].kernel)?.release.clone(),
        lab.qemu_version()?,
        if options.mode == Mode::Icount {
            "icount"
        } else {
            "multi"
        },
        options.scale,
        plan.names.clone(),
        plan.modes.clone(),
    );
    for machine in &plan.machines {
        let boot = plan.boot(&lab, *machine)?;
        print!("{}", tables::text(&results, &boot));
        results.boots.push(boot);
    }
    let out = match &options.out {
        Some(out) => out.clone(),
        None => programs::target_dir()?.join("bench"),
    };
    write(&results, &out)?;
    Ok(if results.failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn write(results: &Results, out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    for (name, text) in [
        ("results.json", results.json()?),
        ("results.md", tables::markdown(results)),
        ("results.svg", plot::svg(results)),
    ] {
        let path = out.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// What to run in each boot.
struct Plan<'a> {
    machines: Vec<Machine>,
    workloads: Vec<&'static str>,
    /// Names in the guest.
    names: Vec<String>,
    modes: Vec<String>,
    /// Name in the guest to path on the host.
    objects: BTreeMap<String, PathBuf>,
    options: &'a Options,
}

impl<'a> Plan<'a> {
    fn new(options: &'a Options) -> Result<Self> {
        let mut plan = Plan {
            machines: options.machine.clone(),
            workloads: choose_workloads(&options.rows)?,
            names: Vec::new(),
            modes: Vec::new(),
            objects: BTreeMap::new(),
            options,
        };
        if options.all {
            plan.machines = Machine::value_variants().to_vec();
        }
        plan.choose_machines()?;
        if plan.wants(Table::Bypass) {
            plan.modes = options.modes.iter().map(|mode| mode.name()).collect();
        }
        if plan.wants(Table::Schedulers) {
            plan.add_schedulers()?;
        }
        plan.ensure_some()?;
        Ok(plan)
    }

    /// Whether a row of this table is selected.
    fn wants(&self, table: Table) -> bool {
        let names = &self.options.rows;
        let mut rows = names.iter().filter_map(|name| row(name));
        names.is_empty() || rows.any(|row| row.table == table)
    }

    /// Leaves out machines that measure none of the rows.
    fn choose_machines(&mut self) -> Result<()> {
        let names = &self.options.rows;
        self.machines.retain(|machine| {
            let mut rows = names.iter().filter_map(|name| row(name));
            names.is_empty() || rows.any(|row| machine.measures(row.workload))
        });
        ensure!(
            !self.machines.is_empty(),
            "none of these machines measures {}; choose others with --machine, or --all",
            names.join(", ")
        );
        Ok(())
    }

    /// The workloads for one machine.
    fn workloads(&self, which: Machine) -> Vec<&'static str> {
        let workloads = self.workloads.iter().copied();
        workloads.filter(|name| which.measures(name)).collect()
    }

    fn modes(&self, workloads: &[&str]) -> &[String] {
        let mut tables = workloads.iter().map(|name| bench::table(name));
        if tables.any(|table| table == Some(Table::Bypass)) {
            &self.modes
        } else {
            &[]
        }
    }

    fn ensure_some(&self) -> Result<()> {
        let any = !self.names.is_empty() || !self.modes.is_empty();
        ensure!(any, "no scheduler is left to measure");
        Ok(())
    }

    /// How often each workload is run.
    fn due(&self, workloads: &[&'static str]) -> Vec<(&'static str, usize)> {
        let columns = |workload: &str| match bench::table(workload) {
            Some(Table::Bypass) => self.modes.len(),
            _ => self.names.len(),
        };
        let due = |workload: &&'static str| {
            let repetitions = self.options.repetitions as usize;
            (*workload, columns(workload) * repetitions)
        };
        workloads.iter().map(due).collect()
    }

    /// The selected peers.
    fn peers(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = PEERS.iter().map(|(name, _)| *name).collect();
        names.retain(|name| self.names.iter().any(|n| n == name));
        names
    }

    /// Leaves out the selected peers that are not among `peers`.
    fn keep(&mut self, peers: &[Peer]) -> Result<()> {
        let wanted = self.peers();
        let lacks = |name: &str| wanted.contains(&name) && peers.iter().all(|p| p.name != name);
        self.names.retain(|name| !lacks(name));
        self.ensure_some()
    }

    fn add_schedulers(&mut self) -> Result<()> {
        let names = match &self.options.schedulers {
            Some(list) => split_schedulers(list),
            None => [EEVDF, PRELOAD]
                .into_iter()
                .chain(PEERS.iter().map(|(name, _)| *name))
                .map(String::from)
                .collect(),
        };
        names
            .into_iter()
            .try_for_each(|name| self.add_scheduler(name))
    }

    fn add_scheduler(&mut self, name: String) -> Result<()> {
        let Some(variant) = variant(&name) else {
            ensure!(
                name == EEVDF || PEERS.iter().any(|(peer, _)| *peer == name),
                "unknown scheduler {name:?}"
            );
            self.names.push(name);
            return Ok(());
        };
        let Some(path) = variant.object else {
            self.names.push(name);
            return Ok(());
        };
        let file = Path::new(path)
            .file_name()
            .context("an object without a name")?;
        let file = file.to_string_lossy().into_owned();
        let path = PathBuf::from(path);
        ensure!(path.exists(), "{} is missing", path.display());
        self.names
            .push(name.replacen(variant.object.unwrap_or_default(), &file, 1));
        if let Some(other) = self.objects.insert(file, path.clone()) {
            ensure!(
                other == path,
                "two objects have the same file name: {} and {}; rename one",
                other.display(),
                path.display()
            );
        }
        Ok(())
    }

    /// A kernel message on the serial port takes milliseconds of guest time, so only errors and
    /// warnings are printed.
    fn cmdline(&self, workloads: &[&str]) -> String {
        format!(
            "quiet loglevel=5 {}={} {}={} {}={} {}={} {}={}",
            words::SCHEDULERS,
            self.names.join(","),
            words::MODES,
            self.modes(workloads).join(","),
            words::ROWS,
            workloads.join(","),
            words::REPETITIONS,
            self.options.repetitions,
            words::SCALE,
            self.options.scale,
        )
    }

    /// Boots one machine and collects its reports; failures are part of the results.
    fn boot(&self, lab: &Lab, which: Machine) -> Result<results::Boot> {
        let boot = which.boot();
        let kernel = lab.kernel(boot.kernel)?;
        let console = step::boot_log(boot.name)?;
        println!(
            "{}: Linux {}, {} CPUs; console: {}",
            which.name(),
            kernel.release,
            boot.shape.smp,
            console.display()
        );
        let workloads = self.workloads(which);
        let mut machine = lab.machine(boot, &self.cmdline(&workloads))?;
        let add_objects = |archive: &mut Archive| {
            self.objects.iter().try_for_each(|(file, from)| {
                archive.copy(&format!("{OBJECTS}/{file}"), 0o644, from)
            })
        };
        let initrd = console.with_extension("initrd");
        lab::add(&machine.initrd, add_objects, &initrd)?;
        machine.initrd = initrd;
        machine.clock = match self.options.mode {
            Mode::Icount => Clock::Icount { shift: 0 },
            Mode::Multi => Clock::Host,
        };
        Ok(Self::follow(machine, which, self.due(&workloads), &console))
    }

    fn follow(
        mut machine: qemu::Machine,
        which: Machine,
        due: Vec<(&'static str, usize)>,
        console: &Path,
    ) -> results::Boot {
        let start = Instant::now();
        let mut boot = results::Boot {
            machine: which.name().into(),
            cpus: machine.shape.smp.into(),
            ..results::Boot::default()
        };
        let mut progress = Progress::new(due);
        let ended = machine.boot(|report| match report {
            Report::Start { name } => progress.start(name),
            Report::Result { name, error, .. } => {
                progress.end();
                boot.failures
                    .extend(error.map(|error| Failure { what: name, error }));
            }
            Report::Sample {
                scheduler,
                row,
                repetition,
                value,
            } => boot.samples.push(Sample {
                scheduler,
                row,
                repetition,
                value,
            }),
            Report::Text { line } => progress.say(&line),
            Report::Done => {}
        });
        if let Err(e) = ended {
            boot.failures.push(Failure {
                what: progress.current().into(),
                error: format!("{e:#}; console: {}", console.display()),
            });
        }
        progress.finish();
        boot.host_seconds = start.elapsed().as_secs_f64();
        boot
    }
}

/// The workloads that yield these rows, in the table's order; all if there are none.
fn choose_workloads(rows: &[String]) -> Result<Vec<&'static str>> {
    let mut wanted = Vec::new();
    for name in rows {
        match row(name) {
            // Every start of a scheduler yields it.
            Some(row) if row.workload.is_empty() => {}
            Some(row) => wanted.push(row.workload),
            None => bail!(
                "unknown row {name:?}; choose from {}",
                bench::rows()
                    .map(|row| row.name)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }
    }
    let mut all = workloads();
    all.retain(|name| rows.is_empty() || wanted.contains(name));
    Ok(all)
}

/// A program's output, trimmed; empty if there is no such program.
fn output(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output();
    let out = out.map(|out| out.stdout).unwrap_or_default();
    String::from_utf8_lossy(&out).trim().into()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn plan(args: &str) -> Result<(Vec<String>, Vec<&'static str>, usize)> {
        let args = ["bench"].into_iter().chain(args.split_whitespace());
        let options = Cli::try_parse_from(args)?.options;
        let plan = Plan::new(&options)?;
        Ok((plan.names, plan.workloads, plan.machines.len()))
    }

    #[test]
    fn defaults() {
        let (names, all, machines) = plan("").unwrap();
        assert_eq!(names[..3], ["eevdf", "preload", "simple"]);
        assert_eq!(names.len(), 2 + PEERS.len());
        assert_eq!(all, workloads());
        assert_eq!(machines, 2);
    }

    #[test]
    fn choices() {
        let (names, some, machines) =
            plan("--rows odd_use,ping_pong,odd_fair --schedulers preload:a=1,b=2,eevdf --all")
                .unwrap();
        assert_eq!(names, ["preload:a=1,b=2", "eevdf"]);
        assert_eq!(some, ["ping_pong", "odd_fair"]);
        assert_eq!(machines, 4);
    }

    #[test]
    fn bypass_alone_takes_no_scheduler() {
        let args = ["bench", "--rows", "bypass_20_idle,bypass_nice_error"];
        let args = args.into_iter().chain(["--modes", "soft,kernel_ours"]);
        let options = Cli::try_parse_from(args).unwrap().options;
        let plan = Plan::new(&options).unwrap();
        assert_eq!(plan.modes, ["soft", "kernel_ours"]);
        assert!(plan.names.is_empty());
        assert_eq!(
            plan.due(&plan.workloads),
            [("bypass_20", 10), ("bypass_nice", 10)]
        );
    }

    #[test]
    fn without_rows_of_bypass_no_modes() {
        let args = ["bench", "--rows", "ping_pong"];
        let options = Cli::try_parse_from(args).unwrap().options;
        let plan = Plan::new(&options).unwrap();
        assert!(plan.modes.is_empty());
        assert_eq!(
            plan.due(&plan.workloads),
            [("ping_pong", 5 * plan.names.len())]
        );
    }

    #[test]
    fn goes_without_what_cannot_be_built() {
        let args = ["bench", "--schedulers", "eevdf,simple,lavd,bpfland"];
        let options = Cli::try_parse_from(args).unwrap().options;
        let mut plan = Plan::new(&options).unwrap();
        assert_eq!(plan.peers(), ["simple", "bpfland", "lavd"]);
        let built = Peer {
            name: "bpfland".into(),
            command: Vec::new(),
            files: Vec::new(),
        };
        plan.keep(&[built]).unwrap();
        assert_eq!(plan.names, ["eevdf", "bpfland"]);
    }

    #[test]
    fn nonsense() {
        assert!(plan("--rows no_such_row").is_err());
        assert!(plan("--schedulers no_such_scheduler").is_err());
        assert!(plan("--schedulers preload@/no/such/file").is_err());
        assert!(plan("--machine toaster").is_err());
        assert!(plan("--modes harder").is_err());
    }
}
