// SPDX-License-Identifier: GPL-2.0-only
//! Tasks that come, go, and are moved about as fast as they can be.

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

/// A number that we share with the processes that we start from now on.
#[derive(Clone, Copy)]
pub struct Counter(&'static AtomicU64);

impl Counter {
    pub fn new() -> Result<Self> {
        // SAFETY: a new mapping, aligned to a page, full of 0 and never unmapped.
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
        ensure!(page != libc::MAP_FAILED, "no memory to share");
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

/// Processes that begin, work a little, and end, some at a time.
pub fn forks(count: Counter) -> Result<Hog> {
    const AT_ONCE: usize = 8;
    Hog::run(move || {
        loop {
            let mut children = Vec::new();
            for _ in 0..AT_ONCE {
                // SAFETY: we have one thread, so the child may go on like the parent.
                match unsafe { fork() }? {
                    ForkResult::Parent { child } => children.push(child),
                    ForkResult::Child => {
                        work(20);
                        // SAFETY: it ends at once, and flushes nothing twice.
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

/// Cgroups that are made, with a hog in each, given CPUs and weights, left and removed.
pub fn cgroups(count: Counter) -> Result<Hog> {
    const GROUPS: [&str; 3] = [
        "/sys/fs/cgroup/storm_a",
        "/sys/fs/cgroup/storm_b",
        "/sys/fs/cgroup/storm_c",
    ];
    set(CGROUPS, "cgroup.subtree_control", "+cpu +cpuset")?;
    for group in GROUPS {
        // Of a storm that was ended.
        if fs::exists(group)? {
            fs::remove_dir(group).with_context(|| format!("cannot remove {group}"))?;
        }
    }
    Hog::run(move || {
        loop {
            let mut hogs = Vec::new();
            for group in GROUPS {
                fs::create_dir(group).with_context(|| format!("cannot make {group}"))?;
                let hog = Hog::start(Kind::default())?;
                set(group, "cgroup.procs", hog.pid())?;
                hogs.push(hog);
            }
            for (weight, cpus) in [("10", "0-3"), ("1000", "0"), ("100", "2-7"), ("1", "")] {
                for group in GROUPS {
                    set(group, "cpu.weight", weight)?;
                    // With nothing written it is as in the parent.
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

/// The allowed CPUs of these tasks change all the time; each may run somewhere.
pub fn affinities(pids: Vec<Pid>, cpus: usize, count: Counter) -> Result<Hog> {
    Hog::run(move || {
        for n in 0.. {
            let pid = pids[n % pids.len()];
            let first = n / pids.len() % cpus;
            // CPU 0 is never off line, and without a CPU on line there is an error.
            allow(pid, [0, first, (first + 3) % cpus])?;
            count.add();
            if n % 16 == 0 {
                sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    })
}
