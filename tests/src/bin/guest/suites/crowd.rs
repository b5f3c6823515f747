// SPDX-License-Identifier: GPL-2.0-only
//! Hundreds of tasks on one CPU, of any weight and policy: the kernel's watchdog finds none that
//! starves, and weights hold.

use std::fs;
use std::io::{Read, Write, pipe};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

use super::Test;
use crate::hog::{Hog, Kind, allow, hog, shares, sum};
use crate::preload::{is_fine, load};
use crate::sys::{CGROUPS, become_realtime, random, set_cgroup};
use crate::tests;

pub const TESTS: &[Test] = tests![
    thousand_that_wake_at_once,
    little_weight_beside_much,
    idle_group,
    idle_policy,
    idle_policy_is_preempted,
    a_new_sleeper,
    any_mix_of_weights,
];

/// The crowd is on one of several CPUs.
pub const ON_ONE_CPU: &[Test] = tests![rcu_reader];

const SECOND: Duration = Duration::from_secs(1);

/// The weight of a nice level: each is worth a factor of 1.25.
fn weight(nice: i32) -> f64 {
    1024.0 * 1.25_f64.powi(-nice)
}

/// The part of the CPU that the first `count` of these get.
fn part_of_first(count: usize, hogs: Vec<Hog>) -> Result<f64> {
    sleep(2 * SECOND);
    let part = sum(&shares(&hogs[..count], 10 * SECOND)?) / 10.0;
    println!("{part:.3}");
    Hog::end_all(hogs);
    Ok(part)
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
    is_fine(&[])
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
    let part = part_of_first(4, hogs)?;
    ensure!(part > 0.95, "{part:.3}");
    is_fine(&[])
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
    let part = part_of_first(1, hogs)?;
    ensure!(part > 0.9, "{part:.3}");
    is_fine(&[])
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
    let part = 1.0 - part_of_first(1, hogs)?;
    let fair = 150.0 / (150.0 + 1024.0);
    println!("SCHED_IDLE got {part:.3}, fair is {fair:.3}");
    ensure!((part / fair - 1.0).abs() < 0.2, "{part:.3}");
    is_fine(&[])
}

/// A task that sleeps half of the time does not wait for SCHED_IDLE ones.
fn idle_policy_is_preempted() -> Result<()> {
    load(&[])?;
    become_realtime()?;
    let hogs = Hog::start_many(3, idle())?;
    let sleeper = Hog::start(Kind {
        pattern: Some((SECOND / 500, SECOND / 500)),
        ..Kind::default()
    })?;
    sleep(SECOND);
    let (slept, wait) = sleeper.wakeups(4 * SECOND)?;
    ensure!(slept > 500 && wait < SECOND / 2000, "{wait:.1?}");
    Hog::end_all(hogs);
    is_fine(&[])
}

/// Who needs less than its share soon runs when it wakes up, beside few and many.
fn a_new_sleeper() -> Result<()> {
    load(&[])?;
    become_realtime()?;
    let on_cpu_0 = Kind {
        cpus: &[0],
        ..Kind::default()
    };
    let mut waits = Vec::new();
    for count in [16, 300] {
        let hogs = Hog::start_many(count, on_cpu_0)?;
        sleep(SECOND);
        let sleeper = Hog::start(Kind {
            pattern: Some((SECOND / 100_000, SECOND / 25)),
            ..on_cpu_0
        })?;
        // It has used more than its share to start.
        sleep(SECOND);
        let (slept, wait) = sleeper.wakeups(6 * SECOND)?;
        ensure!(slept > 100, "{slept}");
        waits.push(wait);
        Hog::end_all(hogs);
    }
    ensure!(
        waits.iter().all(|wait| *wait < SECOND / 50_000),
        "{waits:.1?}"
    );
    is_fine(&[])
}

/// RCU waits for a reader that was preempted, and ends a scheduler after 21 s. A path is looked up
/// under RCU.
fn rcu_reader() -> Result<()> {
    load(&[])?;
    become_realtime()?;
    let mut hogs = Hog::start_many(
        1500,
        Kind {
            cpus: &[0],
            ..Kind::default()
        },
    )?;
    for _ in 0..20 {
        hogs.push(Hog::run(|| {
            allow(Pid::from_raw(0), [0])?;
            loop {
                let _ = fs::metadata("/sys/kernel/sched_ext/state");
            }
        })?);
    }
    sleep(12 * SECOND);
    let mut waits = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        synchronize_rcu()?;
        waits.push(start.elapsed());
        sleep(SECOND);
    }
    Hog::end_all(hogs);
    println!("{waits:.1?}");
    ensure!(waits.iter().all(|wait| *wait < 2 * SECOND), "{waits:.1?}");
    is_fine(&[])
}

/// Waits until all tasks that are RCU readers now have left their critical sections.
fn synchronize_rcu() -> Result<()> {
    // SAFETY: the system call takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    Errno::result(result).context("membarrier")?;
    Ok(())
}

/// Random numbers of tasks at random nice levels. Those are measured that should get the CPU for
/// ten ticks or more.
fn any_mix_of_weights() -> Result<()> {
    load(&[])?;
    become_realtime()?;
    let mut random = random()?;
    for _ in 0..3 {
        let groups: Vec<_> = (0..5)
            .map(|_| (random.usize(1..=60), random.i32(-20..20)))
            .collect();
        let all: f64 = groups
            .iter()
            .map(|(n, nice)| *n as f64 * weight(*nice))
            .sum();
        let mut hogs = Vec::new();
        for (count, nice) in &groups {
            let kind = Kind {
                nice: *nice,
                ..Kind::default()
            };
            hogs.extend(Hog::start_many(*count, kind)?);
        }
        sleep(3 * SECOND);
        let times = shares(&hogs, 9 * SECOND)?;
        Hog::end_all(hogs);
        let mut rest = &times[..];
        for (count, nice) in &groups {
            let (of_group, others) = rest.split_at(*count);
            rest = others;
            let part = sum(of_group) / sum(&times);
            let fair = *count as f64 * weight(*nice) / all;
            println!("{count} at nice {nice}: {part:.3}, fair is {fair:.3}");
            ensure!(
                fair * 9.0 / (*count as f64) < 0.04 || (part / fair - 1.0).abs() < 0.2,
                "{groups:?}: {count} at nice {nice} got {part:.3} instead of {fair:.3}"
            );
        }
        is_fine(&[])?;
    }
    Ok(())
}
