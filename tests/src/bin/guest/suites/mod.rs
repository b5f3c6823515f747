// SPDX-License-Identifier: GPL-2.0-only
//! The suites by name. A suite is a table of tests that share a boot and run in its order.

mod affinity;
mod boot;
mod bypass;
mod cgroup;
mod coexist;
mod crowd;
mod dropins;
mod gallery_balance;
mod gallery_order;
mod gallery_queue;
mod hooks;
mod hotplug;
mod initrd;
mod isolation;
mod kernel_bypass;
mod killed;
mod loader;
mod partitions;
mod peers;
mod sched;
mod scx_loader;
mod smoke;
mod survive;
mod topology;
mod tutorial;

use anyhow::{Result, ensure};

use crate::sys::read;

/// One test: passes if `run`, called with the name, returns `Ok`.
#[derive(Clone, Copy)]
pub struct Test {
    pub name: &'static str,
    pub run: fn(&str) -> Result<()>,
}

/// A table of test functions, under their names.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        &[$($crate::suites::Test { name: stringify!($name), run: |_| $name() }),*]
    };
}

pub const ALL: &[(&str, &[Test])] = &[
    ("smoke", smoke::TESTS),
    ("loader", loader::TESTS),
    ("initrd", initrd::TESTS),
    ("dropins", dropins::TESTS),
    ("hooks", hooks::TESTS),
    ("bypass", bypass::TESTS),
    ("bypass_without_timer", bypass::WITHOUT_TIMER),
    ("handover", coexist::HANDOVER),
    ("coexist", coexist::TESTS),
    ("kernel_bypass", kernel_bypass::TESTS),
    ("killed", killed::TESTS),
    ("survive", survive::TESTS),
    ("races", survive::RACES),
    ("lockdown", survive::LOCKDOWN),
    ("affinity", affinity::TESTS),
    ("affinity_two_llcs", affinity::TWO_LLCS),
    ("isolation", isolation::TESTS),
    ("isolcpus", isolation::ISOLCPUS),
    ("sched", sched::TESTS),
    ("cgroup", cgroup::TESTS),
    ("crowd", crowd::TESTS),
    ("crowd_on_one_cpu", crowd::ON_ONE_CPU),
    ("hotplug", hotplug::TESTS),
    ("gallery_order", gallery_order::TESTS),
    ("gallery_queue", gallery_queue::TESTS),
    ("gallery_balance", gallery_balance::TESTS),
    ("gallery_four_llc", gallery_balance::FOUR_LLC),
    ("partitions", partitions::TESTS),
    ("peers", peers::TESTS),
    ("scx_loader", scx_loader::TESTS),
    ("topology", topology::TESTS),
    ("tutorial", tutorial::TESTS),
    ("boot", boot::NORMAL),
    ("boot_mode_off", boot::MODE_OFF),
    ("boot_rd_off", boot::RD_OFF),
    ("boot_fallback", boot::FALLBACK),
    ("boot_override", boot::OVERRIDE),
    ("boot_plain_initramfs", boot::PLAIN_INITRAMFS),
    ("boot_plain_initramfs_off", boot::PLAIN_INITRAMFS_OFF),
    ("boot_other_first", boot::OTHER_FIRST),
    ("boot_standby", boot::STANDBY),
    ("boot_no_sched_ext", boot::NO_SCHED_EXT),
];

/// Run at the end of every suite.
pub const LAST: &[Test] = &[Test {
    name: "kernel_is_clean",
    run: |_| kernel_is_clean(),
}];

pub fn find(name: &str) -> Option<&'static [Test]> {
    ALL.iter()
        .find(|(n, _)| *n == name)
        .map(|(_, tests)| *tests)
}

/// The kernel has logged no oops and no warning since boot.
pub fn kernel_is_clean() -> Result<()> {
    const DIE: u32 = 1 << 7;
    const WARN: u32 = 1 << 9;
    let tainted: u32 = read("/proc/sys/kernel/tainted")?.parse()?;
    ensure!(
        tainted & (DIE | WARN) == 0,
        "tainted: {tainted}; see the console log"
    );
    Ok(())
}
