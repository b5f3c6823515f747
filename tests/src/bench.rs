// SPDX-License-Identifier: GPL-2.0-only
//! The benchmark's rows, schedulers and options, shared by host and guest.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Parameters on the kernel command line.
pub mod words {
    /// Comma-separated schedulers. If set, the guest runs the benchmark.
    pub const SCHEDULERS: &str = "scx_bench.schedulers";
    /// Comma-separated [`Bypass`](super::Bypass) modes.
    pub const MODES: &str = "scx_bench.modes";
    /// Comma-separated workloads.
    pub const ROWS: &str = "scx_bench.rows";
    /// How many times everything is run.
    pub const REPETITIONS: &str = "scx_bench.repetitions";
    /// Factor for counts and windows.
    pub const SCALE: &str = "scx_bench.scale";
}

/// No sched_ext scheduler: the baseline.
pub const EEVDF: &str = "eevdf";

/// The row and workload that need a machine with isolated CPUs.
pub const ISOLATED: &str = "isolated";

/// The defaults. `preload@FILE` loads another object, `preload:KEY=VALUE,…` sets variables;
/// both can be combined.
pub const PRELOAD: &str = "preload";

/// Other schedulers to compare with, the cheapest to build first, each with the version of its
/// crate, `scx_NAME`. [`SIMPLE`] comes from the kernel source.
pub const PEERS: &[(&str, Option<&str>)] = &[
    (SIMPLE, None),
    ("bpfland", Some("1.1.4")),
    ("cosmos", Some("1.1.7")),
    ("beerland", Some("1.1.4")),
    ("rusty", Some("1.1.4")),
    ("p2dq", Some("1.1.4")),
    (LAYERED, Some("1.1.4")),
    ("lavd", Some("1.1.4")),
];

/// Needs a layer configuration to start; it ships an example.
pub const LAYERED: &str = "layered";

/// The peer that some targets refer to.
pub const SIMPLE: &str = "simple";

/// In the guest: the list of [`Peer`]s that could be built.
pub const PEERS_FILE: &str = "/peers.json";

/// In the guest: the objects of `preload@FILE`.
pub const OBJECTS: &str = "/bench/objects";

/// Another scheduler. It runs in the foreground until SIGINT.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// Name on the command line; the ops name in sysfs starts with it.
    pub name: String,
    /// Program and arguments; paths are those in the guest.
    pub command: Vec<String>,
    /// Path in the guest and source on the host of each file.
    #[serde(skip)]
    pub files: Vec<(String, PathBuf)>,
}

/// The bypass state that our scheduler is measured in.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Bypass {
    /// no bypass
    Defaults,
    /// kernel bypass with the kernel's default balancing interval
    Kernel,
    /// kernel bypass with the balancing interval that `load` sets
    KernelOurs,
    /// soft bypass of an override
    Soft,
}

impl Bypass {
    /// Name on the command line and in the tables.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or(String::new(), |value| value.get_name().into())
    }

    /// The mode with this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }
}

/// The table that a row is part of, by its columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Table {
    /// Our scheduler and others.
    Schedulers,
    /// Our scheduler in each [`Bypass`] mode.
    Bypass,
}

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Better {
    /// Costs and delays.
    Less,
    /// Fairness and utilization.
    More,
}

/// The target for our scheduler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// No figure.
    Open,
    /// This ratio to [`EEVDF`]'s value.
    Ratio(f64),
    /// This value.
    Value(f64),
    /// This ratio to scx_simple's value.
    OfSimple(f64),
}

/// A row of a table.
#[derive(Debug)]
pub struct Row {
    /// Name in reports, options and tables.
    pub name: &'static str,
    /// The workload that measures it.
    pub workload: &'static str,
    /// The table that shows it.
    pub table: Table,
    /// Unit of the value, empty for shares.
    pub unit: &'static str,
    /// Which direction is better.
    pub better: Better,
    /// Whether the table shows the ratio to [`EEVDF`] rather than the value.
    pub is_ratio: bool,
    /// The target for our scheduler.
    pub target: Target,
    /// Description.
    pub what: &'static str,
}

