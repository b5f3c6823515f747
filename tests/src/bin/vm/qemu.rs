// SPDX-License-Identifier: GPL-2.0-only
//! Boots a VM and reads its report.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use scx_preload_tests::Report;

/// In host time, whatever the machine's clock. Only a hung machine reaches it, even on a busy
/// host: the longest test takes four minutes of a core.
const SILENCE: Duration = Duration::from_secs(1800);

/// Time limit for power-off after the end of the report.
const POWER_OFF: Duration = Duration::from_secs(30);

/// Fixed addresses, and nothing that depends on the host's CPU. Debian's kernels clear pages
/// when they are allocated, which takes a tenth of all time here, and test their cryptography
/// at boot. The report uses a second serial port, whose driver is built into Debian's kernels.
/// Without `tsc=reliable`, and with `Clock::Host`, a busy host makes the kernel fall back to
/// the emulated HPET, which slows everything down several times.
const CMDLINE: &str = "console=ttyS0 8250.nr_uarts=2 nokaslr mitigations=off init_on_alloc=0 \
    cryptomgr.notests=1 tsc=reliable panic=-1";

/// With plain "max", each CPU has its own last-level cache. Told that string instructions are
/// fast, the kernel copies and clears memory byte by byte, which they are not here.
const CPU: &str = "max,vendor=GenuineIntel,erms=off,fsrm=off,fsrs=off,fzrm=off";

/// CPUs, memory and topology, as QEMU arguments.
#[derive(Clone, Copy)]
pub struct Shape {
    /// `-smp`; each socket has one last-level cache.
    pub smp: &'static str,
    /// `-m`
    pub memory: &'static str,
    /// Further arguments, for example for NUMA.
    pub args: &'static [&'static str],
}

impl Shape {
    pub const fn new(smp: &'static str) -> Self {
        Shape {
            smp,
            memory: "1536M",
            args: &[],
        }
    }
}

/// How time passes in a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clock {
    /// As on the host, with CPUs in parallel: they race as on hardware, and a busy host
    /// disturbs measurements.
    Host,
    /// By executed instructions of 2^`shift` ns each, one CPU after the other; if all are idle,
    /// it jumps to the next timer. The host's speed and load do not matter: without a disk, two
    /// boots of one image with one seed execute the same instructions.
    Icount { shift: u8 },
}

impl Clock {
    fn args(self, seed: u32) -> Vec<String> {
        let args = match self {
            Clock::Host => "-accel tcg,thread=multi".into(),
            // The date and randomness must not depend on the host, either.
            Clock::Icount { shift } => format!(
                "-accel tcg,thread=single -icount shift={shift},sleep=off \
                -rtc clock=vm,base=2026-01-01 -seed {seed}"
            ),
        };
        args.split(' ').map(String::from).collect()
    }
}

pub struct Machine {
    pub qemu: Command,
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    pub disk: Option<PathBuf>,
    pub shape: Shape,
    pub clock: Clock,
    /// Of the machine's randomness, unless it has `Clock::Host`.
    pub seed: u32,
    pub cmdline: String,
    /// Console log.
    pub console: PathBuf,
}

impl Machine {
    /// Boots, and passes each report on; fails if the last one is not `Done`.
    pub fn boot(&mut self, mut on_report: impl FnMut(Report)) -> Result<()> {
        let mut qemu = Qemu(self.spawn()?);
        let reports = follow(qemu.0.stdout.take().context("QEMU has no stdout")?);
        loop {
            match reports.recv_timeout(SILENCE) {
                Ok(Report::Done) => break,
                Ok(report) => on_report(report),
                Err(RecvTimeoutError::Timeout) => bail!("no report for {} s", SILENCE.as_secs()),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = qemu.0.wait().context("cannot wait for QEMU")?;
                    let said = fs::read_to_string(self.errors()).unwrap_or_default();
                    bail!(
                        "the machine stopped before the end of its report (QEMU: {status}) {}",
                        said.trim()
                    );
                }
            }
        }
        // The channel closes when QEMU exits; otherwise Drop kills it.
        let _ = reports.recv_timeout(POWER_OFF);
        Ok(())
    }

    fn errors(&self) -> PathBuf {
        self.console.with_extension("qemu")
    }

    fn spawn(&mut self) -> Result<Child> {
        let _ = fs::remove_file(&self.console);
        let errors = File::create(self.errors())?;
        let qemu = &mut self.qemu;
        qemu.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args(["-machine", "q35", "-m", self.shape.memory])
        .args(self.clock.args(self.seed))
        .args(["-cpu", CPU, "-smp", self.shape.smp])
        .args(self.shape.args)
        .arg("-chardev")
        .arg(format!("file,id=console,path={}", self.console.display()))
        .args(["-chardev", "stdio,id=report,signal=off"])
        .args(["-serial", "chardev:console", "-serial", "chardev:report"])
        .arg("-kernel")
        .arg(&self.kernel)
        .arg("-initrd")
        .arg(&self.initrd)
        .arg("-append")
        .arg(format!(
            "{CMDLINE} scx_test.seed={} {}",
            self.seed, self.cmdline
        ));
        if let Some(disk) = &self.disk {
            let disk = disk.display();
            qemu.arg("-drive")
                .arg(format!("file={disk},format=raw,if=virtio,snapshot=on"));
        }
        qemu.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors);
        // SAFETY: prctl(2) is async-signal-safe and does not access our memory.
        unsafe {
            // QEMU must not outlive this process.
            qemu.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
        }
        qemu.spawn().context("cannot start QEMU")
    }
}

struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        // Both fail only if it has exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn follow(port: ChildStdout) -> Receiver<Report> {
    let (send, receive) = channel();
    thread::spawn(move || {
        for line in BufReader::new(port).lines().map_while(Result::ok) {
            let line = line.trim();
            let report = serde_json::from_str(line).unwrap_or_else(|_| Report::Text {
                line: format!("unexpected on the report port: {line}"),
            });
            if send.send(report).is_err() {
                break;
            }
        }
    });
    receive
}
