// SPDX-License-Identifier: GPL-2.0-only
//! Each hook: its default runs, and an override (in `tests/fixtures/each_hook.bpf.c`) has the
//! expected effect.

use std::fs;
use std::ops::Range;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Test;
use crate::hog::{Hog, Kind, ONLY, shares};
use crate::preload::{OBJECTS, counter, hook, load, load_override, status, unload};
use crate::sys::{SCX_PRELOAD, end_with_sysrq, run_ok, set_online, word};
use crate::tests;

pub const TESTS: &[Test] = tests![
    defaults_of_all_hooks_run,
    pick_idle_cpu,
    leave_llc,
    task_queue,
    task_slice,
    task_vtime,
    task_charge,
    task_preempt,
    steal_llc,
    balance_llc,
    cpu_capacity,
    cpu_priority,
    cpu_perf,
    cpu_perf_of_ours,
    init,
    exit,
    init_task,
    cpu_online,
    cpu_offline,
    dump,
    enqueue,
    dispatch,
    bypass,
    may_migrate,
    bad_results_are_bounded,
    stay_on_core,
];

const SECOND: Duration = Duration::from_secs(1);

const FAVOURED: Kind = Kind {
    comm: "favoured",
    cpus: &[3],
    nice: 0,
    realtime: false,
    idle: false,
    cgroup: "",
    pattern: None,
};

const PLAIN: Kind = Kind {
    comm: "plain",
    ..FAVOURED
};

/// Runs `test` with the override linked before and after the defaults.
fn in_both_orders(name: &str, test: impl Fn() -> Result<()>) -> Result<()> {
    in_both_orders_with(name, &[], test)
}

/// The same with further arguments of `load`.
fn in_both_orders_with(name: &str, args: &[&str], test: impl Fn() -> Result<()>) -> Result<()> {
    load_override(name, args)?;
    is_overridden(name)?;
    test().context("override linked first")?;
    is_still_fine(name)?;
    // Linking does not depend on the kernel, so one kernel is enough.
    if word("scx_test.boot")?.as_deref() == Some("other") {
        return unload();
    }
    let last = format!("{OBJECTS}/{name}.last.bpf.o");
    load(&[&["--object", &last], args].concat())?;
    is_overridden(name)?;
    test().context("override linked last")?;
    is_still_fine(name)?;
    unload()
}

fn is_overridden(name: &str) -> Result<()> {
    let status = status()?;
    for hook in status["hooks"].as_array().context("no hooks")? {
        ensure!(hook["overridden"] == (hook["name"] == name), "{hook}");
    }
    Ok(())
}

/// There were no bad results, and our scheduler is still enabled.
fn is_still_fine(name: &str) -> Result<()> {
    let status = status()?;
    // The test of hook_exit ends the scheduler.
    ensure!(
        name == "hook_exit" || status["ours"] == true,
        "{}",
        status["kernel"]
    );
    ensure!(hook(&status, name, "bad")? == 0);
    Ok(())
}

/// Number of calls of a hook, and of its default.
fn calls(status: &Value, name: &str) -> Result<(u64, u64)> {
    Ok((hook(status, name, "calls")?, hook(status, name, "dfl")?))
}

/// The hook was called, and its default was not.
fn replaces_the_default(name: &str) -> Result<Value> {
    let status = status()?;
    let (calls, dfl) = calls(&status, name)?;
    ensure!(
        calls > 0 && dfl == 0,
        "{name}: {calls} calls, {dfl} defaults"
    );
    Ok(status)
}

/// More tasks than CPUs, some of them sleepers, so that every decision occurs.
fn mixed_load(window: Duration) -> Result<()> {
    let hogs = Hog::start_many(11, Kind::default())?;
    let pattern = Some((Duration::from_millis(3), Duration::from_millis(5)));
    let sleepers = Hog::start_many(
        6,
        Kind {
            pattern,
            ..Kind::default()
        },
    )?;
    sleep(window / 2);
    drop(hogs);
    let _hogs = Hog::start_many(11, Kind::default())?;
    sleep(window / 2);
    drop(sleepers);
    Ok(())
}

fn off_and_on(cpu: usize) -> Result<()> {
    set_online([cpu], false)?;
    set_online([cpu], true)
}

