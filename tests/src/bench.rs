// SPDX-License-Identifier: GPL-2.0-only
//! What host and guest have to agree on to compare schedulers.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Words on the kernel command line: which schedulers and modes, which rows, how
/// often, and the factor for counts and windows.
pub mod words {
    /// Names of schedulers with commas between them; with it, the guest compares.
    pub const SCHEDULERS: &str = "scx_bench.schedulers";
    /// Names of [`Bypass`](super::Bypass)es with commas between them.
    pub const MODES: &str = "scx_bench.modes";
    /// Names of workloads with commas between them.
    pub const ROWS: &str = "scx_bench.rows";
    /// How many times all is run.
    pub const REPETITIONS: &str = "scx_bench.repetitions";
    /// Factor for counts and windows.
    pub const SCALE: &str = "scx_bench.scale";
}

/// No sched_ext scheduler: what all others are compared with.
pub const EEVDF: &str = "eevdf";

/// Ours. `preload@FILE` is another object of it, `preload:KEY=VALUE,…` has
/// variables set; both can be combined.
pub const PRELOAD: &str = "preload";

/// Schedulers of others to compare with, the cheapest to build first, each with
/// the version of its crate, `scx_NAME`; the kernel's source has [`SIMPLE`].
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

/// It does not start without layers, of which it has an example.
pub const LAYERED: &str = "layered";

/// The peer that some targets refer to.
pub const SIMPLE: &str = "simple";

/// In the guest: the list of those [`Peer`]s that could be built.
pub const PEERS_FILE: &str = "/peers.json";

/// In the guest: the objects of `preload@FILE`.
pub const OBJECTS: &str = "/bench/objects";

/// A scheduler of others, which runs in the foreground until SIGINT.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// As the command line names it; the name that the kernel shows begins with it.
    pub name: String,
    /// Program and arguments, by their paths in the guest.
    pub command: Vec<String>,
    /// Paths in the guest, and where the files come from.
    #[serde(skip)]
    pub files: Vec<(String, PathBuf)>,
}

/// Ours, in and out of bypass.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Bypass {
    /// no bypass
    Defaults,
    /// the kernel's bypass as it comes
    Kernel,
    /// the kernel's bypass with the balancing interval that `load` sets
    KernelOurs,
    /// our own bypass, of an override
    Soft,
}

impl Bypass {
    /// As the command line and the tables have it.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or(String::new(), |value| value.get_name().into())
    }

    /// The mode of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }
}

/// What the columns of a row's table are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Table {
    /// Ours and others.
    Schedulers,
    /// [`Bypass`]es of ours.
    Bypass,
}

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Better {
    /// Costs and waits.
    Less,
    /// Fairness and use.
    More,
}

/// What ours is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Nothing in figures.
    Open,
    /// This ratio to [`EEVDF`]'s value.
    Ratio(f64),
    /// This value.
    Value(f64),
    /// This ratio to scx_simple's value.
    OfSimple(f64),
}

