// SPDX-License-Identifier: GPL-2.0-only
//! The defaults: work conservation, affinity, fairness, starvation, realtime tasks.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Test;
use crate::hog::{Hog, Kind, ONLY, shares, sum};
use crate::preload::{counter, is_fine, load, load_override, status, unload_any};
use crate::sys::idle_ticks;
use crate::tests;

pub const TESTS: &[Test] = tests![
    one_hog_a_cpu,
    no_cpu_idles_while_tasks_wait,
    crowd_spreads_at_once,
    pinned_tasks_stay,
    pinned_and_free_tasks_share,
    weights_on_one_cpu,
    weights_across_the_machine,
    equal_tasks_get_equal_time,
    low_priority_does_not_starve,
    sleepers_run_beside_hogs,
    no_wait_without_end,
    realtime_pushes_aside,
    realtime_keeps_away,
    sched_idle_counts_as_idle,
    defaults_still_run,
];

const SECOND: Duration = Duration::from_secs(1);

fn secs(times: &[Duration]) -> Vec<f64> {
    times.iter().map(Duration::as_secs_f64).collect()
}

fn min_max(times: &[Duration]) -> f64 {
    let times = secs(times);
    let min = times.iter().copied().fold(f64::INFINITY, f64::min);
    min / times.iter().copied().fold(0.0, f64::max)
}

fn one_hog_a_cpu() -> Result<()> {
    load(&[])?;
    let hogs = Hog::start_many(8, Kind::default())?;
    sleep(SECOND);
    let shares = shares(&hogs, 3 * SECOND)?;
    println!("{:.2?}", secs(&shares));
    ensure!(
        min_max(&shares) > 0.8 && sum(&shares) > 0.9 * 8.0 * 3.0,
        "{shares:.2?}"
    );
    // This task needs a CPU, too, and displaces a hog while it samples one after the other.
    let mut looks = Vec::new();
    for _ in 0..21 {
        sleep(SECOND / 50);
        let cpus: BTreeSet<_> = hogs.iter().map(Hog::cpu).collect::<Result<_>>()?;
        looks.push(cpus.len());
    }
    looks.sort();
    ensure!(looks[10] >= 7, "8 hogs were on {looks:?} CPUs");
    Ok(())
}

fn no_cpu_idles_while_tasks_wait() -> Result<()> {
    load(&[])?;
    let _hogs = Hog::start_many(20, Kind::default())?;
    sleep(SECOND);
    let before = idle_ticks()?;
    sleep(3 * SECOND);
    let idle: Vec<_> = idle_ticks()?
        .iter()
        .zip(before)
        .map(|(a, b)| a - b)
        .collect();
    // Of 300 ticks: the test itself and housekeeping leave a CPU idle for moments.
    ensure!(idle.iter().all(|ticks| *ticks < 15), "idle ticks: {idle:?}");
    Ok(())
}

/// 8 hogs on one CPU are then allowed everywhere: as soon as one has to wait, an idle CPU is
/// kicked for it.
fn crowd_spreads_at_once() -> Result<()> {
    load(&[])?;
    let hogs = Hog::start_many(
        8,
        Kind {
            cpus: &[0],
            ..Kind::default()
        },
    )?;
    sleep(SECOND / 2);
    for hog in &hogs {
        hog.allow(0..8)?;
    }
    let shares = shares(&hogs, SECOND / 2)?;
    // Idle CPUs also find waiting tasks by chance; tasks must not depend on that.
    let kicks = counter(&status()?, "kick_idle")?;
    println!("{:.2?}, {kicks} kicks", secs(&shares));
    ensure!(sum(&shares) > 0.8 * 8.0 * 0.5, "{:.2?}", secs(&shares));
    ensure!(kicks >= 4, "{kicks} idle CPUs kicked for 7 hogs");
    Ok(())
}