fn defaults_of_all_hooks_run() -> Result<()> {
    load(&[])?;
    mixed_load(3 * SECOND)?;
    off_and_on(2)?;
    fs::write("/proc/sysrq-trigger", "D")?;
    sleep(SECOND);
    end_with_sysrq()?;
    let status = status()?;
    // Not called without an override.
    const SILENT: [&str; 4] = [
        "hook_enqueue",
        "hook_dispatch",
        "hook_bypass",
        "hook_may_migrate",
    ];
    for hook in status["hooks"].as_array().context("no hooks")? {
        let silent = SILENT.iter().any(|name| hook["name"] == *name);
        ensure!(
            (hook["calls"].as_u64() > Some(0)) != silent
                && hook["dfl"] == hook["calls"]
                && hook["bad"] == 0,
            "{hook}"
        );
        ensure!(hook["overridden"] == false, "{hook}");
    }
    println!("{}", status["counters"]);
    for name in [
        "wakeup_idle",
        "enqueue_llc",
        "enqueue_cpu",
        "dispatch_llc",
        "dispatch_keep",
    ] {
        ensure!(counter(&status, name)? > 0, "{name} is 0");
    }
    ensure!(counter(&status, "no_storage")? == 0);
    unload()
}

/// Favored tasks wake up on CPU 6 only.
fn pick_idle_cpu() -> Result<()> {
    in_both_orders("hook_pick_idle_cpu", || {
        let pattern = Some((Duration::from_millis(1), Duration::from_millis(5)));
        let sleeper = Hog::start(Kind {
            comm: "favoured",
            pattern,
            ..Kind::default()
        })?;
        sleep(SECOND / 2);
        for _ in 0..50 {
            ensure!(
                sleeper.cpu()? == 6,
                "a favoured task is on CPU {}",
                sleeper.cpu()?
            );
            sleep(Duration::from_millis(7));
        }
        Ok(())
    })
}

/// Whether `is_so` is true more often than not: a kernel thread or this task may occupy the
/// CPU that the task would otherwise go to.
fn mostly(mut is_so: impl FnMut() -> Result<bool>) -> Result<bool> {
    const MAJORITY: u32 = 5;
    let (mut yes, mut no) = (0, 0);
    while yes.max(no) < MAJORITY {
        if is_so()? {
            yes += 1;
        } else {
            no += 1;
        }
    }
    println!("{yes} times yes, {no} times no");
    Ok(yes > no)
}

/// LLC 0 has no idle core but idle siblings: favored tasks leave it, others stay.
fn leave_llc() -> Result<()> {
    fn leaves(kind: Kind) -> Result<bool> {
        let _hogs = [
            Hog::start(Kind {
                cpus: &[0],
                ..PLAIN
            })?,
            Hog::start(Kind {
                cpus: &[2],
                ..PLAIN
            })?,
        ];
        let pattern = Some((Duration::from_millis(1), Duration::from_millis(5)));
        let sleeper = Hog::start(Kind {
            cpus: &[1],
            pattern,
            ..kind
        })?;
        // Once it has left, it has no reason to return by itself.
        mostly(|| {
            sleeper.allow([1])?;
            sleep(SECOND / 20);
            sleeper.allow(0..8)?;
            sleep(SECOND / 20);
            Ok(sleeper.cpu()? >= 4)
        })
    }
    load(&[])?;
    ensure!(
        !leaves(FAVOURED)?,
        "a favoured task leaves with the defaults"
    );
    in_both_orders("hook_leave_llc", || {
        ensure!(leaves(FAVOURED)?, "a favoured task stays");
        ensure!(!leaves(PLAIN)?, "a plain task leaves");
        Ok(())
    })
}

/// All tasks wait on the DSQ of LLC 1; the CPUs of LLC 0 only run what they steal.
fn task_queue() -> Result<()> {
    in_both_orders("hook_task_queue", || {
        mixed_load(2 * SECOND)?;
        let status = replaces_the_default("hook_task_queue")?;
        let from_elsewhere = counter(&status, "newidle_steal")? + counter(&status, "balance_pull")?;
        ensure!(
            from_elsewhere > 20,
            "LLC 0 took {from_elsewhere} tasks of LLC 1"
        );
        Ok(())
    })
}