/// One value of the table.
#[derive(Debug)]
pub struct Row {
    /// Name in reports, options and tables.
    pub name: &'static str,
    /// The workload that yields it.
    pub workload: &'static str,
    /// Where it is shown.
    pub table: Table,
    /// Unit of the value, empty for shares.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
    /// Whether it is the ratio to [`EEVDF`] that counts, or the value.
    pub is_ratio: bool,
    /// What ours is to reach.
    pub target: Target,
    /// What it is, for people.
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

/// A value that comes with another one's workload.
const fn with(workload: &'static str, row: Row) -> Row {
    Row { workload, ..row }
}

impl Row {
    /// Whether the target is meant for this column.
    pub fn is_for(&self, column: &str) -> bool {
        self.table == Table::Bypass || variant(column).is_some()
    }
}

use Better::{Less, More};
use Target::{OfSimple, Open, Ratio, Value};

/// The table of schedulers, in its order.
const SCHEDULER_ROWS: &[Row] = &[
    cost(
        "ping_pong",
        "ns",
        Ratio(1.02),
        "a round trip between two processes over two pipes",
    ),
    with(
        "ping_pong",
        Row {
            is_ratio: false,
            ..cost(
                "ping_pong_switches",
                "switches",
                Open,
                "context switches in one such round trip",
            )
        },
    ),
    cost(
        "ping_pong_4",
        "ns",
        Open,
        "the same, of 4 such pairs at once",
    ),
    cost(
        "pipeline",
        "us",
        Open,
        "lateness of one that is woken by a process which goes on computing, median",
    ),
    with(
        "pipeline",
        cost(
            "pipeline_delay",
            "us",
            Open,
            "how long its items wait for it, mean",
        ),
    ),
    with(
        "pipeline",
        share(
            "pipeline_stacked",
            Less,
            Open,
            "its wakeups on the waker's CPU, while others are idle",
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
        "more and larger groups, over pipes",
    ),
    cost(
        "switch_storm",
        "ms",
        Ratio(1.3),
        "pairs, writer and reader of a pipe that holds one message",
    ),
    cost(
        "yield_storm",
        "ms",
        Open,
        "two processes a CPU that only yield",
    ),
    cost(
        "fan_out",
        "ns",
        Ratio(1.0),
        "one process wakes 16 and waits for the answers",
    ),
    cost("fan_out_4", "ns", Open, "the same with 4"),
    cost("fan_out_32", "ns", Open, "the same with 32"),
    cost("spawn", "ns", Ratio(0.98), "fork, exit, wait"),
    cost("exec", "ns", Open, "fork, exec, exit, wait"),
    cost(
        "make_like",
        "ms",
        Open,
        "short jobs, two at a time for each CPU",
    ),
    cost(
        "wakeup_p99",
        "us",
        Ratio(0.4),
        "lateness of sleepers beside two hogs a CPU, 99th percentile",
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
            "least to greatest CPU time of those hogs",
        ),
    ),
    share(
        "pinned_use",
        More,
        Value(0.99),
        "use of the CPUs by a pinned hog on each and 6 free ones for 8 CPUs",
    ),
    with(
        "pinned_use",
        share(
            "pinned_fair",
            More,
            Value(0.95),
            "least to greatest CPU time of the pinned hogs",
        ),
    ),
    with(
        "pinned_use",
        share(
            "pinned_error",
            Less,
            Open,
            "distance of the pinned hogs' mean CPU time from a fair share",
        ),
    ),
    share(
        "odd_fair",
        More,
        Value(0.97),
        "least to greatest CPU time of 12 hogs on 8 CPUs",
    ),
    with(
        "odd_fair",
        share("odd_use", More, Open, "use of the CPUs by those hogs"),
    ),
    share(
        "nice_error",
        Less,
        Open,
        "greatest distance of a nice level's CPU time from its share",
    ),
    share(
        "group_error",
        Less,
        Open,
        "greatest distance of a cgroup's CPU time from its cpu.weight's share",
    ),
    share(
        "llc_leave",
        Less,
        Open,
        "wakeups that leave an LLC which has idle CPUs but no idle core",
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
            "instructions that the verifier went through",
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

/// What is measured of a load that begins on CPU 0.
macro_rules! skewed {
    ($name:literal, $tasks_a_cpu:expr, $what:literal) => {
        [
            bypass(
                $name,
                share(
                    concat!($name, "_idle"),
                    Less,
                    Value(0.01),
                    concat!("idle share of all CPUs; ", $what),
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
                    "the same: greatest to least CPU time of tasks with equal weight and CPUs",
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
        "distance of the ratio of CPU times, nice 0 to 5, from that of the weights, 3.06",
    ),
);

/// All rows: those of schedulers, then those of bypass, each in its table's order.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    let bypass = SKEWED_ROWS.as_flattened().iter().chain([&WEIGHT_ROW]);
    SCHEDULER_ROWS.iter().chain(bypass)
}

/// The row of this name.
pub fn row(name: &str) -> Option<&'static Row> {
    rows().find(|row| row.name == name)
}

/// The table that a workload is for.
pub fn table(workload: &str) -> Option<Table> {
    let row = rows().find(|row| row.workload == workload);
    row.map(|row| row.table)
}

/// The workloads, in the tables' order.
pub fn workloads() -> Vec<&'static str> {
    let mut names = Vec::new();
    for row in rows() {
        if !row.workload.is_empty() && !names.contains(&row.workload) {
            names.push(row.workload);
        }
    }
    names
}

/// Splits a list of schedulers. Commas are in variants too: a piece that could
/// not be a name, `KEY=VALUE`, belongs to the name before it.
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

/// A variant of ours, taken apart.
#[derive(Debug, PartialEq)]
pub struct Variant<'a> {
    /// `@FILE`
    pub object: Option<&'a str>,
    /// `:KEY=VALUE,…`
    pub set: Vec<&'a str>,
}

/// `None` if this name is not one of ours.
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
