// SPDX-License-Identifier: GPL-2.0-only
//! Tasks that may run on some CPUs only: each gets what is fair, and none is in the way of others.

use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use scx_preload_tests::fair::{Group, ONE_BESIDE_SOME_THAT_MAY_LEAVE, fair_shares};

use super::Test;
use crate::hog::{Hog, Kind, Ring, allow, hog, shares, sum};
use crate::preload::{is_fine, load};
use crate::sys::{become_realtime, random};
use crate::tests;

pub const TESTS: &[Test] = tests![
    one_beside_some_that_may_leave,
    alone_beside_a_crowd_elsewhere,
    a_crowd_is_spread,
    weights_where_more_tasks_are_pinned,
    any_masks,
];

/// CPUs 0 to 3 share one last-level cache, 4 to 7 the other.
pub const TWO_LLCS: &[Test] = tests![a_crowd_of_another_llc, any_masks];

const SECOND: Duration = Duration::from_secs(1);

fn start(groups: &[Group]) -> Result<Vec<Hog>> {
    let mut hogs = Vec::new();
    for group in groups {
        for _ in 0..group.tasks {
            hogs.push(Hog::run(|| {
                allow(Pid::from_raw(0), group.cpus())?;
                hog()
            })?);
        }
    }
    Ok(hogs)
}

/// Of all tasks, the least and the greatest part of a fair share, and how much of the CPUs'
/// time that the tasks could use they did use.
fn measure(groups: &[Group], window: Duration) -> Result<(f64, f64, f64)> {
    let hogs = start(groups)?;
    // Who got more while they started gets less in the next seconds.
    sleep(2 * SECOND);
    let times = shares(&hogs, window)?;
    Hog::end_all(hogs);
    let (mut least, mut most, mut all) = (f64::MAX, 0.0_f64, 0.0);
    for (time, share) in times.iter().zip(fair_shares(groups)) {
        let fair = share * window.as_secs_f64();
        let part = time.as_secs_f64() / fair;
        (least, most, all) = (least.min(part), most.max(part), all + fair);
    }
    let used = sum(&times) / all;
    println!("{groups:?}: {least:.3} to {most:.3} of a fair share, {used:.3} used");
    Ok((least, most, used))
}

/// EEVDF gives 0.83 of its fair share to the one that has to stay.
fn one_beside_some_that_may_leave() -> Result<()> {
    load(&[])?;
    become_realtime()?;
    let (least, most, used) = measure(&ONE_BESIDE_SOME_THAT_MAY_LEAVE, 8 * SECOND)?;
    ensure!(least > 0.9 && most < 1.1 && used > 0.97);
    is_fine(&[])
}

/// Two tasks that are alone on their CPUs are not switched for a crowd that may not run there.
fn alone_beside_a_crowd_elsewhere() -> Result<()> {
    const WINDOW: Duration = Duration::from_secs(8);
    load(&[])?;
    become_realtime()?;
    let hogs = start(&[
        Group::new(1, 0b0100),
        Group::new(1, 0b1000),
        Group::new(200, 0b0011),
    ])?;
    sleep(SECOND);
    let before = [hogs[0].preempted()?, hogs[1].preempted()?];
    let times = shares(&hogs[..2], WINDOW)?;
    let switches = [
        hogs[0].preempted()? - before[0],
        hogs[1].preempted()? - before[1],
    ];
    Hog::end_all(hogs);
    println!("{times:.2?}, {switches:?} involuntary switches");
    ensure!(sum(&times) > 2.0 * 0.95 * WINDOW.as_secs_f64());
    ensure!(switches.iter().sum::<u64>() < 300);
    is_fine(&[])
}

/// The CPUs of an LLC, often newly idle, do not look through all that is bound to another one.
fn a_crowd_of_another_llc() -> Result<()> {
    load(&[])?;
    become_realtime()?;
    let near = Kind {
        cpus: &[4, 5, 6, 7],
        ..Kind::default()
    };
    let mut medians = Vec::new();
    for count in [4, 1000] {
        let hogs = start(&[Group::new(count, 0b1111)])?;
        sleep(2 * SECOND);
        let ring = Ring::start(2, near, SECOND / 10_000)?;
        sleep(2 * SECOND);
        let mut rounds = ring.stop()?;
        Hog::end_all(hogs);
        rounds.sort();
        let median = rounds.get(rounds.len() / 2).context("no rounds")?;
        println!("beside {count}: {} rounds of {median:.1?}", rounds.len());
        medians.push(median.as_secs_f64());
    }
    ensure!(medians[1] < 1.2 * medians[0], "{medians:?}");
    is_fine(&[])
}

/// All start on one CPU.
fn a_crowd_is_spread() -> Result<()> {
    load(&[])?;
    become_realtime()?;
    let hogs = start(&[Group::new(100, 0b0001)])?;
    sleep(SECOND);
    for hog in &hogs {
        hog.allow([0, 1])?;
    }
    sleep(SECOND);
    let times = shares(&hogs, 8 * SECOND)?;
    Hog::end_all(hogs);
    let (least, most) = (times.iter().min(), times.iter().max());
    let (least, most) = (least.context("no hogs")?, most.context("no hogs")?);
    println!("{least:.2?} to {most:.2?}, {:.2} s together", sum(&times));
    ensure!(sum(&times) > 15.5);
    ensure!(most.as_secs_f64() < 1.6 * least.as_secs_f64());
    is_fine(&[])
}

/// The tasks of CPU 0 get less of a CPU than those of CPU 1, for as long as they run.
fn weights_where_more_tasks_are_pinned() -> Result<()> {
    load(&[])?;
    become_realtime()?;
    let kind = |cpus, nice| Kind {
        cpus,
        nice,
        ..Kind::default()
    };
    let mut hogs = Hog::start_many(4, kind(&[0], 0))?;
    hogs.extend(Hog::start_many(4, kind(&[0], 5))?);
    hogs.extend(Hog::start_many(2, kind(&[1], 0))?);
    sleep(SECOND);
    let times = shares(&hogs, 8 * SECOND)?;
    Hog::end_all(hogs);
    let ratio = sum(&times[..4]) / sum(&times[4..8]);
    println!("{ratio:.2}, fair is 3.05");
    ensure!((2.7..3.4).contains(&ratio), "{ratio:.2}");
    is_fine(&[])
}

/// Random masks, compared with the max-min fair shares. EEVDF gives 0.67 to 2.0 of them. What one
/// draw leaves behind on a CPU must not keep the tasks of the next one away from it.
fn any_masks() -> Result<()> {
    load(&[])?;
    become_realtime()?;
    let cpus = available_parallelism()?.get().min(64);
    let mut random = random()?;
    for _ in 0..4 {
        let groups: Vec<_> = (0..random.usize(3..=6))
            .map(|_| {
                let cpus = random.u64(1..=u64::MAX >> (64 - cpus));
                Group::new(random.usize(1..=6), cpus)
            })
            .collect();
        let (least, most, used) = measure(&groups, 8 * SECOND)?;
        ensure!(
            least > 0.9 && most < 1.1 && used > 0.97,
            "{groups:?}: {least:.3} to {most:.3}, {used:.3} used"
        );
        is_fine(&[])?;
    }
    Ok(())
}
