// SPDX-License-Identifier: GPL-2.0-only
//! Topologies that change while tasks run: cpuset partitions come and go, and so do CPUs. The
//! tables follow the kernel's scheduling domains, and no task is left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;

use super::Test;
use super::topology::{Shape, number};
use crate::hog::{Hog, Kind, shares};
use crate::preload::{counter, is_fine, load, status};
use crate::sys::{CGROUPS, cpu_list, idle_ticks, random, read, set_cgroup, set_online, wait_for};
use crate::tests;

pub const TESTS: &[Test] = tests![
    tables_follow,
    who_stays_outside_is_free,
    isolated_cpus_take_nothing,
];

const SECOND: Duration = Duration::from_secs(1);
/// Of the workqueue that reads the topology again.
const LIMIT: Duration = Duration::from_secs(2);
/// Less than the time after which the kernel ends a scheduler.
const CATCH_UP: Duration = Duration::from_secs(4);
const GROUPS: [&str; 2] = ["/sys/fs/cgroup/one", "/sys/fs/cgroup/two"];
const KINDS: [&str; 3] = ["member", "root", "isolated"];
const CHANGES: usize = 12;

/// The groups exist, and end as no partitions, also after an error.
struct Groups;

impl Groups {
    fn new() -> Result<Self> {
        set_cgroup(CGROUPS, "cgroup.subtree_control", "+cpuset")?;
        for group in GROUPS {
            fs::create_dir_all(group).context("cannot create the cgroup")?;
        }
        Ok(Groups)
    }

    fn set(&self, nth: usize, cpus: &[usize], kind: &str) -> Result<()> {
        let list: Vec<_> = cpus.iter().map(ToString::to_string).collect();
        set_cgroup(GROUPS[nth], "cpuset.cpus.partition", "member")?;
        set_cgroup(GROUPS[nth], "cpuset.cpus", list.join(","))?;
        set_cgroup(GROUPS[nth], "cpuset.cpus.partition", kind)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in GROUPS {
            let _ = set_cgroup(group, "cpuset.cpus.partition", "member");
        }
    }
}

/// What balances within itself: CPUs with a scheduling domain, or one without.
fn balanced_parts(shape: &Shape) -> Result<Vec<Vec<usize>>> {
    let mut rest = shape.online.clone();
    let mut parts = Vec::new();
    for group in GROUPS {
        let kind = read(format!("{group}/cpuset.cpus.partition"))?;
        // An invalid partition says so after the word.
        if kind != "root" && kind != "isolated" {
            continue;
        }
        let cpus = cpu_list(&read(format!("{group}/cpuset.cpus.effective"))?)?;
        rest.retain(|cpu| !cpus.contains(cpu));
        match kind.as_str() {
            "isolated" => parts.extend(cpus.iter().map(|cpu| vec![*cpu])),
            _ => parts.push(cpus),
        }
    }
    parts.push(rest);
    Ok(parts)
}

/// Compares the LLCs of the tables, and who is isolated, with the partitions and /sys.
fn compare() -> Result<()> {
    let shape = Shape::read()?;
    let parts = balanced_parts(&shape)?;
    let are_domains = parts.iter().any(|part| part.len() > 1);
    let (mut expected, mut alone) = (BTreeSet::new(), BTreeSet::new());
    for part in &parts {
        for llc in &shape.llcs {
            let both = llc.iter().filter(|cpu| part.contains(cpu)).copied();
            expected.insert(both.collect::<Vec<_>>());
        }
        if part.len() == 1 && are_domains {
            alone.insert(part[0]);
        }
    }
    expected.remove(&vec![]);

    let status = status()?;
    ensure!(status["ours"] == true, "{}", status["kernel"]);
    let cpus = &status["topology"]["cpus"];
    let (mut llcs, mut isolated) = (BTreeMap::<_, Vec<_>>::new(), BTreeSet::new());
    for (n, cpu) in cpus.as_array().context("no CPUs")?.iter().enumerate() {
        match number(&cpu["online"])? {
            0 => continue,
            1 => (),
            _ => _ = isolated.insert(n),
        }
        llcs.entry(number(&cpu["llc"])?).or_default().push(n);
    }
    let llcs: BTreeSet<_> = llcs.into_values().collect();
    ensure!(llcs == expected, "LLCs {llcs:?}, should be {expected:?}");
    ensure!(isolated == alone, "isolated {isolated:?}, are {alone:?}");
    Ok(())
}

fn times(hogs: &[Hog]) -> Result<Vec<Duration>> {
    hogs.iter().map(Hog::cpu_time).collect()
}