const fn cost(name: &'static str, unit: &'static str, target: Target, what: &'static str) -> Row {
    Row {
        name,
        workload: name,
        table: Table::Schedulers,
        unit,
        better: Better::Less,
        is_ratio: true,
        target,
        what,
    }
}

const fn share(name: &'static str, better: Better, target: Target, what: &'static str) -> Row {
    Row {
        name,
        workload: name,
        table: Table::Schedulers,
        unit: "",
        better,
        is_ratio: false,
        target,
        what,
    }
}

/// A row measured by another row's workload.
const fn with(workload: &'static str, row: Row) -> Row {
    Row { workload, ..row }
}

impl Row {
    /// Whether the target applies to this column.
    pub fn is_for(&self, column: &str) -> bool {
        self.table == Table::Bypass || variant(column).is_some()
    }
}

use Better::{Less, More};
use Target::{OfSimple, Open, Ratio, Value};

/// The table of schedulers, in order.
const SCHEDULER_ROWS: &[Row] = &[
    cost(
        "ping_pong",
        "ns",
        Ratio(1.02),
        "round trip between two processes over two pipes",
    ),
    with(
        "ping_pong",
        Row {
            is_ratio: false,
            ..cost(
                "ping_pong_switches",
                "switches",
                Open,
                "context switches per round trip of ping_pong",
            )
        },
    ),
    cost("ping_pong_4", "ns", Open, "ping_pong with 4 pairs at once"),
    cost(
        "pipeline",
        "us",
        Open,
        "wakeup latency of a consumer whose producer keeps computing, median",
    ),
    with(
        "pipeline",
        cost(
            "pipeline_delay",
            "us",
            Open,
            "how long items wait for that consumer, mean",
        ),
    ),
    with(
        "pipeline",
        share(
            "pipeline_stacked",
            Less,
            Open,
            "that consumer's wakeups on the waker's CPU while others are idle",
        ),
    ),
    cost(
        "messaging",
        "ms",
        Ratio(0.92),
        "groups of senders and receivers over sockets",
    ),
    cost(
        "hackbench",
        "ms",
        OfSimple(1.0),
        "more and larger groups than messaging, over pipes",
    ),
    cost(
        "switch_storm",
        "ms",
        Ratio(1.3),
        "pairs of writer and reader of a pipe that holds one message",
    ),
    cost(
        "yield_storm",
        "ms",
        Open,
        "two processes per CPU that only yield",
    ),
    cost(
        "fan_out",
        "ns",
        Ratio(1.0),
        "one process wakes 16 and waits for their replies",
    ),
    cost("fan_out_4", "ns", Open, "fan_out with 4"),
    cost("fan_out_32", "ns", Open, "fan_out with 32"),
    cost("spawn", "ns", Ratio(0.98), "fork, exit, wait"),
    cost("exec", "ns", Open, "fork, exec, exit, wait"),
    cost("make_like", "ms", Open, "short jobs, two at a time per CPU"),
    cost(
        "wakeup_p99",
        "us",
        Ratio(0.4),
        "wakeup latency of sleepers beside two hogs per CPU, 99th percentile",
    ),
    with(
        "wakeup_p99",
        cost("wakeup_p50", "us", Open, "the same, median"),
    ),
    with(
        "wakeup_p99",
        share(
            "hogs_fair",
            More,
            Value(0.95),
            "min/max CPU time of those hogs",
        ),
    ),
    cost(
        "crowd",
        "us",
        Ratio(1.0),
        "wakeup latency of a sleeper beside 300 hogs on its CPU, 99th percentile",
    ),
    with(
        "crowd",
        share(
            "crowd_growth",
            Less,
            Value(2.0),
            "the same beside 300 hogs / beside 16",
        ),
    ),
    share(
        "pinned_use",
        More,
        Value(0.99),
        "CPU utilization by a pinned hog on each CPU and 6 free ones per 8 CPUs",
    ),
    with(
        "pinned_use",
        share(
            "pinned_fair",
            More,
            Value(0.95),
            "min/max CPU time of the pinned hogs",
        ),
    ),
    with(
        "pinned_use",
        share(
            "pinned_error",
            Less,
            Open,
            "relative deviation of the pinned hogs' mean CPU time from a fair share",
        ),
    ),
    share(
        "affinity",
        More,
        Value(0.95),
        "least part of its max-min fair share that one of 17 hogs gets, each allowed on some of 4 CPUs",
    ),
    cost(
        ISOLATED,
        "interrupts",
        Ratio(2.0),
        "timer interrupts in 10 s of a nohz_full CPU that runs one hog",
    ),
    share(
        "odd_fair",
        More,
        Value(0.97),
        "min/max CPU time of 12 hogs on 8 CPUs",
    ),
    with(
        "odd_fair",
        share("odd_use", More, Open, "CPU utilization by those hogs"),
    ),
    share(
        "nice_error",
        Less,
        Open,
        "greatest relative deviation of a nice level's CPU time from its share",
    ),
    share(
        "group_error",
        Less,
        Open,
        "greatest relative deviation of a cgroup's CPU time from its cpu.weight's share",
    ),
    share(
        "llc_leave",
        Less,
        Open,
        "wakeups that leave an LLC with idle CPUs but no idle core",
    ),
    share(
        "smt_busy_core",
        Less,
        Open,
        "wakeups beside a busy sibling while a core of the LLC is idle",
    ),
    Row {
        is_ratio: false,
        ..cost(
            "bpf_ms_5000",
            "ms",
            Value(15.0),
            "time in BPF for 5000 round trips of ping_pong",
        )
    },
    Row {
        is_ratio: false,
        ..cost(
            "verified_insns",
            "insns",
            Value(5000.0),
            "instructions that the verifier processed",
        )
    },
    with(
        "",
        Row {
            is_ratio: false,
            ..cost(
                "load_ms",
                "ms",
                OfSimple(1.3),
                "from the loader's start until the scheduler is enabled",
            )
        },
    ),
];

