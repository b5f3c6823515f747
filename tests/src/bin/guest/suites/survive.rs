// SPDX-License-Identifier: GPL-2.0-only
//! What happens to a machine and to programs on it: ours stays or comes back, or
//! nothing of it is left.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Test;
use crate::hog::{Hog, Kind, shares};
use crate::other::{self, Other};
use crate::preload::{
    LOADED, disabled_and_unpinned, is_ours, load, object, refused, status, udev, udev_resumes,
    unload, unload_any,
};
use crate::storm::{self, Counter};
use crate::sys::{
    BYPASS_LB_INTERVAL, SCX_PRELOAD, bpf_objects, end_with_sysrq, memory, nothing_left, read,
    run_ok, set_online, wait_for,
};
use crate::tests;

pub const TESTS: &[Test] = tests![
    killed_while_it_loads,
    killed_while_it_replaces,
    killed_when_a_person_wants_it_back,
    storms_while_cpus_come_and_go,
    loads_when_memory_is_short,
    loads_all_or_nothing_in_little_memory,
    sleeps_and_wakes,
    bpffs_unmounted,
    bpffs_read_only,
    disk_full_or_read_only,
];

/// For a boot with `lockdown=integrity`.
pub const LOCKDOWN: &[Test] = tests![is_locked_down_and_loads];

const LIMIT: Duration = Duration::from_secs(20);
const BPFFS: &str = "/sys/fs/bpf";

/// What there is when nothing is loaded; the first load has mounted what it wants.
fn clean() -> Result<[usize; 3]> {
    load(&[])?;
    unload()?;
    let mut last = bpf_objects();
    wait_for(LIMIT, || {
        sleep(Duration::from_millis(200));
        let before = std::mem::replace(&mut last, bpf_objects());
        ensure!(before == last, "{before:?}, {last:?}");
        Ok(())
    })?;
    Ok(last)
}

/// A system call that has changed something, if only in the process.
#[derive(Clone)]
struct Call {
    name: &'static str,
    /// Does something outside of the process stay as it left it?
    lasts: bool,
}

impl Call {
    fn of(pid: Pid, nr: u64, args: &[u64; 6]) -> Option<Self> {
        let (name, lasts) = match nr as i64 {
            libc::SYS_bpf => match args[0] {
                6 => ("bpf: pin", true),
                17 | 28 => ("bpf: link", true),
                34 => ("bpf: detach", true),
                0 => ("bpf: map", false),
                5 => ("bpf: program", false),
                _ => ("bpf", false),
            },
            libc::SYS_mkdir | libc::SYS_mkdirat => ("mkdir", true),
            libc::SYS_rename | libc::SYS_renameat | libc::SYS_renameat2 => ("rename", true),
            libc::SYS_unlink | libc::SYS_unlinkat | libc::SYS_rmdir => ("unlink", true),
            libc::SYS_flock => ("flock", true),
            libc::SYS_mount => ("mount", true),
            libc::SYS_prlimit64 if args[2] != 0 => ("rlimit", true),
            libc::SYS_write if args[0] > 2 => ("write", true),
            libc::SYS_openat => {
                let mut path = [0; 11];
                let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
                memory.read_exact_at(&mut path, args[1]).ok()?;
                (path == *BPFFS.as_bytes()).then_some(("open", true))?
            }
            _ => return None,
        };
        Some(Self { name, lasts })
    }
}

/// Runs `scx_preload load` and kills it as it leaves the call of this number of those that
/// matter. Returns these calls.
fn killed(args: &[&str], at: usize) -> Result<Vec<Call>> {
    let mut command = Command::new(SCX_PRELOAD);
    command.arg("load").args(args).stderr(Stdio::null());
    // SAFETY: one system call, no memory of the parent's.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(io::Error::from)) };
    let pid = Pid::from_raw(command.spawn()?.id() as i32);
    ensure!(matches!(
        waitpid(pid, None)?,
        WaitStatus::Stopped(_, Signal::SIGTRAP)
    ));
    ptrace::setoptions(
        pid,
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL,
    )?;
    let mut calls = Vec::new();
    let mut inside = None;
    let mut signal = None;
    loop {
        ptrace::syscall(pid, signal.take())?;
        match waitpid(pid, None)? {
            WaitStatus::PtraceSyscall(_) => {}
            WaitStatus::Stopped(_, other) => {
                signal = Some(other);
                continue;
            }
            WaitStatus::Exited(_, 0) => return Ok(calls),
            ended => bail!("`load` ended: {ended:?}"),
        }
        let info = ptrace::syscall_info(pid)?;
        if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
            // SAFETY: at an entry it is this that the kernel has filled in.
            let entry = unsafe { info.u.entry };
            inside = Call::of(pid, entry.nr, &entry.args);
            continue;
        }
        // SAFETY: as before, and it leaves now.
        let failed = unsafe { info.u.exit.is_error } != 0;
        calls.extend(inside.take().filter(|_| !failed));
        if calls.len() > at {
            kill(pid, Signal::SIGKILL)?;
            let ended = waitpid(pid, None)?;
            ensure!(
                matches!(ended, WaitStatus::Signaled(_, Signal::SIGKILL, _)),
                "{ended:?}"
            );
            return Ok(calls);
        }
    }
}

/// What a load calls, in a first run to its end.
fn calls(args: &[&str]) -> Result<Vec<Call>> {
    let calls = killed(args, usize::MAX)?;
    let mut counts = BTreeMap::new();
    for call in &calls {
        *counts.entry(call.name).or_insert(0) += 1;
    }
    println!("{counts:?}");
    Ok(calls)
}

