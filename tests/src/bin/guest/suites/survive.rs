// SPDX-License-Identifier: GPL-2.0-only
//! System events, such as suspend, memory pressure or a full disk: our scheduler stays attached
//! or is reattached, or nothing of it is left.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::Test;
use crate::hog::{Hog, Kind, ONLY, shares};
use crate::other::{self, Other};
use crate::preload::{
    disabled_and_unpinned, is_ours, load, object, objects_when_unloaded, refused, udev,
    udev_resumes, unload, unload_any,
};
use crate::storm::{self, Counter};
use crate::sys::{BPFFS, SCX_PRELOAD, memory, nothing_left, read, run_ok, set_online, wait_for};
use crate::tests;

/// For a boot whose CPUs run in parallel.
pub const RACES: &[Test] = tests![storms_while_cpus_come_and_go];

pub const TESTS: &[Test] = tests![
    loads_when_memory_is_short,
    loads_all_or_nothing_in_little_memory,
    sleeps_and_wakes,
    bpffs_unmounted,
    bpffs_read_only,
    disk_full_or_read_only,
    realtime_hogs,
];

/// For a boot with `lockdown=integrity`.
pub const LOCKDOWN: &[Test] = tests![is_locked_down_and_loads];

const LIMIT: Duration = Duration::from_secs(20);

fn storms_while_cpus_come_and_go() -> Result<()> {
    load(&[])?;
    let hogs = Hog::start_many(6, Kind::default())?;
    let counters = [Counter::new()?, Counter::new()?, Counter::new()?];
    let pids = hogs.iter().map(Hog::pid).collect();
    let _storms = [
        storm::forks(counters[0])?,
        storm::cgroups(counters[1])?,
        storm::affinities(pids, 8, counters[2])?,
    ];
    for online in [false, true, false, true] {
        let before = counters.map(Counter::get);
        set_online(1..8, online)?;
        wait_for(LIMIT, || {
            let now = counters.map(Counter::get);
            let stuck = now.iter().zip(before).any(|(now, then)| *now < then + 3);
            ensure!(
                !stuck,
                "forks, cgroups, affinities: {before:?}, now {now:?}"
            );
            Ok(())
        })?;
        is_ours()?;
    }
    println!(
        "{:?} forks, cgroups, affinities",
        counters.map(Counter::get)
    );
    wait_for(LIMIT, || {
        let shares = shares(&hogs, Duration::from_secs(1))?;
        ensure!(shares.iter().all(|s| !s.is_zero()), "{shares:?}");
        Ok(())
    })?;
    is_ours()
}

/// The kernel has to reclaim memory from another process.
fn loads_when_memory_is_short() -> Result<()> {
    const LEFT: u64 = 8 << 20;
    unload_any()?;
    let full = Counter::new()?;
    let eater = Hog::run(move || {
        fs::write("/proc/self/oom_score_adj", "1000")?;
        let mut all = Vec::new();
        while memory("MemAvailable")? * 1024 > LEFT {
            all.push(vec![1_u8; 1 << 20]);
        }
        full.add();
        loop {
            // Unused memory would cause no pressure.
            all.iter_mut().for_each(|part| part[0] += 1);
            sleep(Duration::from_millis(10));
        }
    })?;
    wait_for(2 * LIMIT, || {
        ensure!(full.get() == 1, "{} kB left", memory("MemAvailable")?);
        Ok(())
    })?;
    println!("{} kB are left", memory("MemFree")?);
    load(&[])?;
    is_ours()?;
    let other = Other::fixture()?;
    other.stop()?;
    udev_resumes()?;
    drop(eater);
    is_ours()
}

