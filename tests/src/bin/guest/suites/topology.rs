// SPDX-License-Identifier: GPL-2.0-only
//! The defaults on different topologies: they see the topology that /sys shows, and use all
//! CPUs. Each test works on any topology.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Test;
use crate::hog::{Hog, Kind, Usage};
use crate::preload::{counter, load, status};
use crate::sys::{cpu_list, poll, read, scx_ops, scx_state, set_online, wait_for};
use crate::tests;

pub const TESTS: &[Test] = tests![
    tables_match_the_kernel,
    tables_follow_hotplug,
    two_hogs_a_cpu,
    a_hog_for_every_second_cpu,
    new_hogs_get_a_core_each,
    hogs_on_one_core_get_one_each,
    hogs_leave_an_llc_for_a_core,
    full_node_lends_to_the_nearest,
    crowd_leaves_its_llc,
    full_llc_lends_nobody_its_queue,
    idle_cpus_take_from_other_llcs,
    sleepers_wake_beside_hogs,
    pinned_beside_free_hogs,
];

const SECOND: Duration = Duration::from_secs(1);
/// More emulated CPUs than this are too slow for some tests.
const MANY: usize = 16;
const CPU: &str = "/sys/devices/system/cpu";

/// The online CPUs, as /sys shows them. Lists of CPUs are sorted.
pub struct Shape {
    pub online: Vec<usize>,
    pub llcs: BTreeSet<Vec<usize>>,
    cores: BTreeSet<Vec<usize>>,
    /// Node of each online CPU.
    node: BTreeMap<usize, usize>,
}

impl Shape {
    pub fn read() -> Result<Self> {
        let online = cpu_list(&read(format!("{CPU}/online"))?)?;
        let groups = |file: &str| -> Result<BTreeSet<Vec<usize>>> {
            let lists = online.iter().map(|cpu| {
                let list = cpu_list(&read(format!("{CPU}/cpu{cpu}/{file}"))?)?;
                ensure!(list.contains(cpu), "{file} of CPU {cpu}: {list:?}");
                Ok(list)
            });
            lists.collect()
        };
        let mut node = BTreeMap::new();
        for entry in fs::read_dir("/sys/devices/system/node")? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(Ok(n)) = name.strip_prefix("node").map(str::parse) else {
                continue;
            };
            for cpu in cpu_list(&read(path.join("cpulist"))?)? {
                node.insert(cpu, n);
            }
        }
        node.retain(|cpu, _| online.contains(cpu));
        Ok(Shape {
            llcs: groups("cache/index3/shared_cpu_list")?,
            cores: groups("topology/core_cpus_list")?,
            node,
            online,
        })
    }

    fn nr(&self) -> usize {
        self.online.len()
    }
}

pub fn number(value: &Value) -> Result<usize> {
    let number = value.as_u64();
    Ok(number.with_context(|| format!("{value} is not a number"))? as usize)
}