/// Up to half of the CPUs but the first, which the root cgroup needs, and but those of another
/// partition: the kernel warns (cpuset.c) when CPUs of two come online.
fn some(random: &mut Rng, of: &[usize], but: &[usize]) -> Vec<usize> {
    let free = of[1..].iter().filter(|cpu| !but.contains(cpu)).copied();
    let count = random.usize(1..=of.len() / 2);
    let mut cpus = random.choose_multiple(free, count);
    cpus.sort();
    cpus
}

fn tables_follow() -> Result<()> {
    load(&[])?;
    let mut random = random()?;
    let all = Shape::read()?.online;
    let groups = Groups::new()?;
    let mut hogs = Hog::start_many(2 * all.len(), Kind::default())?;
    let sleeper = Kind {
        pattern: Some((SECOND / 1000, SECOND / 500)),
        ..Kind::default()
    };
    hogs.extend(Hog::start_many(all.len(), sleeper)?);
    for (nth, group) in GROUPS.into_iter().enumerate() {
        groups.set(nth, &all[nth + 1..nth + 2], "member")?;
        let inside = Kind {
            cgroup: group,
            ..Kind::default()
        };
        hogs.extend(Hog::start_many(2, inside)?);
    }
    let done = (0..CHANGES).try_for_each(|n| {
        let what = match random.usize(0..4) {
            0 => {
                let cpu = all[random.usize(1..all.len())];
                let online = Shape::read()?.online.contains(&cpu);
                set_online([cpu], !online)?;
                format!("CPU {cpu} toggled, online: {}", !online)
            }
            _ => {
                let nth = random.usize(0..GROUPS.len());
                let others = read(format!("{}/cpuset.cpus", GROUPS[1 - nth]))?;
                let cpus = some(&mut random, &all, &cpu_list(&others)?);
                let kind = KINDS[random.usize(0..KINDS.len())];
                groups.set(nth, &cpus, kind)?;
                format!("{cpus:?} are {kind}")
            }
        };
        println!("{n}: {what}: {:?}", balanced_parts(&Shape::read()?)?);
        wait_for(LIMIT, compare).context(what)?;
        // Also those that waited on a DSQ that its CPUs have left. Who got more elsewhere waits
        // until the others have caught up: up to 40 slices each.
        let before = times(&hogs)?;
        wait_for(CATCH_UP, || {
            let used = times(&hogs)?;
            let used: Vec<_> = used.iter().zip(&before).map(|(a, b)| *a - *b).collect();
            ensure!(!used.contains(&Duration::ZERO), "{n}: {used:.3?}");
            Ok(())
        })?;
        is_fine(&[])
    });
    drop(groups);
    let online = Shape::read()?.online;
    set_online(all.into_iter().filter(|cpu| !online.contains(cpu)), true)?;
    done?;
    Hog::end_all(hogs);
    wait_for(LIMIT, compare)
}

/// Tasks that a partition takes CPUs from still may run on all that they could ever run on: they
/// do not queue as tasks with an affinity.
fn who_stays_outside_is_free() -> Result<()> {
    load(&[])?;
    let all = Shape::read()?.online;
    let groups = Groups::new()?;
    let hogs = Hog::start_many(2 * all.len(), Kind::default())?;
    let (one, two) = (&all[1..2], &all[all.len() - 2..]);
    groups.set(0, one, "isolated")?;
    groups.set(1, two, "root")?;
    wait_for(LIMIT, compare)?;
    let before = counter(&status()?, "enqueue_affine")?;
    let enqueued = counter(&status()?, "enqueue_llc")?;
    let used = shares(&hogs, 2 * SECOND)?;
    let status = status()?;
    let (affine, llc) = (
        counter(&status, "enqueue_affine")? - before,
        counter(&status, "enqueue_llc")? - enqueued,
    );
    println!("queued with an affinity: {affine}, without: {llc}; {used:.2?}");
    ensure!(affine * 20 < llc);
    Hog::end_all(hogs);
    is_fine(&[])
}

/// A partition of isolated CPUs is nobody's but its tasks': beside many that wait, its CPUs idle.
fn isolated_cpus_take_nothing() -> Result<()> {
    load(&[])?;
    let all = Shape::read()?.online;
    let groups = Groups::new()?;
    let cpus = &all[all.len() - 2..];
    groups.set(0, cpus, "isolated")?;
    let hogs = Hog::start_many(2 * all.len(), Kind::default())?;
    wait_for(LIMIT, compare)?;
    let idle_of = || -> Result<u64> {
        let ticks = idle_ticks()?;
        Ok(cpus.iter().map(|cpu| ticks[*cpu]).sum())
    };
    let before = idle_of()?;
    let used = shares(&hogs, 4 * SECOND)?;
    let idle = idle_of()? - before;
    println!("{idle} ticks of {} idle, {used:.2?}", 400 * cpus.len());
    ensure!(idle >= 390 * cpus.len() as u64);
    Hog::end_all(hogs);
    is_fine(&[])
}
