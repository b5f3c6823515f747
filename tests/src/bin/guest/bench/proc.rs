// SPDX-License-Identifier: GPL-2.0-only
//! Worker processes of a workload.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// A child process that runs one function and exits.
pub struct Worker(Pid);

impl Worker {
    pub fn start(body: impl FnOnce() -> Result<()>) -> Result<Self> {
        // SAFETY: a workload has one thread, so the child may run any code.
        match unsafe { fork() }.context("cannot fork")? {
            ForkResult::Parent { child } => Ok(Self(child)),
            ForkResult::Child => {
                let done = body();
                if let Err(err) = &done {
                    eprintln!("worker: {err:#}");
                }
                exit(done.is_err().into());
            }
        }
    }

    /// Waits until it exits; fails if it failed.
    pub fn finish(self) -> Result<()> {
        let status = waitpid(self.0, None).context("cannot wait for a worker")?;
        ensure!(
            matches!(status, WaitStatus::Exited(_, 0)),
            "a worker failed: {status:?}"
        );
        Ok(())
    }
}

/// Exits without running the parent's exit handlers.
pub fn exit(code: i32) -> ! {
    // SAFETY: it does not return, and accesses no memory.
    unsafe { libc::_exit(code) }
}

/// Workers that start together and are timed.
pub struct Race {
    ready: (PipeReader, PipeWriter),
    go: (PipeReader, PipeWriter),
    workers: Vec<Worker>,
}

impl Race {
    pub fn new() -> Result<Self> {
        Ok(Race {
            ready: pipe()?,
            go: pipe()?,
            workers: Vec::new(),
        })
    }

    pub fn add(&mut self, body: impl FnOnce() -> Result<()>) -> Result<()> {
        let (mut ready, mut go) = (&self.ready.1, &self.go.0);
        self.workers.push(Worker::start(|| {
            ready.write_all(&[0])?;
            go.read_exact(&mut [0])?;
            body()
        })?);
        Ok(())
    }

    /// Time from the start until the last worker has exited.
    pub fn run(self) -> Result<Duration> {
        let mut bytes = vec![0; self.workers.len()];
        (&self.ready.0).read_exact(&mut bytes)?;
        let start = Instant::now();
        (&self.go.1).write_all(&bytes)?;
        self.workers.into_iter().try_for_each(Worker::finish)?;
        Ok(start.elapsed())
    }
}