/// With slices of 100 ms instead of 5, two hogs on a CPU are switched far less often.
fn task_slice() -> Result<()> {
    fn switches() -> Result<u64> {
        let hogs = [Hog::start(PLAIN)?, Hog::start(PLAIN)?];
        sleep(SECOND / 2);
        let count = || hogs.iter().map(Hog::preempted).sum::<Result<u64>>();
        let before = count()?;
        sleep(2 * SECOND);
        Ok(count()? - before)
    }
    load(&[])?;
    let with_defaults = switches()?;
    ensure!(
        with_defaults > 100,
        "{with_defaults} switches in 2 s with the defaults"
    );
    in_both_orders("hook_task_slice", || {
        let switches = switches()?;
        println!("{switches} switches in 2 s");
        ensure!(switches < 60, "{switches} switches in 2 s");
        replaces_the_default("hook_task_slice").map(drop)
    })
}

/// CPU time of a favored hog relative to a plain one on the same CPU.
fn advantage() -> Result<f64> {
    let hogs = [Hog::start(FAVOURED)?, Hog::start(PLAIN)?];
    sleep(SECOND / 2);
    let shares = shares(&hogs, 3 * SECOND)?;
    println!("favoured {:?}, plain {:?}", shares[0], shares[1]);
    Ok(shares[0].as_secs_f64() / shares[1].as_secs_f64().max(0.001))
}

/// Keys of favored tasks are always 100 ms ahead: no other task runs.
fn task_vtime() -> Result<()> {
    load(&[])?;
    let fair = advantage()?;
    ensure!((0.8..1.25).contains(&fair), "{fair:.2} with the defaults");
    // It starves the others, which must not start a soft bypass.
    in_both_orders_with("hook_task_vtime", &["--set", "bypass_stall_ms=0"], || {
        let advantage = advantage()?;
        ensure!(advantage > 10.0, "advantage of {advantage:.2}");
        Ok(())
    })
}

/// Favored tasks are charged a quarter, so they get four times as much.
fn task_charge() -> Result<()> {
    in_both_orders("hook_task_charge", || {
        let advantage = advantage()?;
        ensure!(
            (3.2..4.8).contains(&advantage),
            "advantage of {advantage:.2}"
        );
        // Tasks that move at the end of their slices.
        let moving = Kind {
            pattern: Some((SECOND / 50, SECOND / 200)),
            ..Kind::default()
        };
        let _hogs = Hog::start_many(10, moving)?;
        sleep(SECOND);
        let seen = status()?;
        ensure!(seen["variables"]["charged_elsewhere"] == 0, "{seen}");
        Ok(())
    })
}

/// Without preemption a sleeper waits for the end of a hog's slice, a long one here, at each
/// wakeup, and gets far less CPU time.
fn task_preempt() -> Result<()> {
    const LONG_SLICES: &[&str] = &["--set", "slice_ns=30000000"];
    fn sleeper_share() -> Result<Duration> {
        let _hogs = Hog::start_many(3, PLAIN)?;
        let pattern = Some((Duration::from_millis(1), Duration::from_millis(5)));
        let sleeper = [Hog::start(Kind { pattern, ..PLAIN })?];
        sleep(SECOND / 2);
        Ok(shares(&sleeper, 3 * SECOND)?[0])
    }
    load(LONG_SLICES)?;
    let with_defaults = sleeper_share()?;
    ensure!(counter(&status()?, "wakeup_preempt")? > 50);
    in_both_orders_with("hook_task_preempt", LONG_SLICES, || {
        let share = sleeper_share()?;
        println!("{share:?}, {with_defaults:?} with the defaults");
        let status = replaces_the_default("hook_task_preempt")?;
        ensure!(counter(&status, "wakeup_preempt")? == 0);
        ensure!(
            share < with_defaults * 3 / 5,
            "{share:?} of {with_defaults:?}"
        );
        Ok(())
    })
}