const fn bypass(workload: &'static str, row: Row) -> Row {
    Row {
        workload,
        table: Table::Bypass,
        is_ratio: false,
        ..row
    }
}

/// The rows of a load that starts on CPU 0.
macro_rules! skewed {
    ($name:literal, $tasks_a_cpu:expr, $what:literal) => {
        [
            bypass(
                $name,
                share(
                    concat!($name, "_idle"),
                    Less,
                    Value(0.01),
                    concat!("idle fraction of all CPUs; ", $what),
                ),
            ),
            bypass(
                $name,
                cost(
                    concat!($name, "_first"),
                    "ms",
                    Value(100.0 * $tasks_a_cpu),
                    "the same: from the start until each task has run",
                ),
            ),
            bypass(
                $name,
                share(
                    concat!($name, "_max_min"),
                    Less,
                    Value(1.3),
                    "the same: max/min CPU time of tasks with equal weight and affinity",
                ),
            ),
            bypass(
                $name,
                cost(
                    concat!($name, "_recover"),
                    "ms",
                    Open,
                    "the same: from the end of the bypass until each CPU runs a task",
                ),
            ),
        ]
    };
}

const SKEWED_ROWS: &[[Row; 4]] = &[
    skewed!("bypass_20", 20.0 / 8.0, "20 hogs from CPU 0 of 8"),
    skewed!("bypass_48", 48.0 / 8.0, "48 hogs from CPU 0 of 8"),
    skewed!("bypass_200", 200.0 / 8.0, "200 hogs from CPU 0 of 8"),
    skewed!(
        "bypass_pinned",
        27.0 / 8.0,
        "8 hogs that stay on CPU 0 of 8, 3 on CPU 5, 16 from CPU 0"
    ),
    skewed!(
        "bypass_nice",
        16.0 / 8.0,
        "8 hogs of nice 0 and 8 of nice 5 from CPU 0 of 8"
    ),
    skewed!("bypass_160", 160.0 / 64.0, "160 hogs from CPU 0 of 64"),
];