/// Compares the tables of the defaults with /sys.
fn compare() -> Result<()> {
    let shape = Shape::read()?;
    let status = status()?;
    ensure!(status["ours"] == true, "{}", status["kernel"]);
    let topology = &status["topology"];
    let possible = cpu_list(&read(format!("{CPU}/possible"))?)?;
    let nodes: BTreeSet<_> = shape.node.values().copied().collect();
    for (name, sys) in [
        ("nr_cpu_ids", possible.last().context("no CPUs")? + 1),
        ("nr_online", shape.nr()),
        ("nr_cores", shape.cores.len()),
        ("nr_nodes", nodes.last().context("no nodes")? + 1),
    ] {
        let ours = number(&topology[name])?;
        ensure!(ours == sys, "{name} is {ours}, /sys says {sys}");
    }

    let cpus = topology["cpus"].as_array().context("no CPUs")?;
    let mut llcs = BTreeMap::<usize, Vec<usize>>::new();
    let mut cores = BTreeSet::new();
    for (n, cpu) in cpus.iter().enumerate() {
        let online = number(&cpu["online"])? == 1;
        ensure!(online == shape.online.contains(&n), "CPU {n}: {cpu}");
        if !online {
            continue;
        }
        llcs.entry(number(&cpu["llc"])?).or_default().push(n);
        let mut core = vec![n];
        let mut next = number(&cpu["smt_next"])?;
        while next != n {
            ensure!(
                core.len() < cpus.len(),
                "the SMT ring of CPU {n} does not close: {core:?}"
            );
            core.push(next);
            next = number(&cpus[next]["smt_next"])?;
        }
        core.sort();
        ensure!(
            number(&cpu["core"])? == core[0],
            "CPU {n} has core {}, its SMT ring is {core:?}",
            cpu["core"]
        );
        cores.insert(core);
        ensure!(number(&cpu["node"])? == shape.node[&n], "CPU {n}: {cpu}");
        // None of the test machines has CPUs of different capacity.
        ensure!(number(&cpu["capacity"])? == 1024, "CPU {n}: {cpu}");
    }
    ensure!(
        cores == shape.cores,
        "cores are {cores:?}, /sys says {:?}",
        shape.cores
    );
    let partition: BTreeSet<_> = llcs.values().cloned().collect();
    ensure!(
        partition == shape.llcs,
        "LLCs are {partition:?}, /sys says {:?}",
        shape.llcs
    );

    let entries = topology["llcs"].as_array().context("no LLCs")?;
    ensure!(number(&topology["nr_llcs"])? == entries.len());
    for (n, llc) in entries.iter().enumerate() {
        let members = llcs.get(&n).map_or(&[][..], Vec::as_slice);
        ensure!(
            number(&llc["nr_cpus"])? == members.len(),
            "LLC {n} of {members:?}: {llc}"
        );
        if let Some(first) = members.first() {
            ensure!(
                number(&llc["node"])? == shape.node[first],
                "LLC {n} of {members:?}: {llc}"
            );
            near_are_nearest_first(llc, shape.node[first], entries)?;
        }
    }
    Ok(())
}

/// Distances from `node` to each node, 10 to itself.
fn distances(node: usize) -> Result<Vec<usize>> {
    let text = read(format!("/sys/devices/system/node/node{node}/distance"))?;
    let distances = text.split_whitespace().map(str::parse);
    Ok(distances.collect::<Result<_, _>>()?)
}

/// An LLC's list of other LLCs is sorted by the distances of their nodes in /sys.
fn near_are_nearest_first(llc: &Value, node: usize, entries: &[Value]) -> Result<()> {
    let distances = distances(node)?;
    let near = llc["near"].as_array().context("no list of near LLCs")?;
    let near = near.iter().map(number).collect::<Result<Vec<_>>>()?;
    let distinct: BTreeSet<_> = near.iter().collect();
    ensure!(
        distinct.len() == near.len() && near.len() == (entries.len() - 1).min(32),
        "{llc}"
    );
    let far = |other: &usize| {
        // An LLC without online CPUs has no node.
        let there = entries[*other]["nr_cpus"] != 0;
        let node = number(&entries[*other]["node"]).ok().filter(|_| there);
        node.and_then(|node| distances.get(node).copied())
    };
    let far: Vec<_> = near.iter().filter_map(far).collect();
    ensure!(far.is_sorted(), "distances {far:?} of {near:?}: {llc}");
    Ok(())
}

fn tables_match_the_kernel() -> Result<()> {
    load(&[])?;
    compare()?;
    let nr_llcs = number(&status()?["topology"]["nr_llcs"])?;
    let llcs = Shape::read()?.llcs;
    println!("{llcs:?}");
    ensure!(nr_llcs == llcs.len(), "{nr_llcs} LLCs for {llcs:?}");
    Ok(())
}

/// Toggles each CPU that can be offline, and toggles it back.
fn tables_follow_hotplug() -> Result<()> {
    load(&[])?;
    let shape = Shape::read()?;
    let present = cpu_list(&read(format!("{CPU}/present"))?)?;
    if present.len() > MANY {
        // Hotplug stops all CPUs. With the host's clock and a busy host, that can take more
        // than 5 s, which the sched_ext watchdog takes for a stall.
        println!("skipped");
        return Ok(());
    }
    for cpu in present.into_iter().skip(1) {
        let online = shape.online.contains(&cpu);
        set_online([cpu], !online)?;
        let away = wait_for(SECOND, compare);
        // Restore the CPU for the tests that follow, also on an error.
        set_online([cpu], online)?;
        away.with_context(|| format!("CPU {cpu} toggled, online: {}", !online))?;
        compare().with_context(|| format!("CPU {cpu} restored, online: {online}"))?;
    }
    Ok(())
}

/// Loads our scheduler unless it is loaded: that takes longer than some of the tests.
fn ours() -> Result<Place> {
    if scx_ops().as_deref() != Some("preload") {
        load(&[])?;
    }
    Place::read()
}