/// Where it attaches, the last pin before all of them appear, their appearance, what
/// comes next, and the pin of the link, after which only the past is forgotten.
fn decisive(calls: &[Call]) -> Result<Vec<usize>> {
    let last = |name: &str| {
        let found = calls.iter().rposition(|call| call.name == name);
        found.with_context(|| format!("it makes no call {name:?}"))
    };
    let (attach, appear, link) = (last("bpf: link")?, last("rename")?, last("bpf: pin")?);
    let mut all = vec![attach, appear - 1, appear, appear + 1, link];
    all.dedup();
    Ok(all)
}

/// These, every second one of the others that leave something, and a few of the rest.
fn moments(calls: &[Call]) -> Result<Vec<usize>> {
    const REST: usize = 3;
    let all = |lasts: bool| (0..calls.len()).filter(move |n| calls[*n].lasts == lasts);
    let step = all(false).count().div_ceil(REST).max(1);
    let mut moments = decisive(calls)?;
    moments.extend(all(true).step_by(2));
    moments.extend(all(false).step_by(step));
    moments.sort();
    moments.dedup();
    Ok(moments)
}

/// None on a kernel that has none.
fn read_interval() -> Result<Option<String>> {
    fs::exists(BYPASS_LB_INTERVAL)?
        .then(|| read(BYPASS_LB_INTERVAL))
        .transpose()
}

/// Afterwards all of it is there and runs, or nothing of it is left.
fn killed_while_it_loads() -> Result<()> {
    let before = clean()?;
    let interval = read_interval()?;
    let calls = calls(&[])?;
    unload()?;
    let (mut ran, mut gone) = (0, 0);
    for (n, at) in moments(&calls)?.into_iter().enumerate() {
        let context = || format!("killed after call {at}, {}", calls[at].name);
        killed(&[], at).with_context(context)?;
        udev().with_context(context)?;
        if fs::exists(LOADED)? {
            ran += 1;
            is_ours().with_context(context)?;
            ensure!(status()?["ours"] == true);
        } else {
            gone += 1;
            other::disabled().with_context(context)?;
            disabled_and_unpinned()?;
            ensure!(
                interval == read_interval()?,
                "{}: {:?}",
                context(),
                read_interval()?
            );
            if n % 8 == 0 {
                load(&[]).with_context(context)?;
                is_ours()?;
            }
        }
        unload_any().with_context(context)?;
        nothing_left(before).with_context(context)?;
    }
    println!("{ran} times it ran, {gone} times nothing was left");
    ensure!(ran > 0 && gone > 0);
    load(&[])?;
    is_ours()?;
    unload()
}

/// What stood by before or what was to replace it, and never neither.
fn killed_while_it_replaces() -> Result<()> {
    const OLD: u64 = 3_000_000;
    const NEW: u64 = 4_000_000;
    let before = clean()?;
    let stand_by = || load(&["--standby", "--set", &format!("slice_ns={OLD}")]);
    let new = format!("slice_ns={NEW}");
    let args = ["--set", new.as_str()];
    stand_by()?;
    let calls = calls(&args)?;
    let (mut old, mut replaced) = (0, 0);
    for at in decisive(&calls)? {
        let context = || format!("killed after call {at}, {}", calls[at].name);
        stand_by()?;
        killed(&args, at).with_context(context)?;
        udev_resumes().with_context(context)?;
        match status()?["settings"]["slice_ns"].as_u64() {
            Some(OLD) => old += 1,
            Some(NEW) => replaced += 1,
            slice => bail!("{}: slice_ns is {slice:?}", context()),
        }
        unload().with_context(context)?;
        nothing_left(before).with_context(context)?;
    }
    println!("{old} times the old one, {replaced} times the new one");
    ensure!(old > 0 && replaced > 0);
    Ok(())
}

/// Once the new one is there, nothing of before keeps it out.
fn killed_when_a_person_wants_it_back() -> Result<()> {
    let out = || -> Result<()> {
        end_with_sysrq()?;
        udev()?;
        other::disabled()?;
        ensure!(!status()?["stands_by"].is_null());
        Ok(())
    };
    load(&[])?;
    out()?;
    let calls = calls(&[])?;
    out()?;
    let renamed = calls.iter().rposition(|call| call.name == "rename");
    killed(&[], renamed.context("nothing is renamed")?)?;
    udev_resumes()?;
    unload()
}

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

/// The kernel has to take it from another process.
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
            // What is not used would be no pressure.
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

/// A load that may use so much and no more.
fn loads_all_or_nothing_in_little_memory() -> Result<()> {
    const GROUP: &str = "/sys/fs/cgroup/little";
    let before = clean()?;
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory")?;
    fs::create_dir(GROUP)?;
    let mut loaded = 0;
    for mib in [1, 3, 5, 8, 64] {
        fs::write(format!("{GROUP}/memory.max"), (mib << 20).to_string())?;
        let mut command = Command::new(SCX_PRELOAD);
        command.arg("load");
        // SAFETY: the child has one thread and a copy of our memory.
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

/// As far as the kernel can without the machine's help: it undoes what it has done for
/// sleep at the level that is asked for.
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
    // Without the firmware's help there is less to undo.
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

/// The pins are gone, and with them what they held.
fn bpffs_unmounted() -> Result<()> {
    let before = clean()?;
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
    let before = clean()?;
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

/// What was there stays, nothing half done is left, and what is there loads.
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

    ensure!(fs::read(FILE)? == before, "it has changed");
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