const WEIGHT_ROW: Row = bypass(
    "bypass_nice",
    share(
        "bypass_nice_error",
        Less,
        Open,
        "relative deviation of nice 0's CPU time to nice 5's from the ratio of weights, 3.06",
    ),
);

/// All rows in the order of the tables: schedulers, then bypass modes.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    let bypass = SKEWED_ROWS.as_flattened().iter().chain([&WEIGHT_ROW]);
    SCHEDULER_ROWS.iter().chain(bypass)
}

/// The row with this name.
pub fn row(name: &str) -> Option<&'static Row> {
    rows().find(|row| row.name == name)
}

/// The table that a workload's rows are in.
pub fn table(workload: &str) -> Option<Table> {
    let row = rows().find(|row| row.workload == workload);
    row.map(|row| row.table)
}

/// The workloads, in the order of the tables.
pub fn workloads() -> Vec<&'static str> {
    let mut names = Vec::new();
    for row in rows() {
        if !row.workload.is_empty() && !names.contains(&row.workload) {
            names.push(row.workload);
        }
    }
    names
}

/// Splits a list of schedulers. Variants contain commas, too: a piece `KEY=VALUE` belongs to
/// the name before it.
pub fn split_schedulers(list: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for piece in list.split(',').filter(|piece| !piece.is_empty()) {
        match names.last_mut() {
            Some(last) if piece.contains('=') && !piece.contains(':') => {
                last.push(',');
                last.push_str(piece);
            }
            _ => names.push(piece.into()),
        }
    }
    names
}

/// A parsed variant of [`PRELOAD`].
#[derive(Debug, PartialEq)]
pub struct Variant<'a> {
    /// `@FILE`
    pub object: Option<&'a str>,
    /// `:KEY=VALUE,…`
    pub set: Vec<&'a str>,
}

/// `None` for any scheduler but [`PRELOAD`].
pub fn variant(name: &str) -> Option<Variant<'_>> {
    let rest = name.strip_prefix(PRELOAD)?;
    if !matches!(rest.chars().next(), None | Some('@' | ':')) {
        return None;
    }
    let (object, set) = rest.split_once(':').unwrap_or((rest, ""));
    Some(Variant {
        object: object.strip_prefix('@'),
        set: set.split(',').filter(|pair| !pair.is_empty()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_schedulers() {
        assert_eq!(
            split_schedulers("eevdf,preload:a=1,b=2,preload@x.o:a=1,bpfland"),
            ["eevdf", "preload:a=1,b=2", "preload@x.o:a=1", "bpfland"]
        );
    }

    #[test]
    fn variants() {
        let plain = variant("preload").unwrap();
        assert_eq!((plain.object, plain.set.len()), (None, 0));
        let both = variant("preload@x.o:a=1,b=2").unwrap();
        assert_eq!((both.object, both.set), (Some("x.o"), vec!["a=1", "b=2"]));
        assert_eq!(variant("preloaded"), None);
        assert_eq!(variant("bpfland"), None);
    }

    #[test]
    fn rows_have_one_name_each() {
        for (n, row) in rows().enumerate() {
            assert!(rows().take(n).all(|other| other.name != row.name));
        }
    }

    #[test]
    fn modes() {
        assert_eq!(Bypass::KernelOurs.name(), "kernel_ours");
        for mode in Bypass::value_variants() {
            assert_eq!(Bypass::find(&mode.name()), Some(*mode));
        }
        assert_eq!(Bypass::find(EEVDF), None);
    }

    #[test]
    fn tables() {
        assert_eq!(table("ping_pong"), Some(Table::Schedulers));
        assert_eq!(table("bypass_nice"), Some(Table::Bypass));
        assert!(row("bypass_20_idle").unwrap().is_for("kernel"));
        assert!(!row("ping_pong").unwrap().is_for(EEVDF));
    }
}