/// If it had been ejected, EEVDF would pass most tests.
fn still_ours() -> Result<()> {
    let (state, ops) = (scx_state()?, scx_ops());
    ensure!(
        state == "enabled" && ops.as_deref() == Some("preload"),
        "{state}, {ops:?}"
    );
    Ok(())
}

/// CPUs for the hogs: all, but on machines with many CPUs the first two of each LLC, which are
/// one core with SMT. 64 busy emulated CPUs would take minutes for anything.
struct Place {
    cpus: Vec<usize>,
    llcs: Vec<Vec<usize>>,
}

impl Place {
    fn read() -> Result<Self> {
        let shape = Shape::read()?;
        let most = if shape.nr() > MANY { 2 } else { shape.nr() };
        let parts = shape.llcs.iter().map(|llc| &llc[..most.min(llc.len())]);
        let llcs: Vec<_> = parts.map(<[usize]>::to_vec).collect();
        Ok(Place {
            cpus: llcs.concat(),
            llcs,
        })
    }

    fn nr(&self) -> usize {
        self.cpus.len()
    }

    /// Hogs that are allowed on all these CPUs.
    fn hogs(&self, count: usize) -> Result<Vec<Hog>> {
        Hog::start_many(count, on(&self.cpus))
    }

    fn release(&self, hogs: &[Hog]) -> Result<()> {
        hogs.iter()
            .try_for_each(|hog| hog.allow(self.cpus.iter().copied()))
    }

    fn pinned(&self, cpus: &[usize]) -> Result<Vec<Hog>> {
        cpus.iter().map(|cpu| Hog::start(on(&[*cpu]))).collect()
    }
}

/// Leaks the list, as a test's process is short-lived.
fn on(cpus: &[usize]) -> Kind {
    Kind {
        cpus: cpus.to_vec().leak(),
        ..Kind::default()
    }
}

fn sum(parts: &[f64]) -> f64 {
    parts.iter().sum()
}