fn steal_llc() -> Result<()> {
    in_both_orders("hook_steal_llc", || {
        mixed_load(2 * SECOND)?;
        let status = replaces_the_default("hook_steal_llc")?;
        let steals = counter(&status, "newidle_steal")?;
        ensure!(steals == 0, "{steals} tasks stolen");
        Ok(())
    })
}

/// Twelve tasks crowd LLC 0 while four in LLC 1 have a CPU each. These CPUs never go idle, so
/// placement does not find them.
fn crowd_beside_busy(comm: &'static str) -> Result<[Vec<Hog>; 2]> {
    let alone = Hog::start_many(
        4,
        Kind {
            cpus: &[4, 5, 6, 7],
            ..Kind::default()
        },
    )?;
    let crowd = Hog::start_many(
        12,
        Kind {
            comm,
            cpus: &[0, 1, 2, 3],
            ..Kind::default()
        },
    )?;
    sleep(SECOND / 2);
    crowd.iter().try_for_each(|hog| hog.allow(0..8))?;
    sleep(2 * SECOND);
    Ok([alone, crowd])
}

/// The override turns periodic balancing off.
fn balance_llc() -> Result<()> {
    fn pulls() -> Result<u64> {
        let _hogs = crowd_beside_busy("plain")?;
        counter(&status()?, "balance_pull")
    }
    load(&[])?;
    let with_defaults = pulls()?;
    ensure!(with_defaults > 0, "the defaults pull no task");
    in_both_orders("hook_balance_llc", || {
        ensure!(pulls()? == 0, "tasks were pulled");
        replaces_the_default("hook_balance_llc").map(drop)
    })
}

/// Tasks that lag in a crowded LLC are pulled out of it, and one of two that share a core
/// leaves for an idle core; neither happens to favored tasks.
fn may_migrate() -> Result<()> {
    /// Pulls, and how many times the override refused a favored task and allowed another one.
    fn pulls(comm: &'static str) -> Result<(u64, u64, u64)> {
        let _hogs = crowd_beside_busy(comm)?;
        let before = status()?;
        let pulls = counter(&before, "balance_pull")? + counter(&before, "newidle_steal")?;
        // `status` reads variables before counters, so only those of the next one include each
        // counted pull.
        let status = status()?;
        let variable = |name: &str| status["variables"][name].as_u64().context("no variable");
        Ok((pulls, variable("refused")?, variable("allowed")?))
    }
    fn leaves_for_a_core(comm: &'static str) -> Result<bool> {
        let start = |comm, cpu: usize| {
            Hog::start(Kind {
                comm,
                cpus: ONLY[cpu],
                ..PLAIN
            })
        };
        // Occupies the other core of the LLC.
        let _beside = start("plain", 2)?;
        let pair = [start(comm, 0)?, start(comm, 1)?];
        sleep(SECOND / 4);
        for hog in &pair {
            hog.allow(0..8)?;
        }
        sleep(SECOND / 4);
        Ok(pair[0].cpu()? > 3 || pair[1].cpu()? > 3)
    }
    in_both_orders("hook_may_migrate", || {
        ensure!(
            !mostly(|| leaves_for_a_core("favoured"))?,
            "a favoured task left"
        );
        ensure!(
            mostly(|| leaves_for_a_core("plain"))?,
            "two hogs stay on a core"
        );
        let (first, refused, allowed) = pulls("favoured")?;
        ensure!(refused > 0, "no favoured task was refused");
        // Some pulls may be of other tasks.
        ensure!(first <= allowed, "{first} pulls, {allowed} allowed");
        let (second, _, allowed) = pulls("plain")?;
        ensure!(second > first + 2, "{first} pulls, then {second}");
        ensure!(second <= allowed, "{second} pulls, {allowed} allowed");
        Ok(())
    })
}

