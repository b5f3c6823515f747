// SPDX-License-Identifier: GPL-2.0-only
//! For a boot with `nohz_full=2-3`: a task that is alone there has no tick, and is not in the way
//! of others.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Test;
use crate::hog::{Hog, Kind, shares};
use crate::preload::{disabled_and_unpinned, is_fine, load, refused, status, unload_any};
use crate::sys::{CGROUPS, SCX_PRELOAD, idle_ticks, run_ok, set_cgroup, timer_interrupts};
use crate::tests;

pub const TESTS: &[Test] = tests![
    alone_without_a_tick,
    who_comes_gets_its_share,
    who_wakes_up_does_not_wait,
    more_tasks_than_cpus,
    isolated_partition,
];

/// For a boot with `isolcpus=3`.
pub const ISOLCPUS: &[Test] = tests![load_says_what_to_do, boot_goes_on];

const SECOND: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(8);

/// Timer interrupts within the window of some CPUs, on one of which a hog runs.
fn ticks_beside(cpus: &'static [usize]) -> Result<u64> {
    let hog = Hog::start(Kind {
        cpus,
        ..Kind::default()
    })?;
    sleep(SECOND);
    let before = timer_interrupts(cpus)?;
    let hogs = [hog];
    let used = shares(&hogs, WINDOW)?;
    let ticks = timer_interrupts(cpus)? - before;
    println!("CPUs {cpus:?}: {ticks} ticks, {used:.3?}");
    // Without a tick, the kernel's figure can be a second old.
    ensure!(used[0] > WINDOW - SECOND * 3 / 2, "{used:.2?}");
    Ok(ticks)
}

fn alone_without_a_tick() -> Result<()> {
    for cpus in [&[2][..], &[2, 3]] {
        unload_any()?;
        let eevdf = ticks_beside(cpus)?;
        load(&[])?;
        let topology = &status()?["topology"];
        ensure!(topology["nr_nohz"] == 2, "{topology}");
        let ours = ticks_beside(cpus)?;
        // A finite slice would make it two thousand.
        ensure!(ours <= 2 * eevdf + 60, "{ours}, with EEVDF {eevdf}");
    }
    is_fine(&[])
}

fn on_cpu_2() -> Kind {
    Kind {
        cpus: &[2],
        ..Kind::default()
    }
}

fn who_comes_gets_its_share() -> Result<()> {
    load(&[])?;
    let mut hogs = Hog::start_many(1, on_cpu_2())?;
    sleep(SECOND);
    hogs.extend(Hog::start_many(1, on_cpu_2())?);
    let times = shares(&hogs, 4 * SECOND)?;
    println!("{times:.2?}");
    ensure!(times.iter().all(|time| *time > SECOND * 18 / 10));
    Hog::end_all(hogs);
    is_fine(&[])
}

fn who_wakes_up_does_not_wait() -> Result<()> {
    load(&[])?;
    let _hog = Hog::start(on_cpu_2())?;
    sleep(SECOND);
    let sleeper = Hog::start(Kind {
        pattern: Some((SECOND / 1000, SECOND / 20)),
        ..on_cpu_2()
    })?;
    sleep(SECOND);
    let (slept, wait) = sleeper.wakeups(4 * SECOND)?;
    ensure!(slept > 40 && wait < SECOND / 500, "{wait:.1?}");
    is_fine(&[])
}

fn more_tasks_than_cpus() -> Result<()> {
    load(&[])?;
    let hogs = Hog::start_many(5, Kind::default())?;
    sleep(SECOND);
    let times = shares(&hogs, 4 * SECOND)?;
    println!("{times:.2?}");
    ensure!(
        times
            .iter()
            .all(|time| (SECOND * 26 / 10..SECOND * 38 / 10).contains(time))
    );
    Hog::end_all(hogs);
    is_fine(&[])
}

/// A cpuset takes CPU 1 away from the others and gives it back, also while ours is loaded anew.
fn isolated_partition() -> Result<()> {
    const GROUP: &str = "/sys/fs/cgroup/isolated";
    load(&[])?;
    let hogs = Hog::start_many(5, Kind::default())?;
    let run_on = |cpus: &[usize]| -> Result<()> {
        sleep(SECOND);
        let before = idle_ticks()?;
        let times = shares(&hogs, WINDOW)?;
        let idle = idle_ticks()?;
        let idle: Vec<_> = idle.iter().zip(before).map(|(now, at)| now - at).collect();
        println!("on CPUs {cpus:?}: {times:.2?}, idle for {idle:?} ticks");
        let is_right = |(cpu, idle): (usize, &u64)| {
            let share = if cpus.contains(&cpu) {
                0..40
            } else {
                760..u64::MAX
            };
            share.contains(idle)
        };
        ensure!(idle.iter().enumerate().all(is_right), "{idle:?}");
        // Without a tick, the kernel's figure can be a second old.
        let fair = WINDOW.as_secs_f64() * cpus.len() as f64 / 5.0;
        let is_fair = |time: &Duration| (0.7..1.4).contains(&(time.as_secs_f64() / fair));
        ensure!(times.iter().all(is_fair), "{times:.2?}");
        Ok(())
    };
    set_cgroup(CGROUPS, "cgroup.subtree_control", "+cpuset")?;
    fs::create_dir_all(GROUP).context("cannot create the cgroup")?;
    set_cgroup(GROUP, "cpuset.cpus", 1)?;
    set_cgroup(GROUP, "cpuset.cpus.partition", "isolated")?;
    let isolation = &status()?["isolation"];
    ensure!(
        isolation["partitions"] == "1" && isolation["nohz_full"] == "2-3",
        "{isolation}"
    );
    let text = run_ok(SCX_PRELOAD, &["status"])?;
    ensure!(text.contains("\nisolated    CPUs 1\n"), "{text}");
    run_on(&[0, 2, 3])?;
    unload_any()?;
    load(&[])?;
    run_on(&[0, 2, 3])?;
    set_cgroup(GROUP, "cpuset.cpus.partition", "member")?;
    ensure!(status()?["isolation"]["partitions"].is_null());
    run_on(&[0, 1, 2, 3])?;
    Hog::end_all(hogs);
    is_fine(&[])
}

fn load_says_what_to_do() -> Result<()> {
    refused(&["load"], 3, &["isolcpus", "command line"])?;
    let text = run_ok(SCX_PRELOAD, &["status"])?;
    ensure!(text.contains("\nisolcpus    CPUs 3\n"), "{text}");
    disabled_and_unpinned()
}

fn boot_goes_on() -> Result<()> {
    refused(&["load", "--boot"], 0, &["isolcpus"])?;
    disabled_and_unpinned()
}
