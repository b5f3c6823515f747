// SPDX-License-Identifier: GPL-2.0-only
//! Hundreds of tasks on one CPU, of any weight and policy: the kernel's watchdog finds none that
//! starves, and weights hold.

use std::fs;
use std::io::{Read, Write, pipe};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Test;
use crate::hog::{Hog, Kind, hog, shares};
use crate::preload::{load, status};
use crate::sys::{CGROUPS, become_realtime, set_cgroup};
use crate::tests;

pub const TESTS: &[Test] = tests![
    thousand_that_wake_at_once,
    little_weight_beside_much,
    idle_group,
    idle_policy,
    idle_policy_is_preempted,
    any_mix_of_weights,
];

const SECOND: Duration = Duration::from_secs(1);

/// The scheduler has not ended meanwhile.
fn still_runs() -> Result<()> {
    let status = status()?;
    ensure!(status["ours"] == true, "{}", status["kernel"]);
    Ok(())
}

fn sum(times: &[Duration]) -> f64 {
    times.iter().map(Duration::as_secs_f64).sum()
}

/// The weight of a nice level: each is worth a factor of 1.25.
fn weight(nice: i32) -> f64 {
    1024.0 * 1.25_f64.powi(-nice)
}

/// Turns of a tick each: one takes 4 s, a kernel thread that wakes up would wait for its end.
fn thousand_that_wake_at_once() -> Result<()> {
    load(&[])?;
    let (gate, mut open) = pipe()?;
    let wait_and_run = || {
        (&gate).read_exact(&mut [0])?;
        hog()
    };
    let hogs = (0..1000).map(|_| Hog::run(wait_and_run));
    let hogs = hogs.collect::<Result<Vec<_>>>()?;
    sleep(SECOND);
    open.write_all(&[0; 1000])?;
    become_realtime()?;
    let times = shares(&hogs, 15 * SECOND)?;
    Hog::end_all(hogs);
    let least = times.iter().min().context("no hogs")?;
    println!("{least:.2?} each, {:.2} s together", sum(&times));
    ensure!(!least.is_zero(), "a hog did not run");
    ensure!(sum(&times) > 14.0, "{:.2} s", sum(&times));
    still_runs()
}

fn little_weight_beside_much() -> Result<()> {
    load(&[])?;
    become_realtime()?;
    let nice = |nice| Kind {
        nice,
        ..Kind::default()
    };
    let mut hogs = Hog::start_many(4, nice(-20))?;
    hogs.extend(Hog::start_many(100, nice(19))?);
    sleep(2 * SECOND);
    let times = shares(&hogs[..4], 10 * SECOND)?;
    println!("{times:.2?}");
    ensure!(sum(&times) > 9.5, "{times:.2?}");
    Hog::end_all(hogs);
    still_runs()
}

/// Tasks of a cgroup with cpu.idle, each of which waits for minutes.
fn idle_group() -> Result<()> {
    const GROUP: &str = "/sys/fs/cgroup/crowd";
    load(&[])?;
    become_realtime()?;
    set_cgroup(CGROUPS, "cgroup.subtree_control", "+cpu")?;
    fs::create_dir_all(GROUP).context("cannot create the cgroup")?;
    set_cgroup(GROUP, "cpu.idle", 1)?;
    let mut hogs = Hog::start_many(1, Kind::default())?;
    hogs.extend(Hog::start_many(
        100,
        Kind {
            cgroup: GROUP,
            ..Kind::default()
        },
    )?);
    sleep(2 * SECOND);
    let times = shares(&hogs[..1], 10 * SECOND)?;
    println!("{times:.2?}");
    ensure!(sum(&times) > 9.0, "{times:.2?}");
    Hog::end_all(hogs);
    still_runs()
}

fn idle() -> Kind {
    Kind {
        idle: true,
        ..Kind::default()
    }
}

/// Weight 3 each, of 1024.
fn idle_policy() -> Result<()> {
    load(&[])?;
    become_realtime()?;
    let mut hogs = Hog::start_many(1, Kind::default())?;
    hogs.extend(Hog::start_many(50, idle())?);
    sleep(2 * SECOND);
    let part = 1.0 - sum(&shares(&hogs[..1], 10 * SECOND)?) / 10.0;
    Hog::end_all(hogs);
    let fair = 150.0 / (150.0 + 1024.0);
    println!("SCHED_IDLE got {part:.3}, fair is {fair:.3}");
    ensure!((part / fair - 1.0).abs() < 0.2, "{part:.3}");
    still_runs()
}

/// A task that sleeps half of the time does not wait for SCHED_IDLE ones: not even when it has
/// used more than its share, which its wakeups show as a lower place than theirs.
fn idle_policy_is_preempted() -> Result<()> {
    load(&[])?;
    become_realtime()?;
    let hogs = Hog::start_many(3, idle())?;
    let sleeper = Hog::start(Kind {
        pattern: Some((SECOND / 500, SECOND / 500)),
        ..Kind::default()
    })?;
    sleep(SECOND);
    let (waited, slept) = (sleeper.waited()?, sleeper.sleeps()?);
    sleep(4 * SECOND);
    let (waited, slept) = (sleeper.waited()? - waited, sleeper.sleeps()? - slept);
    let wait = waited / slept.max(1) as u32;
    println!("{slept} wakeups, {wait:.1?} of waiting each");
    ensure!(slept > 500 && wait < SECOND / 2000, "{wait:.1?}");
    Hog::end_all(hogs);
    still_runs()
}

/// Random numbers of tasks at random nice levels. Those are measured that should get the CPU for
/// ten ticks or more.
fn any_mix_of_weights() -> Result<()> {
    load(&[])?;
    become_realtime()?;
    let mut random = fs::File::open("/dev/urandom")?;
    for _ in 0..3 {
        let mut bytes = [0; 10];
        random.read_exact(&mut bytes)?;
        let groups: Vec<_> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|[count, nice]| (1 + *count as usize % 60, *nice as i32 % 40 - 20))
            .collect();
        let all: f64 = groups
            .iter()
            .map(|(n, nice)| *n as f64 * weight(*nice))
            .sum();
        let start = |(count, nice): &(usize, i32)| {
            Hog::start_many(
                *count,
                Kind {
                    nice: *nice,
                    ..Kind::default()
                },
            )
        };
        let hogs = groups.iter().map(start).collect::<Result<Vec<_>>>()?;
        sleep(3 * SECOND);
        let used = |group: &Vec<Hog>| -> Result<f64> {
            let times = group.iter().map(Hog::cpu_time);
            Ok(sum(&times.collect::<Result<Vec<_>>>()?))
        };
        let before = hogs.iter().map(used).collect::<Result<Vec<_>>>()?;
        sleep(9 * SECOND);
        let after = hogs.iter().map(used).collect::<Result<Vec<_>>>()?;
        Hog::end_all(hogs.into_iter().flatten().collect());
        let whole = after.iter().sum::<f64>() - before.iter().sum::<f64>();
        for (n, (count, nice)) in groups.iter().enumerate() {
            let part = (after[n] - before[n]) / whole;
            let fair = *count as f64 * weight(*nice) / all;
            println!("{count} at nice {nice}: {part:.3}, fair is {fair:.3}");
            ensure!(
                fair * 9.0 / (*count as f64) < 0.04 || (part / fair - 1.0).abs() < 0.2,
                "{groups:?}: {count} at nice {nice} got {part:.3} instead of {fair:.3}"
            );
        }
        still_runs()?;
    }
    Ok(())
}