fn cpu_capacity() -> Result<()> {
    // Half a slice divides long bursts from short ones: SHORT is far below 30 ms.
    let slices = &["--set", "slice_ns=60000000"];
    in_both_orders_with("hook_cpu_capacity", slices, || {
        let status = replaces_the_default("hook_cpu_capacity")?;
        for cpu in 0..8 {
            let seen = &status["topology"]["cpus"][cpu]["capacity"];
            ensure!(
                *seen == if cpu < 4 { 1024 } else { 512 },
                "CPU {cpu}: {seen}"
            );
        }
        // Tasks with short bursts stay where they are, those with long ones leave slow CPUs.
        let (short, long) = (looks_on(0..4, SHORT)?, looks_on(0..4, LONG)?);
        println!("on fast CPUs: {short} of {LOOKS} with short bursts, {long} with long ones");
        ensure!(short < LOOKS / 4 && long > LOOKS * 3 / 4);
        // So does a task with an affinity, among its CPUs.
        let affine = looks_on_of(0..4, LONG, &[3, 5, 7])?;
        ensure!(affine > LOOKS * 3 / 4, "{affine} of {LOOKS} on CPU 3");
        // A task that never sleeps leaves, too, if a fast CPU is idle.
        let hog = Hog::start(Kind {
            cpus: &[5],
            ..PLAIN
        })?;
        sleep(SECOND / 4);
        hog.allow(0..8)?;
        sleep(SECOND / 4);
        ensure!(hog.cpu()? < 4, "a hog is on CPU {}", hog.cpu()?);
        Ok(())
    })
}

const LOOKS: usize = 40;
const SHORT: Duration = Duration::from_micros(300);
/// More than half of the longest slice used here.
const LONG: Duration = Duration::from_millis(40);

/// In how many samples a task with bursts of `turn`, started on CPU 5, is on one of `cpus`.
fn looks_on(cpus: Range<usize>, turn: Duration) -> Result<usize> {
    looks_on_of(cpus, turn, &[0, 1, 2, 3, 4, 5, 6, 7])
}

/// The same for a task with the affinity `allowed`.
fn looks_on_of(cpus: Range<usize>, turn: Duration, allowed: &[usize]) -> Result<usize> {
    let pattern = Some((turn, Duration::from_millis(5)));
    let task = Hog::start(Kind {
        cpus: &[5],
        pattern,
        ..PLAIN
    })?;
    sleep(SECOND / 4);
    task.allow(allowed.iter().copied())?;
    sleep(SECOND / 4);
    let mut hits = 0;
    for _ in 0..LOOKS {
        sleep(Duration::from_millis(11));
        hits += usize::from(cpus.contains(&task.cpu()?));
    }
    Ok(hits)
}

/// CPU 2 has the highest priority: tasks with long bursts go there, one at a time.
fn cpu_priority() -> Result<()> {
    load(&[])?;
    let with_defaults = looks_on(2..3, LONG)?;
    ensure!(
        with_defaults < LOOKS / 4,
        "{with_defaults} of {LOOKS} looks on CPU 2 with the defaults"
    );
    in_both_orders("hook_cpu_priority", || {
        let status = replaces_the_default("hook_cpu_priority")?;
        ensure!(status["topology"]["nr_fast"] == 1, "{}", status["topology"]);
        let hits = looks_on(2..3, LONG)?;
        ensure!(hits > LOOKS / 2, "{hits} of {LOOKS} looks on CPU 2");
        Ok(())
    })
}

/// The override requests 300 for CPU 1 and reads back what the kernel has set. There is no
/// cpufreq governor in the VM, so the default requests nothing.
fn cpu_perf() -> Result<()> {
    let busy = || -> Result<Value> {
        let _hogs = Hog::start_many(8, Kind::default())?;
        sleep(SECOND);
        status()
    };
    load(&[])?;
    let status = busy()?;
    ensure!(hook(&status, "hook_cpu_perf", "calls")? > 100);
    ensure!(counter(&status, "cpuperf_set")? == 0);
    in_both_orders("hook_cpu_perf", || {
        let status = busy()?;
        replaces_the_default("hook_cpu_perf")?;
        let variables = &status["variables"];
        ensure!(variables["perf_target"] == 300, "{variables}");
        let util = variables["util_max"].as_u64();
        ensure!(
            util.is_some_and(|util| util > 900 && util <= 1024),
            "the utilization with hogs is {util:?}"
        );
        // Once, or twice if it idled before: an unchanged target is not set again.
        let sets = counter(&status, "cpuperf_set")?;
        ensure!((1..=2).contains(&sets), "set {sets} times");
        Ok(())
    })
}

