// SPDX-License-Identifier: GPL-2.0-only
//! All hogs are on one CPU when they are allowed on the others: how well a bypass mode spreads
//! them, and how long recovery takes after it.
//!
//! Time is virtual, as for all rows. Slices, ticks and the balancing interval follow it, so
//! idle time and CPU times are meaningful whatever the load of the host.

use std::iter::repeat_n;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use scx_preload_tests::bench::Bypass;

use super::nice::weight;
use super::shares::fairness;
use super::{Values, cpus, ms, value};
use crate::bench::bypass::Begun;
use crate::hog::{Hog, Kind, allow};
use crate::sys::{become_realtime, poll, read};

const WINDOW: Duration = Duration::from_secs(4);
/// Generous: what is polled for happens at once or within a few rounds of all tasks.
const LIMIT: Duration = Duration::from_secs(20);
/// CPU times of running tasks are known to within a tick, 4 ms.
const PAUSE: Duration = Duration::from_millis(2);
/// A task that runs for less only uses the rest of the slice that it had when bypass began,
/// microseconds.
const TURN: Duration = Duration::from_millis(1);
/// Unit of /proc/stat: USER_HZ is 100 everywhere.
const TICK: Duration = Duration::from_millis(10);

/// The kernel's balancing timer stays armed after a bypass for up to its interval of half a
/// second, and would fire early in the next one.
const APART: Duration = Duration::from_millis(600);

/// Where hogs without a CPU of their own start.
const FULL_CPU: usize = 0;

/// A set of hogs for a machine with `cpus` CPUs.
pub struct Load {
    pub name: &'static str,
    cpus: usize,
    groups: &'static [Group],
}

/// Hogs that should get equal CPU time.
struct Group {
    count: usize,
    nice: i32,
    /// The CPU that they are pinned to.
    only: Option<usize>,
}

const fn free(count: usize) -> Group {
    Group {
        count,
        nice: 0,
        only: None,
    }
}

const fn pinned(count: usize, cpu: usize) -> Group {
    Group {
        only: Some(cpu),
        ..free(count)
    }
}

const fn nice(count: usize, nice: i32) -> Group {
    Group {
        nice,
        ..free(count)
    }
}

const fn load(name: &'static str, cpus: usize, groups: &'static [Group]) -> Load {
    Load { name, cpus, groups }
}

/// Each has at least one task per CPU, so there should be no idle time.
pub const LOADS: &[Load] = &[
    load("bypass_20", 8, &[free(20)]),
    load("bypass_48", 8, &[free(48)]),
    load("bypass_200", 8, &[free(200)]),
    load(
        "bypass_pinned",
        8,
        &[pinned(8, FULL_CPU), free(16), pinned(3, 5)],
    ),
    load("bypass_nice", 8, &[nice(8, 0), nice(8, 5)]),
    load("bypass_160", 64, &[free(160)]),
];

pub fn find(name: &str) -> Option<&'static Load> {
    LOADS.iter().find(|load| load.name == name)
}

/// Without a mode this is the warm-up, under EEVDF, which may well leave a CPU idle.
pub fn run(load: &Load, mode: Option<Bypass>, scale: f64) -> Result<Values> {
    if cpus()? != load.cpus {
        return Ok(Vec::new());
    }
    // Kernel bypass ignores weights, so as a normal task this process would be delayed by the
    // hogs itself.
    become_realtime()?;
    // Killed one by one, each hog would have to wait for a CPU to die; the parent kills them
    // all at once.
    let hogs = ManuallyDrop::new(load.start()?);
    let Some(mode) = mode else {
        return Ok(Vec::new());
    };
    sleep(APART);
    let (begun, on) = timed(|| Begun::begin(mode))?;
    // In kernel bypass a task preempted by a realtime task goes to the tail of its queue, so
    // keep away from the full CPU.
    watch_from(load.cpus - 1..load.cpus)?;
    let seen = Seen::of(load, &hogs, WINDOW.mul_f64(scale))?;
    watch_from(0..load.cpus)?;
    let ((), off) = timed(|| begun.end())?;
    let ((), recover) = timed(|| wait_for_cpus(&hogs, load.cpus))?;

    let mut values = seen.values(load);
    values.extend([
        value(format!("{}_recover", load.name), ms(recover)),
        value(format!("on_ms/{}", load.name), ms(on)),
        value(format!("off_ms/{}", load.name), ms(off)),
    ]);
    Ok(values)
}

