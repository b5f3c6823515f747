// SPDX-License-Identifier: GPL-2.0-only
//! Example overrides that order tasks or put them into layers: each has an effect that is
//! absent with the defaults.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Test;
use crate::hog::{Hog, Kind, Ring, Usage, shares};
use crate::preload::{is_fine, load, load_override, load_overrides, unload};
use crate::tests;

pub const TESTS: &[Test] = tests![rlfifo, flash, layered, lavd, layered_and_lavd];

const SECOND: Duration = Duration::from_secs(1);

/// Wants two thirds of its CPU, in short bursts.
const SHORT: Kind = Kind {
    comm: "short",
    cpus: &[2],
    nice: 0,
    realtime: false,
    idle: false,
    cgroup: "",
    pattern: Some((Duration::from_millis(1), Duration::from_micros(500))),
};

const LONG: Kind = Kind {
    comm: "long",
    pattern: None,
    ..SHORT
};

/// Bursts of a task.
struct Turns {
    /// Completed bursts.
    count: u64,
    /// Average time that it was runnable without running, per burst.
    wait: Duration,
}

/// Observes `task` for two seconds.
fn turns(task: &Hog) -> Result<Turns> {
    let (sleeps, waited) = (task.sleeps()?, task.waited()?);
    sleep(2 * SECOND);
    let count = task.sleeps()? - sleeps;
    let wait = (task.waited()? - waited) / count.max(1) as u32;
    Ok(Turns { count, wait })
}

/// Runs a task with short bursts and three hogs on one CPU; returns its bursts and the least
/// fraction of the CPU that a hog gets.
fn short_beside_long(short: Kind) -> Result<(Turns, f64)> {
    let hogs = Hog::start_many(
        3,
        Kind {
            pattern: None,
            ..short
        },
    )?;
    let short = Hog::start(short)?;
    sleep(SECOND / 2);
    let before = hogs.iter().map(Hog::cpu_time).collect::<Result<Vec<_>>>()?;
    let turns = turns(&short)?;
    let used = hogs.iter().zip(before);
    let used = used.map(|(hog, before)| Ok(hog.cpu_time()? - before));
    let least = used.collect::<Result<Vec<_>>>()?.into_iter().min();
    let least = least.context("no hogs")?.as_secs_f64() / 2.0;
    println!(
        "{} bursts, {:.1?} waited in each; a hog gets {least:.2}",
        turns.count, turns.wait
    );
    Ok((turns, least))
}

/// CPU time of nice 0 relative to nice 5.
fn advantage_of_weight() -> Result<f64> {
    let hogs = [Hog::start(LONG)?, Hog::start(Kind { nice: 5, ..LONG })?];
    sleep(SECOND / 2);
    let shares = shares(&hogs, 2 * SECOND)?;
    Ok(shares[0].div_duration_f64(shares[1]))
}

/// A task that sleeps much waits until all others have had a slice, and weights are ignored.
fn rlfifo() -> Result<()> {
    const SELDOM: Kind = Kind {
        pattern: Some((Duration::from_millis(1), Duration::from_millis(20))),
        ..SHORT
    };
    load(&[])?;
    let (fair, _) = short_beside_long(SELDOM)?;
    let weighted = advantage_of_weight()?;
    load_override("rlfifo", &[])?;
    let (fifo, _) = short_beside_long(SELDOM)?;
    let equal = advantage_of_weight()?;
    println!("nice 0 gets {weighted:.2} times as much as nice 5, then {equal:.2} times");
    is_fine(&["hook_task_slice", "hook_enqueue", "hook_dispatch"])?;
    ensure!(weighted > 2.0 && (0.8..1.25).contains(&equal));
    // Three slices of 5 ms.
    ensure!(fifo.wait > 10 * MSEC && fifo.wait > 3 * fair.wait);
    unload()
}

/// A task with bursts of 0.3 ms beside two hogs and six tasks with bursts of 50 ms. All but
/// the hogs want less than a fair share of their two CPUs.
fn short_among_stayers() -> Result<Turns> {
    let among = |pattern| Kind {
        cpus: &[2, 3],
        pattern,
        ..SHORT
    };
    let _hogs = Hog::start_many(2, among(None))?;
    let _stayers = Hog::start_many(6, among(Some((50 * MSEC, 200 * MSEC))))?;
    let short = Hog::start(among(Some((MSEC * 3 / 10, 7 * MSEC))))?;
    sleep(SECOND / 2);
    let turns = turns(&short)?;
    println!("{} bursts, {:.2?} waited in each", turns.count, turns.wait);
    Ok(turns)
}

/// A task with short bursts does not wait for those with long ones, as in a FIFO; unlike there,
/// weights count.
fn flash() -> Result<()> {
    load_override("rlfifo", &[])?;
    let fifo = short_among_stayers()?;
    load_override("flash", &[])?;
    let flash = short_among_stayers()?;
    let weighted = advantage_of_weight()?;
    is_fine(&["hook_task_vtime"])?;
    println!("nice 0 gets {weighted:.2} times as much as nice 5");
    ensure!(
        flash.wait * 3 < fifo.wait,
        "waited {:.2?} in a FIFO, {:.2?}",
        fifo.wait,
        flash.wait
    );
    ensure!((2.0..4.5).contains(&weighted), "{weighted:.2} times");
    unload()
}

const LAYERED: &[&str] = &["hook_pick_idle_cpu", "hook_task_queue", "hook_dispatch"];
const MSEC: Duration = Duration::from_millis(1);

/// Allowed on all CPUs, but of the layer of CPUs 2 and 3.
const RENDER: Kind = Kind {
    comm: "render-1",
    cpus: &[],
    ..LONG
};

