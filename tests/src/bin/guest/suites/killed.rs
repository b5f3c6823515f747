// SPDX-License-Identifier: GPL-2.0-only
//! `load`, killed after each system call that changes something: afterwards the scheduler is
//! complete, or nothing is left, or the previous one is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Test;
use crate::other;
use crate::preload::{
    LOADED, disabled_and_unpinned, is_ours, load, objects_when_unloaded, status, udev,
    udev_resumes, unload, unload_any,
};
use crate::sys::{BPFFS, BYPASS_LB_INTERVAL, SCX_PRELOAD, end_with_sysrq, nothing_left, read};

/// The lasting calls of a load and of a replacement, and some others of a load, split to stay
/// within the time limit of a test.
pub const TESTS: &[Test] = &[
    test("while_it_loads_1_of_2", |_| while_it_loads(0, 2)),
    test("while_it_loads_2_of_2", |_| while_it_loads(1, 2)),
    test("while_it_replaces_1_of_2", |_| while_it_replaces(0, 2)),
    test("while_it_replaces_2_of_2", |_| while_it_replaces(1, 2)),
    test("when_a_person_wants_it_back", |_| {
        when_a_person_wants_it_back()
    }),
];

const fn test(name: &'static str, run: fn(&str) -> Result<()>) -> Test {
    Test { name, run }
}

/// A system call that has changed something, if only in the process.
struct Call {
    name: &'static str,
    /// Whether its effect outlasts the process.
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

    fn killed(&self, at: usize) -> String {
        format!("killed after call {at}, {}", self.name)
    }
}

/// Runs `scx_preload load` and kills it at the exit of relevant call number `at`. Returns the
/// relevant calls.
fn killed(args: &[&str], at: usize) -> Result<Vec<Call>> {
    let mut command = Command::new(SCX_PRELOAD);
    command.arg("load").args(args).stderr(Stdio::null());
    // SAFETY: a single system call, without access to the parent's memory.
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
            // SAFETY: at a syscall entry the kernel fills in this member.
            let entry = unsafe { info.u.entry };
            inside = Call::of(pid, entry.nr, &entry.args);
            continue;
        }
        // SAFETY: at a syscall exit the kernel fills in this member.
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

/// The relevant calls of a complete load.
fn calls(args: &[&str]) -> Result<Vec<Call>> {
    let calls = killed(args, usize::MAX)?;
    let mut counts = BTreeMap::new();
    for call in &calls {
        *counts.entry(call.name).or_insert(0) += 1;
    }
    println!("{counts:?}");
    Ok(calls)
}

/// `None` on a kernel without the parameter.
fn read_interval() -> Result<Option<String>> {
    fs::exists(BYPASS_LB_INTERVAL)?
        .then(|| read(BYPASS_LB_INTERVAL))
        .transpose()
}

/// Of the calls whose effect ends with the process, how many follow each one that is tested.
const SKIPPED: usize = 3;

/// Afterwards the scheduler is complete and enabled, or nothing is left.
fn while_it_loads(part: usize, parts: usize) -> Result<()> {
    let before = objects_when_unloaded()?;
    let interval = read_interval()?;
    let calls = calls(&[])?;
    unload()?;
    let (mut ran, mut gone) = (0, 0);
    let mut one = |at| -> Result<()> {
        killed(&[], at)?;
        udev()?;
        if fs::exists(LOADED)? {
            ran += 1;
            is_ours()?;
            ensure!(status()?["ours"] == true);
        } else {
            gone += 1;
            other::disabled()?;
            disabled_and_unpinned()?;
            let now = read_interval()?;
            ensure!(
                interval == now,
                "the balancing interval of kernel bypass is {now:?}"
            );
            if gone % 8 == 0 {
                load(&[])?;
                is_ours()?;
            }
        }
        unload_any()?;
        nothing_left(before)
    };
    let due = |(at, call): &(usize, &Call)| call.lasts || at % (SKIPPED + 1) == 0;
    let due = calls.iter().enumerate().filter(due);
    for (at, call) in due.skip(part).step_by(parts) {
        one(at).with_context(|| call.killed(at))?;
    }
    println!("{ran} times loaded, {gone} times nothing left");
    ensure!(ran > 0 && gone > 0);
    load(&[])?;
    is_ours()?;
    unload()
}

/// Either the scheduler on standby or its replacement is there, never neither.
fn while_it_replaces(part: usize, parts: usize) -> Result<()> {
    const OLD: u64 = 3_000_000;
    const NEW: u64 = 4_000_000;
    let before = objects_when_unloaded()?;
    let stand_by = || load(&["--standby", "--set", &format!("slice_ns={OLD}")]);
    let new = format!("slice_ns={NEW}");
    let args = ["--set", new.as_str()];
    stand_by()?;
    let calls = calls(&args)?;
    let (mut old, mut replaced) = (0, 0);
    let mut one = |at| -> Result<()> {
        stand_by()?;
        killed(&args, at)?;
        udev_resumes()?;
        match status()?["settings"]["slice_ns"].as_u64() {
            Some(OLD) => old += 1,
            Some(NEW) => replaced += 1,
            slice => bail!("slice_ns is {slice:?}"),
        }
        unload()?;
        nothing_left(before)
    };
    let lasting = calls.iter().enumerate().filter(|(_, call)| call.lasts);
    for (at, call) in lasting.skip(part).step_by(parts) {
        one(at).with_context(|| call.killed(at))?;
    }
    println!("{old} times the old scheduler, {replaced} times the new one");
    ensure!(old > 0 && replaced > 0);
    Ok(())
}

/// Once the new scheduler is pinned, an earlier sysrq-S does not keep it detached.
fn when_a_person_wants_it_back() -> Result<()> {
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
    killed(&[], renamed.context("load does not call rename()")?)?;
    udev_resumes()?;
    unload()
}
