// SPDX-License-Identifier: GPL-2.0-only
//! Example overrides of placement and balance: each has an effect that is absent with the
//! defaults.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Test;
use super::hooks::share_on_core;
use crate::hog::{Hog, Kind};
use crate::preload::{is_fine, load, load_override, load_overrides, status, unload};
use crate::sys::become_realtime;
use crate::tests;

pub const TESTS: &[Test] = tests![
    rusty,
    rusty_and_stay_on_core,
    mitosis,
    mitosis_follows_its_cgroups,
    mitosis_and_an_order,
];

/// For a machine with four LLCs of two CPUs each.
pub const FOUR_LLC: &[Test] = tests![p2dq_when_busy, p2dq_when_idle];

const SECOND: Duration = Duration::from_secs(1);

/// How LLC 0's attempts to pull tasks are divided among LLC 1, 2 and 3, where 6, 4 and 2 tasks
/// wait. `others` are linked with the fixture that counts them and lets no task move.
fn looks(others: &[&str], of: Kind) -> Result<[f64; 3]> {
    become_realtime()?;
    load_overrides(&[&["pulls"], others].concat(), &[])?;
    const CPUS: [&[usize]; 3] = [&[2, 3], &[4, 5], &[6, 7]];
    let mut hogs = Vec::new();
    for (cpus, count) in CPUS.into_iter().zip([8, 6, 4]) {
        let kind = Kind {
            cpus,
            ..Kind::default()
        };
        hogs.extend(Hog::start_many(count, kind)?);
    }
    let on_llc_0 = [&[0][..], &[1]].map(|cpus| Hog::start(Kind { cpus, ..of }));
    sleep(SECOND / 2);
    for hog in &hogs {
        hog.allow(0..8)?;
    }
    let count = || -> Result<Vec<u64>> {
        let status = status()?;
        let names = ["pulls_from_1", "pulls_from_2", "pulls_from_3"];
        let counts = names.iter().map(|n| status["variables"][n].as_u64());
        counts.collect::<Option<_>>().context("no counts")
    };
    let before = count()?;
    sleep(4 * SECOND);
    let after = count()?;
    drop(on_llc_0);
    let counts: Vec<_> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
    let all: u64 = counts.iter().sum();
    println!("{others:?}: {counts:?}");
    ensure!(all > 50, "only {all} attempts");
    Ok([0, 1, 2].map(|n| counts[n] as f64 / all as f64))
}

/// With the defaults, busy CPUs try the other LLCs in turn; with p2dq the longer of two random
/// DSQs, which is the longest or the second.
fn p2dq_when_busy() -> Result<()> {
    let [first, second, third] = looks(&[], Kind::default())?;
    ensure!(
        first.max(second).max(third) < 0.5,
        "with the defaults: {first:.2} {second:.2} {third:.2}"
    );
    let [first, second, third] = looks(&["p2dq"], Kind::default())?;
    is_fine(&[
        "hook_pick_idle_cpu",
        "hook_may_migrate",
        "hook_steal_llc",
        "hook_balance_llc",
    ])?;
    ensure!(
        first > 0.5 && second > 0.15 && third < 0.1,
        "with p2dq: {first:.2} {second:.2} {third:.2}"
    );
    unload()
}

/// With the defaults, newly idle CPUs all try the longest DSQ.
fn p2dq_when_idle() -> Result<()> {
    let pattern = Some((SECOND / 1000, SECOND / 100));
    let sleeper = Kind {
        pattern,
        ..Kind::default()
    };
    let [first, ..] = looks(&[], sleeper)?;
    ensure!(
        first > 0.9,
        "with the defaults: {first:.2} at the longest DSQ"
    );
    let [first, second, third] = looks(&["p2dq"], sleeper)?;
    ensure!(
        (0.5..0.85).contains(&first) && second > 0.15 && third < 0.1,
        "with p2dq: {first:.2} {second:.2} {third:.2}"
    );
    unload()
}

fn llc(hog: &Hog) -> Result<usize> {
    Ok(hog.cpu()? / 4)
}

/// How many times 2 hogs of weight 305 and 11 of 100 change their LLC, and how the weight is
/// divided in the end: 1110 and 600 at first. No division is exactly even.
fn weights_settle() -> Result<(usize, [u32; 2])> {
    const HEAVY: usize = 2;
    let start = |count, nice, cpus| {
        Hog::start_many(
            count,
            Kind {
                nice,
                cpus,
                ..Kind::default()
            },
        )
    };
    let mut hogs = start(HEAVY, -5, &[0, 1, 2, 3])?;
    hogs.extend(start(5, 0, &[0, 1, 2, 3])?);
    hogs.extend(start(6, 0, &[4, 5, 6, 7])?);
    sleep(SECOND / 2);
    for hog in &hogs {
        hog.allow(0..8)?;
    }
    sleep(3 * SECOND);
    let llcs = || hogs.iter().map(llc).collect::<Result<Vec<_>>>();
    let mut changes = 0;
    let mut last = llcs()?;
    let start = Instant::now();
    while start.elapsed() < 4 * SECOND {
        sleep(SECOND / 200);
        let now = llcs()?;
        changes += now.iter().zip(&last).filter(|(a, b)| a != b).count();
        last = now;
    }
    let mut weights = [0, 0];
    for (n, llc) in last.into_iter().enumerate() {
        weights[llc] += if n < HEAVY { 305 } else { 100 };
    }
    println!("{changes} LLC changes, weights {weights:?}");
    Ok((changes, weights))
}