/// The fraction of samples in which a hog is on CPUs 2 and 3.
fn on_layer(hogs: &[Hog]) -> Result<f64> {
    const LOOKS: usize = 50;
    let mut hits = 0;
    for _ in 0..LOOKS {
        sleep(10 * MSEC);
        for hog in hogs {
            hits += usize::from([2, 3].contains(&hog.cpu()?));
        }
    }
    Ok(hits as f64 / (LOOKS * hogs.len()) as f64)
}

/// Three hogs of a layer, a sleeper of the same layer, and other tasks: how much of each is on
/// the layer's CPUs, and the least CPU time that one of the layer's hogs gets.
fn place() -> Result<[f64; 4]> {
    let hogs = Hog::start_many(3, RENDER)?;
    let sleeper = [Hog::start(Kind {
        pattern: Some((MSEC, 3 * MSEC)),
        ..RENDER
    })?];
    let others = Hog::start_many(
        6,
        Kind {
            comm: "other",
            ..RENDER
        },
    )?;
    sleep(SECOND / 2);
    let seen = [on_layer(&hogs)?, on_layer(&sleeper)?, on_layer(&others)?];
    let got = shares(&hogs, SECOND)?;
    let least = got.iter().min().context("no hogs")?.as_secs_f64();
    println!("on CPUs 2 and 3: {seen:.2?} of hogs, sleeper, others; a hog gets {least:.2}");
    Ok([seen[0], seen[1], seen[2], least])
}

/// Tasks named render* run on CPUs 2 and 3 only, without an affinity, and those of a high nice
/// level on 6 and 7; others run elsewhere, too.
fn layered() -> Result<()> {
    load(&[])?;
    let [hogs, sleeper, ..] = place()?;
    ensure!(
        hogs < 0.7 && sleeper < 0.9,
        "{hogs} and {sleeper} on the layer's CPUs with the defaults"
    );
    load_override("layered", &[])?;
    let [hogs, sleeper, others, least] = place()?;
    ensure!(
        hogs > 0.98 && sleeper > 0.98,
        "{hogs} and {sleeper} on the layer's CPUs"
    );
    ensure!(
        others < 0.4 && least > 0.3,
        "{others} of the others on the layer's CPUs; a hog gets {least}"
    );
    let nice = Hog::start_many(
        3,
        Kind {
            comm: "nice",
            nice: 12,
            ..RENDER
        },
    )?;
    sleep(SECOND / 4);
    for _ in 0..20 {
        sleep(10 * MSEC);
        for hog in &nice {
            ensure!(
                [6, 7].contains(&hog.cpu()?),
                "a nice hog is on CPU {}",
                hog.cpu()?
            );
        }
    }
    is_fine(LAYERED)?;
    unload()
}

/// A ring of two tasks and eight hogs on two CPUs.
struct Links {
    /// Average duration of a round.
    round: Duration,
    /// The least fraction of a CPU that a task of the ring, and a hog, gets.
    link: f64,
    hog: f64,
    /// The fraction of samples on CPUs 2 and 3.
    place: f64,
}

/// All tasks are of `kind`.
fn links_beside_hogs(kind: Kind) -> Result<Links> {
    let hogs = Hog::start_many(8, kind)?;
    let ring = Ring::start(2, kind, 2 * MSEC)?;
    sleep(SECOND);
    let links = Usage::start(&ring.links)?;
    let used = Usage::start(&hogs)?;
    let place = on_layer(&hogs)?.min(on_layer(&ring.links)?);
    sleep(2 * SECOND);
    let least =
        |usage: Usage| -> Result<f64> { Ok(usage.parts()?.into_iter().fold(f64::MAX, f64::min)) };
    let (link, hog) = (least(links)?, least(used)?);

    let rounds = ring.stop()?;
    // Skip the time until the override has learned what the tasks do.
    let rounds = &rounds[rounds.len() / 3..];
    ensure!(!rounds.is_empty(), "no rounds");
    let round = rounds.iter().sum::<Duration>() / rounds.len() as u32;
    println!(
        "{round:.1?} a round; a link gets {link:.2}, a hog {hog:.2}; {place:.2} on CPUs 2 and 3"
    );
    Ok(Links {
        round,
        link,
        hog,
        place,
    })
}

const LAVD: &[&str] = &["hook_task_vtime", "hook_task_charge"];

/// Tasks that wake each other and wait for each other get more CPU time than hogs, and finish
/// earlier; hogs do not starve.
fn links_first(fair: &Links, lavd: &Links) -> Result<()> {
    ensure!(lavd.round.mul_f64(1.25) < fair.round && lavd.link > 1.3 * lavd.hog);
    ensure!(lavd.hog > 0.05, "a hog gets {:.2}", lavd.hog);
    Ok(())
}

fn lavd() -> Result<()> {
    const TWO_CPUS: Kind = Kind {
        cpus: &[2, 3],
        ..LONG
    };
    load(&[])?;
    let fair = links_beside_hogs(TWO_CPUS)?;
    load_override("lavd", &[])?;
    let lavd = links_beside_hogs(TWO_CPUS)?;
    is_fine(LAVD)?;
    links_first(&fair, &lavd)?;
    unload()
}

/// The same in a layer, whose tasks stay on its CPUs.
fn layered_and_lavd() -> Result<()> {
    load_override("layered", &[])?;
    let fair = links_beside_hogs(RENDER)?;
    load_overrides(&["layered", "lavd"], &[])?;
    let both = links_beside_hogs(RENDER)?;
    is_fine(&[LAYERED, LAVD].concat())?;
    ensure!(both.place > 0.98, "{:.2} on the layer's CPUs", both.place);
    links_first(&fair, &both)?;
    unload()
}