/// What the hogs did after they were allowed everywhere.
struct Seen {
    first: Duration,
    window: Duration,
    /// Sum over all CPUs.
    idle: Duration,
    /// CPU time of each hog.
    used: Vec<Duration>,
}

impl Seen {
    fn of(load: &Load, hogs: &[Hog], window: Duration) -> Result<Self> {
        let before = times(hogs)?;
        let idle = idle_time()?;
        let start = Instant::now();
        load.set_free(hogs)?;
        wait_for_all(hogs, &before)?;
        let first = start.elapsed();
        sleep(window.saturating_sub(first));
        let window = start.elapsed();
        let idle = idle_time()? - idle;
        let after = times(hogs)?;
        Ok(Seen {
            first,
            window,
            idle,
            used: after.iter().zip(before).map(|(a, b)| *a - b).collect(),
        })
    }

    fn values(&self, load: &Load) -> Values {
        let groups = load.split(&self.used);
        let idle = self.idle.div_duration_f64(self.window) / load.cpus as f64;
        let name = |what: &str| format!("{}_{what}", load.name);
        let mut values = vec![
            value(name("idle"), idle),
            value(name("first"), ms(self.first)),
            value(name("max_min"), max_min(&groups)),
        ];
        if let ([one, other], [got, others]) = (load.groups, &groups[..])
            && let Some(due) = weight_ratio(one.nice, other.nice)
        {
            let ratio = mean(got).div_duration_f64(mean(others));
            values.push(value(name("error"), (ratio / due - 1.0).abs()));
        }
        values
    }
}

impl Load {
    /// Starts the hogs and waits until all are running, then confines them to their first CPU.
    fn start(&self) -> Result<Vec<Hog>> {
        let mut hogs = Vec::new();
        for group in self.groups {
            let kind = Kind {
                nice: group.nice,
                ..Kind::default()
            };
            hogs.extend(Hog::start_many(group.count, kind)?);
        }
        // A hog applies its attributes itself, which would take long if all shared one CPU.
        wait_for_all(&hogs, &vec![Duration::ZERO; hogs.len()])?;
        for (hog, group) in hogs.iter().zip(self.group_of_each()) {
            hog.allow([group.only.unwrap_or(FULL_CPU)])?;
        }
        Ok(hogs)
    }

    fn set_free(&self, hogs: &[Hog]) -> Result<()> {
        let both = hogs.iter().zip(self.group_of_each());
        let mut free = both.filter(|(_, group)| group.only.is_none());
        free.try_for_each(|(hog, _)| hog.allow(0..self.cpus))
    }

    fn group_of_each(&self) -> impl Iterator<Item = &Group> {
        self.groups
            .iter()
            .flat_map(|group| repeat_n(group, group.count))
    }

    /// Splits a slice with one element per hog by group.
    fn split<'a, T>(&self, mut all: &'a [T]) -> Vec<&'a [T]> {
        let mut next = |group: &Group| {
            let (its, rest) = all.split_at(group.count);
            all = rest;
            its
        };
        self.groups.iter().map(&mut next).collect()
    }
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    Ok((work()?, start.elapsed()))
}

/// Moves this process to these CPUs.
fn watch_from(cpus: Range<usize>) -> Result<()> {
    allow(Pid::from_raw(0), cpus)
}

fn times(hogs: &[Hog]) -> Result<Vec<Duration>> {
    hogs.iter().map(Hog::cpu_time).collect()
}

/// Waits until each hog has run for [`TURN`] since its CPU time was `before`.
fn wait_for_all(hogs: &[Hog], before: &[Duration]) -> Result<()> {
    let mut left: Vec<_> = hogs.iter().zip(before).collect();
    poll(LIMIT, PAUSE, || {
        let now = left
            .iter()
            .map(|(hog, _)| hog.cpu_time())
            .collect::<Result<Vec<_>>>()?;
        let mut now = now.iter();
        left.retain(|(_, before)| now.next().is_some_and(|now| *now < **before + TURN));
        ensure!(left.is_empty(), "{} hogs have not run", left.len());
        Ok(())
    })
}