/// Beside a realtime task of 60 % the utilization is what the override's tasks use. When they
/// are gone, the CPU's target falls, which a busy one's hook reads.
fn cpu_perf_of_ours() -> Result<()> {
    let on = |cpus: &'static [usize]| Kind {
        cpus,
        ..Kind::default()
    };
    in_both_orders("hook_cpu_perf", || {
        let reader = Hog::start(on(&[0]))?;
        let hog = Hog::start(on(&[1]))?;
        let realtime = Hog::start(Kind {
            realtime: true,
            pattern: Some((SECOND * 6 / 1000, SECOND * 4 / 1000)),
            ..on(&[1])
        })?;
        sleep(SECOND);
        let beside = status()?["variables"].clone();
        drop(realtime);
        sleep(SECOND);
        let alone = status()?["variables"].clone();
        drop(hog);
        sleep(SECOND);
        let idle = status()?["variables"].clone();
        println!("{beside} {alone} {idle}");
        let util = |of: &Value| of["util_now"].as_u64().context("no utilization");
        ensure!((250..600).contains(&util(&beside)?), "beside: {beside}");
        ensure!(util(&alone)? > 900, "alone: {alone}");
        ensure!(
            util(&idle)? == 0 && idle["perf_target"] == 1,
            "idle: {idle}"
        );
        drop(reader);
        Ok(())
    })
}

fn init() -> Result<()> {
    in_both_orders("hook_init", || {
        let status = replaces_the_default("hook_init")?;
        ensure!(hook(&status, "hook_init", "calls")? == 1);
        ensure!(
            status["variables"]["init_done"] == 8,
            "hook_init() does not see the topology: {}",
            status["variables"]
        );
        // Domains are SMT, LLC, package; CPU 7 is in another LLC.
        let variables = &status["variables"];
        ensure!(
            variables["nr_domains"].as_u64() > variables["distance"].as_u64()
                && variables["shared_at"] == variables["distance"]
                && variables["distance"].as_u64() >= Some(2)
                && variables["per_cpu"] == 11,
            "{variables}"
        );
        Ok(())
    })
}

fn exit() -> Result<()> {
    in_both_orders("hook_exit", || {
        end_with_sysrq()?;
        let status = replaces_the_default("hook_exit")?;
        ensure!(hook(&status, "hook_exit", "calls")? == 1);
        // SCX_EXIT_SYSRQ
        ensure!(status["exit"]["kind"] == 67, "{}", status["exit"]);
        Ok(())
    })
}

fn init_task() -> Result<()> {
    in_both_orders("hook_init_task", || {
        let before = hook(&status()?, "hook_init_task", "calls")?;
        drop(Hog::start_many(20, Kind::default())?);
        let status = replaces_the_default("hook_init_task")?;
        let asked = hook(&status, "hook_init_task", "calls")? - before;
        ensure!(asked >= 20, "called {asked} times for 20 forks");
        Ok(())
    })
}

fn cpu_online() -> Result<()> {
    in_both_orders("hook_cpu_online", || {
        off_and_on(5)?;
        replaces_the_default("hook_cpu_online").map(drop)
    })
}

fn cpu_offline() -> Result<()> {
    in_both_orders("hook_cpu_offline", || {
        off_and_on(5)?;
        replaces_the_default("hook_cpu_offline").map(drop)
    })
}

fn dump() -> Result<()> {
    in_both_orders("hook_dump", || {
        fs::write("/proc/sysrq-trigger", "D")?;
        sleep(SECOND / 2);
        replaces_the_default("hook_dump").map(drop)
    })
}

/// Favored tasks share their CPU in slices of 40 ms; others are queued by the default.
fn enqueue() -> Result<()> {
    in_both_orders("hook_enqueue", || {
        let favoured = [Hog::start(FAVOURED)?, Hog::start(FAVOURED)?];
        sleep(SECOND / 2);
        let shares = shares(&favoured, 2 * SECOND)?;
        println!("{shares:?}");
        let switches = favoured[0].preempted()? + favoured[1].preempted()?;
        ensure!(switches > 0 && switches < 200, "{switches} switches");
        let status = status()?;
        let (calls, dfl) = calls(&status, "hook_enqueue")?;
        let own = status["variables"]["enqueued"].as_u64().unwrap_or(0);
        ensure!(
            dfl > 0 && own > 0 && adds_up(calls, dfl + own),
            "{calls} calls, {dfl} defaults, {own} own"
        );
        Ok(())
    })
}