/// Loads in a cgroup with a memory limit.
fn loads_all_or_nothing_in_little_memory() -> Result<()> {
    const GROUP: &str = "/sys/fs/cgroup/little";
    let before = objects_when_unloaded()?;
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory")?;
    fs::create_dir(GROUP)?;
    let mut loaded = 0;
    for mib in [1, 3, 5, 8, 64] {
        fs::write(format!("{GROUP}/memory.max"), (mib << 20).to_string())?;
        let mut command = Command::new(SCX_PRELOAD);
        command.arg("load");
        // SAFETY: the child has one thread and a copy of the parent's memory.
        unsafe {
            command.pre_exec(|| fs::write("/sys/fs/cgroup/little/cgroup.procs", "0"));
        }
        let ended = command.output()?;
        println!(
            "{mib} MiB: {}: {}",
            ended.status,
            String::from_utf8_lossy(&ended.stderr)
                .lines()
                .next()
                .unwrap_or("")
        );
        if ended.status.success() {
            loaded += 1;
            is_ours()?;
            unload()?;
        } else {
            udev()?;
            other::disabled()?;
            disabled_and_unpinned()?;
        }
        nothing_left(before).with_context(|| format!("{mib} MiB"))?;
    }
    fs::remove_dir(GROUP)?;
    ensure!((1..5).contains(&loaded), "{loaded} of 5 loads succeeded");
    Ok(())
}

/// Suspends as far as the kernel can in a VM: with pm_test, it stops at each level and
/// resumes.
fn sleeps_and_wakes() -> Result<()> {
    const LEVEL: &str = "/sys/power/pm_test";
    const DELAY: &str = "/sys/module/suspend/parameters/pm_test_delay";
    if !fs::exists(LEVEL)? {
        println!("this kernel has no {LEVEL}");
        return Ok(());
    }
    load(&[])?;
    let states = read("/sys/power/state")?;
    let state = if states.contains("mem") {
        "mem"
    } else {
        "freeze"
    };
    fs::write(DELAY, "1").context(DELAY)?;
    // Suspend to idle has fewer levels.
    let mut levels = vec!["freezer", "devices", "platform"];
    if fs::write("/sys/power/mem_sleep", "deep").is_ok() {
        levels.extend(["processors", "core"]);
    }
    let hogs = Hog::start_many(12, Kind::default())?;
    for level in levels {
        fs::write(LEVEL, level).context(level)?;
        let start = Instant::now();
        let slept = fs::write("/sys/power/state", state);
        println!("{state}, {level}: {slept:?} after {:?}", start.elapsed());
        slept.context(level)?;
        is_ours().context(level)?;
        let shares = shares(&hogs, Duration::from_secs(1))?;
        ensure!(
            shares.iter().all(|share| !share.is_zero()),
            "{level}: {shares:?}"
        );
    }
    fs::write(LEVEL, "none")?;
    Ok(())
}

/// Without its pins, the scheduler ends.
fn bpffs_unmounted() -> Result<()> {
    let before = objects_when_unloaded()?;
    for _ in 0..2 {
        load(&[])?;
        umount2(BPFFS, MntFlags::MNT_DETACH)?;
        other::disabled()?;
        udev()?;
        nothing_left(before)?;
        refused(&["unload"], 1, &["not loaded"])?;
        load(&[])?;
        is_ours()?;
        unload()?;
    }
    Ok(())
}

fn remount(flags: MsFlags) -> Result<()> {
    let none = None::<&str>;
    mount(none, BPFFS, none, MsFlags::MS_REMOUNT | flags, none).context("cannot remount bpffs")
}

fn bpffs_read_only() -> Result<()> {
    let before = objects_when_unloaded()?;
    for dir_is_there in [true, false] {
        if !dir_is_there {
            fs::remove_dir("/sys/fs/bpf/scx_preload")?;
        }
        remount(MsFlags::MS_RDONLY)?;
        refused(&["load"], 1, &["cannot create", "scx_preload", "Read-only"])?;
        other::disabled()?;
        disabled_and_unpinned()?;
        nothing_left(before)?;
        remount(MsFlags::empty())?;
    }
    load(&[])?;
    remount(MsFlags::MS_RDONLY)?;
    // The pins cannot even be opened.
    refused(&["unload"], 1, &["scx_preload/loaded", "Read-only"])?;
    is_ours()?;
    remount(MsFlags::empty())?;
    unload()?;
    nothing_left(before)?;
    load(&[])?;
    is_ours()?;
    unload()
}

