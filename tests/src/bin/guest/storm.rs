// SPDX-License-Identifier: GPL-2.0-only
//! Forks, cgroup changes and affinity changes at full speed.

use std::fs;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};

use crate::hog::{Hog, Kind, allow, work};
use crate::sys::{CGROUPS, set_cgroup as set};

/// A counter in memory shared with children that are forked later.
#[derive(Clone, Copy)]
pub struct Counter(&'static AtomicU64);

impl Counter {
    pub fn new() -> Result<Self> {
        // SAFETY: a new mapping, page-aligned, zeroed and never unmapped.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<AtomicU64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        ensure!(page != libc::MAP_FAILED, "cannot map shared memory");
        // SAFETY: as above, and an atomic may be shared.
        Ok(Self(unsafe { &*page.cast::<AtomicU64>() }))
    }

    pub fn get(self) -> u64 {
        self.0.load(Relaxed)
    }

    pub fn add(self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Forks short-lived processes, several at a time.
pub fn forks(count: Counter) -> Result<Hog> {
    const AT_ONCE: usize = 8;
    Hog::run(move || {
        loop {
            let mut children = Vec::new();
            for _ in 0..AT_ONCE {
                // SAFETY: there is one thread, so the child may run any code.
                match unsafe { fork() }? {
                    ForkResult::Parent { child } => children.push(child),
                    ForkResult::Child => {
                        work(20);
                        // SAFETY: exits at once, without flushing the parent's buffers.
                        unsafe { libc::_exit(0) }
                    }
                }
            }
            for child in children {
                waitpid(child, None)?;
                count.add();
            }
        }
    })
}

/// Creates cgroups with a hog in each, changes their CPUs and weights, and removes them.
pub fn cgroups(count: Counter) -> Result<Hog> {
    const GROUPS: [&str; 3] = [
        "/sys/fs/cgroup/storm_a",
        "/sys/fs/cgroup/storm_b",
        "/sys/fs/cgroup/storm_c",
    ];
    set(CGROUPS, "cgroup.subtree_control", "+cpu +cpuset")?;
    for group in GROUPS {
        // Left over from a storm that was killed.
        if fs::exists(group)? {
            fs::remove_dir(group).with_context(|| format!("cannot remove {group}"))?;
        }
    }
    Hog::run(move || {
        loop {
            let mut hogs = Vec::new();
            for group in GROUPS {
                fs::create_dir(group).with_context(|| format!("cannot create {group}"))?;
                let hog = Hog::start(Kind::default())?;
                set(group, "cgroup.procs", hog.pid())?;
                hogs.push(hog);
            }
            for (weight, cpus) in [("10", "0-3"), ("1000", "0"), ("100", "2-7"), ("1", "")] {
                for group in GROUPS {
                    set(group, "cpu.weight", weight)?;
                    // Empty: inherits the parent's.
                    let cpus = if cpus.is_empty() { "\n" } else { cpus };
                    set(group, "cpuset.cpus", cpus)?;
                }
                sleep(Duration::from_millis(5));
            }
            for (hog, group) in hogs.into_iter().zip(GROUPS) {
                set(CGROUPS, "cgroup.procs", hog.pid())?;
                fs::remove_dir(group).with_context(|| format!("cannot remove {group}"))?;
                count.add();
            }
        }
    })
}

/// Changes the allowed CPUs of these tasks continuously; each always has one online.
pub fn affinities(pids: Vec<Pid>, cpus: usize, count: Counter) -> Result<Hog> {
    Hog::run(move || {
        for n in 0.. {
            let pid = pids[n % pids.len()];
            let first = n / pids.len() % cpus;
            // CPU 0 is always online; a mask without an online CPU is an error.
            allow(pid, [0, first, (first + 3) % cpus])?;
            count.add();
            if n % 16 == 0 {
                sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    })
}