/// Equal within a fifth, as counters advance between reads.
fn adds_up(all: u64, parts: u64) -> bool {
    all.abs_diff(parts) < all / 5
}

/// The override keeps the running task at half of the dispatches, at random.
fn dispatch() -> Result<()> {
    in_both_orders("hook_dispatch", || {
        let hogs = [Hog::start(PLAIN)?, Hog::start(PLAIN)?];
        sleep(SECOND / 2);
        let shares = shares(&hogs, 2 * SECOND)?;
        println!("{shares:?}");
        ensure!(shares.iter().all(|share| *share > SECOND / 4), "{shares:?}");
        let status = status()?;
        let (calls, dfl) = calls(&status, "hook_dispatch")?;
        let kept = status["variables"]["kept"].as_u64().unwrap_or(0);
        ensure!(
            kept > 0 && adds_up(calls, dfl + kept),
            "{calls} calls, {dfl} defaults, {kept} kept"
        );
        Ok(())
    })
}

/// An override of hook_bypass alone cannot be bypassed; the suite `bypass` tests its calls.
fn bypass() -> Result<()> {
    in_both_orders("hook_bypass", || {
        let err = run_ok(SCX_PRELOAD, &["bypass", "on"]).err();
        let err = err
            .context("soft bypass began with only hook_bypass overridden")?
            .to_string();
        ensure!(err.contains("nothing to bypass"), "{err}");
        Ok(())
    })
}

/// Garbage from every hook is counted and replaced, and tasks keep running.
fn bad_results_are_bounded() -> Result<()> {
    load_override("bad_results", &["--set", "bypass_bad_per_s=0"])?;
    mixed_load(3 * SECOND)?;
    let hogs = Hog::start_many(8, Kind::default())?;
    sleep(SECOND / 2);
    let shares = shares(&hogs, 2 * SECOND)?;
    ensure!(
        shares.iter().all(|s| *s > SECOND / 2),
        "a task starves: {shares:?}"
    );
    let status = status()?;
    ensure!(status["ours"] == true, "{}", status["kernel"]);
    for name in [
        "pick_idle_cpu",
        "task_queue",
        "task_slice",
        "task_vtime",
        "task_charge",
        "steal_llc",
        "balance_llc",
        "cpu_capacity",
        "cpu_priority",
        "cpu_perf",
        "init_task",
    ] {
        let name = format!("hook_{name}");
        let (calls, bad) = (hook(&status, &name, "calls")?, hook(&status, &name, "bad")?);
        ensure!(bad > 0 && bad <= calls, "{name}: {bad} bad of {calls}");
    }
    unload()
}

/// Share of the samples in which a sleeper whose CPU was taken is still on its core.
pub fn share_on_core() -> Result<f64> {
    let pattern = Some((Duration::from_millis(1), Duration::from_millis(4)));
    let sleeper = Hog::start(Kind {
        pattern,
        ..Kind::default()
    })?;
    let mut on_core = 0;
    const SAMPLES: usize = 20;
    for _ in 0..SAMPLES {
        let cpu = sleeper.cpu()?;
        // Occupy its CPU, let it wake up a few times, check where it went.
        let _hog = Hog::start(Kind {
            cpus: ONLY[cpu],
            ..Kind::default()
        })?;
        sleep(Duration::from_millis(60));
        on_core += usize::from(sleeper.cpu()? / 2 == cpu / 2);
    }
    Ok(on_core as f64 / SAMPLES as f64)
}

/// The example: a task whose CPU is taken goes to the sibling, not to an idle core as with the
/// defaults.
fn stay_on_core() -> Result<()> {
    load(&[])?;
    let with_defaults = share_on_core()?;
    load_override("stay_on_core", &[])?;
    let with_override = share_on_core()?;
    println!("on its core: {with_defaults} with the defaults, {with_override} with the override");
    ensure!(
        with_defaults < 0.3 && with_override > with_defaults + 0.3,
        "{with_defaults} and {with_override}"
    );
    unload()
}