fn pinned_tasks_stay() -> Result<()> {
    load(&[])?;
    let pinned = Hog::start(Kind {
        cpus: &[5],
        ..Kind::default()
    })?;
    let pair = Hog::start(Kind {
        cpus: &[1, 6],
        ..Kind::default()
    })?;
    let _free = Hog::start_many(12, Kind::default())?;
    for _ in 0..100 {
        ensure!(
            pinned.cpu()? == 5,
            "a task pinned to CPU 5 is on CPU {}",
            pinned.cpu()?
        );
        ensure!(
            [1, 6].contains(&pair.cpu()?),
            "a task for CPUs 1 and 6 is on CPU {}",
            pair.cpu()?
        );
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A pinned hog on each CPU and 8 free ones: half a CPU for each.
fn pinned_and_free_tasks_share() -> Result<()> {
    load(&[])?;
    let mut hogs = Vec::new();
    for cpus in ONLY {
        hogs.push(Hog::start(Kind {
            cpus,
            ..Kind::default()
        })?);
    }
    hogs.extend(Hog::start_many(8, Kind::default())?);
    sleep(SECOND);
    let shares = shares(&hogs, 4 * SECOND)?;
    println!(
        "pinned {:.2?}, free {:.2?}",
        secs(&shares[..8]),
        secs(&shares[8..])
    );
    let ratio = sum(&shares[..8]) / sum(&shares[8..]);
    ensure!((0.8..1.25).contains(&ratio), "pinned to free: {ratio:.2}");
    ensure!(min_max(&shares) > 0.6, "min/max {:.2}", min_max(&shares));
    Ok(())
}

/// Weight of nice 0 to nice 5, see sched_prio_to_weight[].
const NICE_5: f64 = 1024.0 / 335.0;

fn within_20_percent(ratio: f64, ideal: f64) -> Result<()> {
    println!("ratio {ratio:.2}, ideal {ideal:.2}");
    ensure!(
        (ideal * 0.8..ideal * 1.2).contains(&ratio),
        "ratio {ratio:.2}, ideal {ideal:.2}"
    );
    Ok(())
}

fn weights_on_one_cpu() -> Result<()> {
    load(&[])?;
    let kind = Kind {
        cpus: &[2],
        ..Kind::default()
    };
    let hogs = [Hog::start(kind)?, Hog::start(Kind { nice: 5, ..kind })?];
    sleep(SECOND / 2);
    let shares = shares(&hogs, 5 * SECOND)?;
    within_20_percent(shares[0].as_secs_f64() / shares[1].as_secs_f64(), NICE_5)
}

fn weights_across_the_machine() -> Result<()> {
    load(&[])?;
    let mut hogs = Hog::start_many(8, Kind::default())?;
    hogs.extend(Hog::start_many(
        8,
        Kind {
            nice: 5,
            ..Kind::default()
        },
    )?);
    sleep(SECOND);
    let shares = shares(&hogs, 6 * SECOND)?;
    println!(
        "nice 0 {:.2?}, nice 5 {:.2?}",
        secs(&shares[..8]),
        secs(&shares[8..])
    );
    within_20_percent(sum(&shares[..8]) / sum(&shares[8..]), NICE_5)
}

fn equal_tasks_get_equal_time() -> Result<()> {
    load(&[])?;
    let hogs = Hog::start_many(12, Kind::default())?;
    sleep(SECOND);
    let shares = shares(&hogs, 6 * SECOND)?;
    println!("{:.2?}", secs(&shares));
    ensure!(min_max(&shares) > 0.8, "min/max {:.2}", min_max(&shares));
    Ok(())
}

fn low_priority_does_not_starve() -> Result<()> {
    load(&[])?;
    let mut hogs = vec![Hog::start(Kind {
        nice: 19,
        ..Kind::default()
    })?];
    hogs.extend(Hog::start_many(16, Kind::default())?);
    sleep(SECOND);
    let shares = shares(&hogs, 6 * SECOND)?;
    // Its weight is 15 to 1024: 1.5 % of the half CPU that the others get.
    let ms = shares[0].as_millis();
    println!("nice 19 got {ms} ms of 6 s");
    // It is overdue once a second, and a slice on an emulated CPU can last 60 ms.
    ensure!((10..600).contains(&ms), "nice 19 got {ms} ms of 6 s");
    Ok(())
}

/// A task that needs 10 % of a CPU gets it beside 24 hogs.
fn sleepers_run_beside_hogs() -> Result<()> {
    load(&[])?;
    let _hogs = Hog::start_many(24, Kind::default())?;
    let pattern = Some((Duration::from_millis(1), Duration::from_millis(9)));
    let sleeper = [Hog::start(Kind {
        pattern,
        ..Kind::default()
    })?];
    sleep(SECOND);
    let got = shares(&sleeper, 4 * SECOND)?[0].as_millis();
    println!("{got} ms of 4 s");
    ensure!(got > 80, "a sleeper got {got} ms of 4 s");
    Ok(())
}

/// An override always puts one task first: the other runs nevertheless when it is overdue.
fn no_wait_without_end() -> Result<()> {
    load_override("hook_task_vtime", &["--set", "bypass_stall_ms=0"])?;
    let kind = Kind {
        cpus: &[3],
        ..Kind::default()
    };
    let _first = Hog::start(Kind {
        comm: "favoured",
        ..kind
    })?;
    let last = [Hog::start(kind)?];
    sleep(SECOND);
    let got = shares(&last, 4 * SECOND)?[0].as_millis();
    let overdue = counter(&status()?, "dispatch_overdue")?;
    println!("{got} ms of 4 s, {overdue} times overdue");
    ensure!(
        got > 5 && overdue >= 2,
        "{got} ms of 4 s, {overdue} times overdue"
    );
    load(&[])
}

/// When a realtime task takes the CPU of a hog, the hog moves at once, without waiting for the
/// realtime task to sleep.
fn realtime_pushes_aside() -> Result<()> {
    load(&[])?;
    let hog = [Hog::start(Kind::default())?];
    sleep(SECOND / 2);
    let cpu = hog[0].cpu()?;
    let _realtime = Hog::start(Kind {
        cpus: ONLY[cpu],
        realtime: true,
        ..Kind::default()
    })?;
    let got = shares(&hog, SECOND / 2)?[0];
    println!("{got:.2?} of 0.5 s, from CPU {cpu} to {}", hog[0].cpu()?);
    ensure!(got > SECOND * 2 / 5 && hog[0].cpu()? != cpu, "{got:.2?}");
    Ok(())
}

/// A realtime task uses CPU 3 half of the time. A task that used to wake up there avoids it,
/// even when it is idle.
fn realtime_keeps_away() -> Result<()> {
    load(&[])?;
    let pattern = Some((Duration::from_millis(10), Duration::from_millis(10)));
    let _realtime = Hog::start(Kind {
        cpus: ONLY[3],
        realtime: true,
        pattern,
        ..Kind::default()
    })?;
    let pattern = Some((Duration::from_micros(200), Duration::from_millis(3)));
    let sleeper = Hog::start(Kind {
        cpus: ONLY[3],
        pattern,
        ..Kind::default()
    })?;
    sleep(SECOND);
    // If the realtime task runs at the first wakeup of the sleeper, CPU 3 is not idle and
    // nothing is proven: start again.
    let mut left = 0;
    for _ in 0..20 {
        sleeper.allow(0..8)?;
        sleep(SECOND / 5);
        left = counter(&status()?, "leave_pressed")?;
        if left > 0 {
            break;
        }
        sleeper.allow([3])?;
        sleep(SECOND / 5);
    }
    let mut there = 0;
    for _ in 0..50 {
        sleep(Duration::from_millis(7));
        there += usize::from(sleeper.cpu()? == 3);
    }
    println!("on CPU 3 in {there} of 50 samples, left it {left} times");
    ensure!(
        there < 10 && left > 0,
        "on CPU 3 in {there} of 50 samples, left it {left} times"
    );
    Ok(())
}

fn defaults_still_run() -> Result<()> {
    let status = status()?;
    ensure!(status["ours"] == true, "{}", status["kernel"]);
    Ok(())
}

/// All CPUs run SCHED_IDLE tasks: a task that wakes up finds one, wherever it ran last.
fn sched_idle_counts_as_idle() -> Result<()> {
    let mean_wait = || -> Result<Duration> {
        let mut hogs = Vec::new();
        for cpus in ONLY {
            hogs.push(Hog::start(Kind {
                idle: true,
                cpus,
                ..Kind::default()
            })?);
        }
        let mut sleepers = Vec::new();
        for nth in 0..10 {
            sleepers.push(Hog::start(Kind {
                pattern: Some((SECOND / 1000, SECOND * (10 + nth) / 10_000)),
                ..Kind::default()
            })?);
        }
        let sums = || {
            sleepers.iter().try_fold((0, Duration::ZERO), |sums, s| {
                anyhow::Ok((sums.0 + s.sleeps()?, sums.1 + s.waited()?))
            })
        };
        sleep(SECOND);
        let before = sums()?;
        sleep(3 * SECOND);
        let after = sums()?;
        Ok((after.1 - before.1) / (after.0 - before.0).max(1) as u32)
    };
    unload_any()?;
    let eevdf = mean_wait()?;
    load(&[])?;
    let ours = mean_wait()?;
    println!("{ours:.1?}, with EEVDF {eevdf:.1?}");
    ensure!(ours < eevdf);
    is_fine(&[])
}
