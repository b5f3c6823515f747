// SPDX-License-Identifier: GPL-2.0-only
//! The machines of the benchmark.

use clap::ValueEnum;
use scx_preload_tests::bench::ISOLATED;

use crate::qemu::Shape;
use crate::suites::{Boot, Vm, Which, tiny};

/// A machine by its name.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Machine {
    /// 8 CPUs: 2 LLCs with 2 cores of 2 threads each
    Smt,
    /// 8 CPUs: 1 LLC, no SMT
    Flat,
    /// like smt, with each LLC a NUMA node
    Numa,
    /// 64 CPUs: 4 LLCs with 8 cores of 2 threads each
    Large,
    /// like flat, with two CPUs of nohz_full=, for the row isolated alone
    Isolated,
}

const NUMA: Shape = Shape {
    args: &[
        "-object",
        "memory-backend-ram,id=ram0,size=768M",
        "-object",
        "memory-backend-ram,id=ram1,size=768M",
        "-numa",
        "node,nodeid=0,memdev=ram0,cpus=0-3",
        "-numa",
        "node,nodeid=1,memdev=ram1,cpus=4-7",
    ],
    ..SMT
};

const SMT: Shape = Shape::new("8,sockets=2,cores=2,threads=2");
const FLAT: Shape = Shape::new("8,sockets=1,cores=8,threads=1");
const LARGE: Shape = Shape {
    memory: "4G",
    ..Shape::new("64,sockets=4,cores=8,threads=2")
};

const fn boot(name: &'static str, shape: Shape) -> Boot {
    Boot {
        vm: Vm::Peers,
        shape,
        ..tiny(name, Which::Newest, &[])
    }
}

static BOOTS: [Boot; 5] = [
    boot("bench_smt", SMT),
    boot("bench_flat", FLAT),
    boot("bench_numa", NUMA),
    boot("bench_large", LARGE),
    Boot {
        cmdline: "nohz_full=6-7 rcu_nocbs=6-7",
        ..boot("bench_isolated", FLAT)
    },
];

impl Machine {
    pub fn boot(self) -> &'static Boot {
        &BOOTS[self as usize]
    }

    /// Whether rows of this workload are measured on it. Where some CPUs are of nohz_full=, all
    /// pay for it.
    pub fn measures(self, workload: &str) -> bool {
        (self == Machine::Isolated) == (workload == ISOLATED)
    }

    pub fn name(self) -> &'static str {
        self.boot().name.trim_start_matches("bench_")
    }
}