/// A failed write changes no file and leaves no partial one, and the old object loads.
fn disk_full_or_read_only() -> Result<()> {
    const DISK: &str = "/run/disk";
    const FILE: &str = "/run/disk/scheduler.bpf.o";
    fs::create_dir_all(DISK)?;
    let size = 3 * fs::metadata(object("own_queue"))?.len() + 1_000_000;
    let options = format!("size={size}");
    let mount = |flags, options: &str| {
        mount(Some("disk"), DISK, Some("tmpfs"), flags, Some(options)).context("cannot mount")
    };
    mount(MsFlags::empty(), &options)?;
    run_ok(SCX_PRELOAD, &["link", "-o", FILE])?;
    let before = fs::read(FILE)?;

    let mut filler = File::create("/run/disk/filler")?;
    while filler.write(&[0; 4096]).is_ok() {}
    let new = object("own_queue");
    refused(&["link", "-o", FILE, &new], 1, &[FILE, "No space left"])?;
    refused(
        &["new", "mine", "-o", "/run/disk/mine.bpf.c"],
        1,
        &["mine.bpf.c", "No space left"],
    )?;
    drop(filler);
    mount(MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, &options)?;
    refused(&["link", "-o", FILE, &new], 1, &[FILE, "Read-only"])?;

    ensure!(fs::read(FILE)? == before, "the object has changed");
    let mut names: Vec<_> = fs::read_dir(DISK)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<_>>()?;
    names.sort();
    ensure!(names == ["filler", "scheduler.bpf.o"], "{names:?}");
    load(&["--object", FILE])?;
    is_ours()?;
    unload()?;
    umount2(DISK, MntFlags::empty())?;
    Ok(())
}

fn is_locked_down_and_loads() -> Result<()> {
    const DIR: &str = "/sys/kernel/security";
    mount(
        Some("securityfs"),
        DIR,
        Some("securityfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .context("cannot mount securityfs")?;
    let lockdown = read(format!("{DIR}/lockdown"))?;
    umount2(DIR, MntFlags::empty())?;
    ensure!(lockdown.contains("[integrity]"), "{lockdown}");
    load(&[])?;
    is_ours()?;
    Other::fixture()?.stop()?;
    udev_resumes()?;
    unload()?;
    disabled_and_unpinned()
}

/// FIFO tasks that never sleep on half of the CPUs, for longer than the scheduler's time-out:
/// tasks bound to these CPUs get what the kernel's deadline server reserves, the others share
/// the rest evenly, whether they sleep or not.
fn realtime_hogs() -> Result<()> {
    const RESERVED: f64 = 0.05;
    const WINDOW: Duration = Duration::from_secs(12);
    load(&[])?;
    let on_half = |kind: Kind| {
        let hogs = ONLY[..4]
            .iter()
            .map(|cpus| Hog::start(Kind { cpus, ..kind }));
        hogs.collect::<Result<Vec<_>>>()
    };
    let half = Some((Duration::from_millis(5), Duration::from_millis(5)));
    let sleeper = Kind {
        pattern: half,
        ..Kind::default()
    };
    let mut hogs = on_half(Kind::default())?;
    hogs.extend(Hog::start_many(8, Kind::default())?);
    hogs.extend(Hog::start_many(4, sleeper)?);
    let _realtime = on_half(Kind {
        realtime: true,
        ..Kind::default()
    })?;
    // The kernel's default last, for the tests that follow.
    for throttling in ["-1", "950000"] {
        fs::write("/proc/sys/kernel/sched_rt_runtime_us", throttling)
            .context("cannot set the throttling of RT")?;
        sleep(Duration::from_secs(1));
        let times = shares(&hogs, WINDOW)?;
        println!("{throttling}: {times:.2?}");
        let (bound, others) = times.split_at(4);
        let part = |time: &Duration| time.div_duration_f64(WINDOW);
        ensure!(bound.iter().all(|time| part(time) > RESERVED * 0.8));
        let fair = 4.0 / others.len() as f64;
        ensure!(
            others
                .iter()
                .all(|time| (0.95..1.05).contains(&(part(time) / fair)))
        );
        is_ours()?;
    }
    Ok(())
}
