// SPDX-License-Identifier: GPL-2.0-only
//! The machines of the benchmark.

use clap::ValueEnum;

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

static BOOTS: [Boot; 4] = [
    boot("bench_smt", SMT),
    boot("bench_flat", FLAT),
    boot("bench_numa", NUMA),
    boot("bench_large", LARGE),
];

impl Machine {
    pub fn boot(self) -> &'static Boot {
        &BOOTS[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.boot().name.trim_start_matches("bench_")
    }
}