/// Once the weights are balanced, tasks stay in their LLC. Returns how many did not.
fn settles_by_weight() -> Result<usize> {
    let (changes, weights) = weights_settle()?;
    ensure!(changes < 6, "{changes} LLC changes");
    ensure!(weights[0].abs_diff(weights[1]) < 400, "{weights:?}");
    Ok(changes)
}

fn rusty() -> Result<()> {
    become_realtime()?;
    load(&[])?;
    let (defaults, _) = weights_settle()?;
    load_override("rusty", &[])?;
    let changes = settles_by_weight()?;
    ensure!(
        changes < defaults,
        "{changes} LLC changes, {defaults} with the defaults"
    );
    is_fine(&["hook_steal_llc", "hook_balance_llc", "hook_may_migrate"])?;
    unload()
}

/// Domains are balanced by weight, and within a domain tasks stay on their core.
fn rusty_and_stay_on_core() -> Result<()> {
    load(&[])?;
    let defaults = share_on_core()?;
    load_overrides(&["rusty", "stay_on_core"], &[])?;
    let both = share_on_core()?;
    println!("on its core: {defaults} with the defaults, {both}");
    ensure!(
        defaults < 0.3 && both > defaults + 0.3,
        "{defaults} and {both}"
    );
    become_realtime()?;
    settles_by_weight()?;
    is_fine(&[
        "hook_pick_idle_cpu",
        "hook_steal_llc",
        "hook_balance_llc",
        "hook_may_migrate",
    ])?;
    unload()
}

/// Two cgroups, each with hogs only.
const GROUPS: [&str; 2] = ["/sys/fs/cgroup/gallery_a", "/sys/fs/cgroup/gallery_b"];

fn in_group(n: usize, kind: Kind) -> Kind {
    Kind {
        cgroup: GROUPS[n],
        ..kind
    }
}

/// Starts 6 hogs in each of the cgroups.
fn groups_of_hogs() -> Result<[Vec<Hog>; 2]> {
    for group in GROUPS {
        fs::create_dir_all(group).with_context(|| format!("cannot create {group}"))?;
    }
    let start = |n| Hog::start_many(6, in_group(n, Kind::default()));
    Ok([start(0)?, start(1)?])
}

/// The CPUs that each set of hogs uses within a second.
fn cpus_of(hogs: [&[Hog]; 2]) -> Result<[BTreeSet<usize>; 2]> {
    let mut cpus = [BTreeSet::new(), BTreeSet::new()];
    for _ in 0..50 {
        for (cpus, hogs) in cpus.iter_mut().zip(hogs) {
            for hog in hogs {
                cpus.insert(hog.cpu()?);
            }
        }
        sleep(SECOND / 50);
    }
    println!("{cpus:?}");
    Ok(cpus)
}

/// Each cgroup has two CPUs of its own.
fn are_apart([a, b]: &[BTreeSet<usize>; 2]) -> Result<()> {
    ensure!(
        a.is_disjoint(b) && a.len() == 2 && b.len() == 2,
        "{a:?} and {b:?}"
    );
    Ok(())
}

const MITOSIS: [&str; 4] = [
    "hook_pick_idle_cpu",
    "hook_task_queue",
    "hook_enqueue",
    "hook_dispatch",
];

fn mitosis() -> Result<()> {
    become_realtime()?;
    load(&[])?;
    let [a, b] = groups_of_hogs()?;
    sleep(SECOND);
    let cpus = cpus_of([&a, &b])?;
    ensure!(
        cpus[0].intersection(&cpus[1]).count() >= 4,
        "with the defaults: {cpus:?}"
    );
    load_override("mitosis", &[])?;
    sleep(SECOND);
    are_apart(&cpus_of([&a, &b])?)?;
    is_fine(&MITOSIS)?;
    unload()
}

/// An empty cgroup's CPUs go to the tasks outside of all cgroups; it gets CPUs again when
/// needed.
fn mitosis_follows_its_cgroups() -> Result<()> {
    become_realtime()?;
    load_override("mitosis", &["--set", "mitosis_keep_ns=300000000"])?;
    let [a, b] = groups_of_hogs()?;
    let others = Hog::start_many(8, Kind::default())?;
    sleep(SECOND);
    are_apart(&cpus_of([&a, &b])?)?;
    let [_, of_others] = cpus_of([&a, &others])?;
    drop(b);
    sleep(SECOND);
    let [of_a, more] = cpus_of([&a, &others])?;
    ensure!(
        of_others.len() == 4 && more.len() == 6 && more.is_disjoint(&of_a),
        "{of_others:?}, then {more:?} beside {of_a:?}"
    );
    let b = Hog::start_many(6, in_group(1, Kind::default()))?;
    sleep(SECOND);
    are_apart(&cpus_of([&a, &b])?)?;
    is_fine(&MITOSIS)?;
    unload()
}

/// Cells, combined with slices of 100 ms by an override of the suite `hooks`.
fn mitosis_and_an_order() -> Result<()> {
    let switches = |hogs: [&[Hog]; 2]| -> Result<u64> {
        let count = || -> Result<u64> {
            let all = hogs.into_iter().flatten().map(Hog::preempted);
            all.sum()
        };
        sleep(SECOND);
        let before = count()?;
        are_apart(&cpus_of(hogs)?)?;
        Ok(count()? - before)
    };
    become_realtime()?;
    let [a, b] = groups_of_hogs()?;
    load_override("mitosis", &[])?;
    let alone = switches([&a, &b])?;
    load_overrides(&["mitosis", "hook_task_slice"], &[])?;
    let both = switches([&a, &b])?;
    println!("{alone} switches, {both} with long slices");
    ensure!(both * 4 < alone, "{both} switches, {alone} without");
    is_fine(&[&MITOSIS[..], &["hook_task_slice"]].concat())?;
    unload()
}