fn least(parts: &[f64]) -> f64 {
    parts.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(parts: &[f64]) -> f64 {
    parts.iter().copied().fold(0.0, f64::max)
}

/// Waits until the hogs' CPU usage is `fine`. In the boot with the host's clock, guest CPU time
/// passes whether or not the host runs the emulated CPU: a busy host takes nothing from a hog,
/// but lengthens slices at random, which averages out over time.
fn will_be(hogs: &[Hog], fine: impl Fn(&[f64]) -> bool) -> Result<()> {
    let usage = Usage::start(hogs)?;
    for _ in 0..12 {
        sleep(SECOND);
        let parts = usage.parts()?;
        println!(
            "{:.2} CPUs, min/max {:.2}: {parts:.2?}",
            sum(&parts),
            least(&parts) / most(&parts)
        );
        if fine(&parts) {
            return Ok(());
        }
    }
    bail!("the hogs' CPU usage stays out of bounds")
}

fn two_hogs_a_cpu() -> Result<()> {
    let place = ours()?;
    let hogs = place.hogs(2 * place.nr())?;
    sleep(SECOND / 2);
    will_be(&hogs, |parts| {
        sum(parts) > 0.9 * place.nr() as f64 && least(parts) > 0.7 * most(parts)
    })?;
    still_ours()
}

fn a_hog_for_every_second_cpu() -> Result<()> {
    let place = ours()?;
    let hogs = place.hogs(place.nr().div_ceil(2))?;
    sleep(SECOND / 2);
    will_be(&hogs, |parts| least(parts) > 0.85)?;
    still_ours()
}

/// Like sched_balance_find_dst_cpu() for a new task. One core is left for this task, and the
/// hogs are at most 7, as sampling more takes long.
fn new_hogs_get_a_core_each() -> Result<()> {
    const LOOKS: usize = 10;
    ours()?;
    let cores = Shape::read()?.cores;
    let count = (cores.len() - 1).min(7);
    for _ in 0..3 {
        // Let the cores of the previous hogs go idle.
        sleep(SECOND / 5);
        let hogs = Hog::start_many(count, Kind::default())?;
        sleep(SECOND / 2);
        let mut sharing = 0;
        for _ in 0..LOOKS {
            let on = hogs.iter().map(Hog::cpu).collect::<Result<Vec<_>>>()?;
            let busy = cores.iter().filter(|c| c.iter().any(|c| on.contains(c)));
            sharing += count - busy.count();
            sleep(SECOND / 40);
        }
        println!("{sharing} of {}", LOOKS * count);
        ensure!(
            sharing < LOOKS / 2,
            "{count} hogs on {} cores: two share one in {sharing} of {LOOKS} samples",
            cores.len()
        );
    }
    still_ours()
}

/// Pins a hog to each of the first two CPUs of `core`, then allows both everywhere. Returns
/// how long they share the core, and how many moves there were until shortly after.
fn parted(shape: &Shape, core: &[usize], hogs: &[Hog; 2]) -> Result<(Duration, u64)> {
    let cpus = || hogs.iter().map(Hog::cpu).collect::<Result<Vec<_>>>();
    for (hog, cpu) in hogs.iter().zip(core) {
        hog.allow([*cpu])?;
    }
    sleep(SECOND / 5);
    ensure!(cpus()? == core[..2], "{:?} on {core:?}", cpus()?);
    let before = counter(&status()?, "leave_core")?;
    let start = Instant::now();
    for hog in hogs {
        hog.allow(shape.online.iter().copied())?;
    }
    poll(2 * SECOND, SECOND / 500, || {
        let on = cpus()?;
        ensure!(
            !on.iter().all(|cpu| core.contains(cpu)),
            "both are on {core:?}"
        );
        Ok(())
    })?;
    let time = start.elapsed();
    sleep(SECOND / 5);
    let on = cpus()?;
    let shared = shape
        .cores
        .iter()
        .find(|core| on.iter().all(|cpu| core.contains(cpu)));
    ensure!(shared.is_none(), "both are on {shared:?} again");
    Ok((time, counter(&status()?, "leave_core")? - before))
}

/// Two hogs repeatedly leave a shared core, which takes two slices and two ticks each time:
/// 18 ms at 250 Hz, and up to 34 ms more if the core has just lost a hog. In the boot with the
/// host's clock, a busy host adds to that.
fn core_is_parted(shape: &Shape, core: &[usize]) -> Result<()> {
    const ROUNDS: usize = 8;
    let hogs = [Hog::start(on(&core[..1]))?, Hog::start(on(&core[1..2]))?];
    let (mut times, mut moves) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let (time, n) = parted(shape, core, &hogs)?;
        println!("parted after {} ms, {n} moves", time.as_millis());
        times.push(time);
        moves += n;
    }
    times.sort();
    ensure!(times[ROUNDS / 2] < SECOND / 5, "{times:?}");
    // One move per round is needed; a hog that wanders makes ten or more.
    ensure!(moves < 4 * ROUNDS as u64, "{moves} moves");
    Ok(())
}

fn hogs_on_one_core_get_one_each() -> Result<()> {
    ours()?;
    let shape = Shape::read()?;
    let core = shape.cores.iter().find(|core| core.len() > 1);
    let (Some(core), true) = (core, shape.cores.len() > 2) else {
        println!("skipped");
        return Ok(());
    };
    core_is_parted(&shape, core)?;
    still_ours()
}

/// A pinned hog occupies each other core of the LLC.
fn hogs_leave_an_llc_for_a_core() -> Result<()> {
    let place = ours()?;
    let shape = Shape::read()?;
    let core = shape.cores.iter().find(|core| core.len() > 1);
    let (Some(core), true, true) = (core, shape.llcs.len() > 1, shape.nr() <= MANY) else {
        println!("skipped");
        return Ok(());
    };
    let llc = shape.llcs.iter().find(|llc| llc.contains(&core[0]));
    let llc = llc.context("a core without an LLC")?;
    let others = shape.cores.iter().filter(|other| *other != core);
    let firsts: Vec<_> = others
        .map(|other| other[0])
        .filter(|cpu| llc.contains(cpu))
        .collect();
    let _hogs = place.pinned(&firsts)?;
    core_is_parted(&shape, core)?;
    still_ours()
}