/// Waits until each CPU has been seen with a hog that was making progress.
fn wait_for_cpus(hogs: &[Hog], cpus: usize) -> Result<()> {
    let mut left: Vec<_> = (0..cpus).collect();
    let mut before = times(hogs)?;
    poll(LIMIT, PAUSE, || {
        for (hog, before) in hogs.iter().zip(&mut before) {
            let now = hog.cpu_time()?;
            if now > *before {
                let cpu = hog.cpu()?;
                left.retain(|other| *other != cpu);
            }
            *before = now;
        }
        ensure!(left.is_empty(), "CPUs {left:?} run no hog");
        Ok(())
    })
}

/// Sum over all CPUs since boot.
fn idle_time() -> Result<Duration> {
    let ticks = idle_ticks(&read("/proc/stat")?).context("cannot parse /proc/stat")?;
    Ok(TICK.mul_f64(ticks as f64))
}

/// The columns idle and iowait.
fn idle_ticks(stat: &str) -> Option<u64> {
    let all = stat.lines().next()?.strip_prefix("cpu ")?;
    let mut fields = all.split_whitespace().skip(3);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Of the worst group.
fn max_min(groups: &[&[Duration]]) -> f64 {
    let worst = groups.iter().map(|times| fairness(times));
    1.0 / worst.fold(1.0, f64::min)
}

fn mean(times: &[Duration]) -> Duration {
    times.iter().sum::<Duration>().div_f64(times.len() as f64)
}

/// Ratio of the weights of two nice levels; `None` if they are the same.
fn weight_ratio(one: i32, other: i32) -> Option<f64> {
    (one != other).then_some(weight(one)? / weight(other)?)
}

#[cfg(test)]
mod tests {
    use scx_preload_tests::bench::{Target, row};

    use super::*;

    #[test]
    fn loads_fit_the_targets() {
        for load in LOADS {
            let a_cpu = load.group_of_each().count() as f64 / load.cpus as f64;
            assert!(a_cpu >= 1.0);
            let first = row(&format!("{}_first", load.name)).unwrap();
            assert_eq!(first.target, Target::Value(100.0 * a_cpu));
        }
    }

    #[test]
    fn splits_by_group() {
        const LOAD: Load = load("", 8, &[free(1), pinned(2, 5)]);
        let groups = LOAD.split(&[1, 2, 3]);
        assert_eq!(groups, [&[1][..], &[2, 3]]);
    }

    #[test]
    fn idle_of_proc_stat() {
        let stat = "cpu  10 0 5 700 3 0 1 0 0 0\ncpu0 10 0 5 700 3 0 1 0 0 0\n";
        assert_eq!(idle_ticks(stat), Some(703));
        assert_eq!(idle_ticks("intr 1\n"), None);
    }

    #[test]
    fn figures() {
        let seen = Seen {
            first: Duration::from_millis(3),
            window: Duration::from_secs(2),
            idle: Duration::from_secs(4),
            used: [
                vec![Duration::from_millis(1000); 8],
                vec![Duration::from_millis(500); 8],
            ]
            .concat(),
        };
        let values = seen.values(find("bypass_nice").unwrap());
        let of = |what: &str| values.iter().find(|(name, _)| name == what).unwrap().1;
        assert!(values.iter().all(|(name, _)| row(name).is_some()));
        assert_eq!(of("bypass_nice_idle"), 0.25);
        assert_eq!(of("bypass_nice_first"), 3.0);
        assert_eq!(of("bypass_nice_max_min"), 1.0);
        assert!((of("bypass_nice_error") - (1.0 - 2.0 / 3.06)).abs() < 0.001);
    }

    #[test]
    fn worst_group() {
        let [one, two, three] = [1, 2, 3].map(Duration::from_secs);
        assert_eq!(max_min(&[&[one, one], &[three, two]]), 1.5);
        assert_eq!(max_min(&[]), 1.0);
        assert_eq!(mean(&[one, three]), two);
    }

    #[test]
    fn ratio_of_weights() {
        assert!((weight_ratio(0, 5).unwrap() - 3.06).abs() < 0.01);
        assert_eq!(weight_ratio(0, 0), None);
        assert_eq!(weight_ratio(0, 1), None);
    }
}