/// A sleeper of a node without an idle CPU wakes up in the nearest of at least two other
/// nodes.
fn full_node_lends_to_the_nearest() -> Result<()> {
    const LOOKS: usize = 30;
    let place = ours()?;
    let shape = Shape::read()?;
    let home = shape.node[&place.cpus[0]];
    let distances = distances(home)?;
    let nearest = distances.iter().filter(|d| **d > 10).min();
    let (Some(nearest), true) = (nearest, distances.len() > 2) else {
        println!("skipped");
        return Ok(());
    };
    let at_home = |cpu: &usize| shape.node[cpu] == home;
    let local: Vec<_> = place.cpus.iter().copied().filter(at_home).collect();
    let _hogs = place.pinned(&local)?;
    let sleeper = Hog::start(Kind {
        pattern: Some((Duration::from_micros(300), Duration::from_millis(4))),
        ..on(&local)
    })?;
    let mut hits = 0;
    for _ in 0..LOOKS {
        sleeper.allow(local.iter().copied())?;
        sleep(SECOND / 40);
        sleeper.allow(place.cpus.iter().copied())?;
        sleep(SECOND / 40);
        hits += usize::from(distances[shape.node[&sleeper.cpu()?]] == *nearest);
    }
    println!("{hits} of {LOOKS} on the nearest node");
    ensure!(hits > LOOKS * 2 / 3, "{hits} of {LOOKS}");
    still_ours()
}

/// As many hogs as CPUs, confined to one LLC, or to one CPU if there is only one LLC, then
/// released.
fn crowd_leaves_its_llc() -> Result<()> {
    let place = ours()?;
    let last = place.llcs.last().context("no LLCs")?;
    let held = match place.llcs.len() {
        1 => &last[..1],
        _ => last,
    };
    let hogs = Hog::start_many(place.nr(), on(held))?;
    sleep(SECOND / 2);
    place.release(&hogs)?;
    let usage = Usage::start(&hogs)?;
    sleep(SECOND);
    let parts = usage.parts()?;
    println!("{:.2} CPUs: {parts:.2?}", sum(&parts));
    ensure!(
        sum(&parts) > 0.7 * place.nr() as f64,
        "the hogs use {:.2} CPUs of {}",
        sum(&parts),
        place.nr()
    );
    still_ours()
}

/// A pinned hog on each CPU of an LLC, and free ones in the same LLC, as many as there are
/// CPUs elsewhere: the free ones move there and stay away.
fn full_llc_lends_nobody_its_queue() -> Result<()> {
    let place = ours()?;
    let full = &place.llcs[0];
    let mut hogs = place.pinned(full)?;
    let free = Hog::start_many(place.nr() - full.len(), on(full))?;
    sleep(SECOND / 2);
    place.release(&free)?;
    hogs.extend(free);
    sleep(SECOND / 2);
    will_be(&hogs, |parts| least(parts) > 0.8)?;
    still_ours()
}

/// Work for about all CPUs in short bursts, so that the DSQ of one LLC or another is often
/// empty.
fn idle_cpus_take_from_other_llcs() -> Result<()> {
    let place = ours()?;
    let pattern = Some((SECOND / 200, SECOND / 200));
    let kind = Kind {
        pattern,
        ..on(&place.cpus)
    };
    let before = counter(&status()?, "newidle_steal")?;
    let tasks = Hog::start_many(2 * place.nr(), kind)?;
    sleep(2 * SECOND);
    drop(tasks);
    let steals = counter(&status()?, "newidle_steal")? - before;
    println!("{steals} steals");
    ensure!(
        place.llcs.len() == 1 || steals >= 10,
        "{steals} tasks taken from another LLC"
    );
    still_ours()
}

fn sleepers_wake_beside_hogs() -> Result<()> {
    let place = ours()?;
    let _hogs = place.hogs(2 * place.nr())?;
    let kind = Kind {
        pattern: Some((Duration::from_millis(1), Duration::from_millis(9))),
        ..on(&place.cpus)
    };
    let sleepers = Hog::start_many(place.nr().div_ceil(2), kind)?;
    // Ideally 600 times in 6 s; 30 with the host's clock on a busy host. Tasks that only run
    // when they are overdue, once a second, sleep 10 times.
    wait_for(6 * SECOND, || {
        let often = sleepers
            .iter()
            .map(Hog::sleeps)
            .collect::<Result<Vec<_>>>()?;
        ensure!(often.iter().all(|n| *n > 20), "times slept: {often:?}");
        Ok(())
    })?;
    still_ours()
}

fn pinned_beside_free_hogs() -> Result<()> {
    let place = ours()?;
    let mut hogs = place.pinned(&place.cpus)?;
    hogs.extend(place.hogs(place.nr())?);
    sleep(SECOND / 2);
    // Ideally half a CPU for each.
    will_be(&hogs, |parts| least(parts) > 0.35)?;
    still_ours()
}
