// SPDX-License-Identifier: GPL-2.0-only
//! A real boot: Debian, systemd, and scx_preload in an initramfs. Each drill is a boot and a
//! suite.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::Test;
use crate::hog::{Hog, Kind};
use crate::journal;
use crate::other::Other;
use crate::preload::{PIN, eject, is_ours};
use crate::sys::{SCX_PRELOAD, enable_seq, poll, read, run, run_ok, scx_ops, scx_state, wait_for};
use crate::tests;

const UNIT: &str = "scx_preload.service";

/// Another scheduler, not enabled.
const OTHER_UNIT: &str = "other_scheduler.service";

/// Generous: under icount, virtual time includes the instructions of all CPUs.
const COME_BACK: Duration = Duration::from_secs(30);

pub const NORMAL: &[Test] = tests![
    enabled_with_ours,
    attached_before_switch_root,
    attached_once,
    pinned_for_root_only,
    no_process_left,
    unit_active,
    nothing_degraded,
    unit_is_sound,
    unit_is_sandboxed,
];

pub const MODE_OFF: &[Test] = tests![disabled, one_line_says_mode, nothing_degraded];

pub const RD_OFF: &[Test] = tests![
    enabled_with_ours,
    attached_after_switch_root,
    attached_once,
    hook_overridden,
    broken_drop_in_is_told,
    nothing_degraded
];

pub const FALLBACK: &[Test] = tests![
    enabled_with_ours,
    attached_before_switch_root,
    one_warning,
    unit_active,
    nothing_degraded
];

pub const OVERRIDE: &[Test] = tests![
    enabled_with_ours,
    attached_before_switch_root,
    image_has_no_parts,
    own_object_is_in_the_image,
    nothing_in_the_image_if_disabled,
    hook_overridden,
    broken_drop_in_is_told,
    nothing_degraded
];

/// With any generator; systemd starts in the real root.
pub const PLAIN_INITRAMFS: &[Test] = tests![
    enabled_with_ours,
    attached_before_root_mounted,
    attached_once,
    pinned_for_root_only,
    no_process_left,
    hook_overridden,
    broken_drop_in_is_told,
    unit_finds_it_loaded,
    unit_active,
    nothing_degraded
];

pub const PLAIN_INITRAMFS_OFF: &[Test] = tests![disabled, each_line_says_mode, nothing_degraded];

pub const OTHER_FIRST: &[Test] = tests![
    other_stays,
    one_line_says_who,
    unit_active,
    nothing_degraded,
    ours_follows,
];

pub const STANDBY: &[Test] = tests![
    stands_by,
    unit_active,
    ours_follows_a_service,
    comes_back_when_idle,
    comes_back_beside_hogs,
    error_brings_the_defaults,
    nothing_degraded,
];

pub const NO_SCHED_EXT: &[Test] = tests![
    no_sched_ext,
    not_in_the_image,
    skip_is_logged,
    program_says_it_cannot,
    nothing_degraded
];

fn enabled_with_ours() -> Result<()> {
    // A scheduler can be ejected a moment after it was enabled: check again.
    for _ in 0..2 {
        let (state, ops) = (scx_state()?, scx_ops().unwrap_or_default());
        ensure!(
            state == "enabled" && ops.starts_with("preload"),
            "{state} with ops {ops:?}; our messages:{}",
            journal::text(&journal::ours()?)
        );
        sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn disabled() -> Result<()> {
    let state = scx_state()?;
    ensure!(state == "disabled", "{state}");
    Ok(())
}

fn attached_before_switch_root() -> Result<()> {
    let (attached, switch) = (journal::attached()?, journal::switch_root()?);
    println!("attached at {attached} us, switch_root at {switch} us");
    ensure!(
        attached < switch,
        "attached at {attached} us, after switch_root at {switch} us"
    );
    Ok(())
}

fn attached_before_root_mounted() -> Result<()> {
    let (attached, mounted) = (journal::attached()?, journal::root_mounted()?);
    println!("attached at {attached} us, root mounted at {mounted} us");
    ensure!(
        attached < mounted,
        "attached at {attached} us, after the root was mounted at {mounted} us"
    );
    Ok(())
}

fn attached_after_switch_root() -> Result<()> {
    let (attached, switch) = (journal::attached()?, journal::switch_root()?);
    ensure!(
        attached > switch,
        "attached at {attached} us, before switch_root at {switch} us"
    );
    Ok(())
}

fn attached_once() -> Result<()> {
    let ours = journal::ours()?;
    let count = ours
        .iter()
        .filter(|e| e.message.contains("attached"))
        .count();
    ensure!(
        count == 1,
        "attached {count} times:{}",
        journal::text(&ours)
    );
    let enables = read("/sys/kernel/sched_ext/enable_seq")?;
    ensure!(enables == "1", "enabled {enables} times");
    Ok(())
}

fn pinned_for_root_only() -> Result<()> {
    let dir = "/sys/fs/bpf/scx_preload";
    let mode = fs::metadata(dir).context(dir)?.permissions().mode() & 0o7777;
    ensure!(mode == 0o700, "{dir} has mode {mode:o}");
    fs::metadata(PIN).context(PIN)?;
    Ok(())
}

fn no_process_left() -> Result<()> {
    for entry in fs::read_dir("/proc")? {
        // Fails if the process has exited, or for an entry that is not a process.
        let comm = fs::read_to_string(entry?.path().join("comm")).unwrap_or_default();
        ensure!(
            !comm.starts_with("scx_preload"),
            "{} is running",
            comm.trim()
        );
    }
    Ok(())
}

fn unit_active() -> Result<()> {
    let now = run_ok(
        "systemctl",
        &["show", "--value", "-pActiveState,SubState,Result", UNIT],
    )?;
    let now: Vec<_> = now.lines().collect();
    ensure!(
        now.len() == 3
            && ["active", "exited", "success"]
                .iter()
                .all(|w| now.contains(w)),
        "{now:?}"
    );
    Ok(())
}

/// The boot has completed and no unit failed.
fn nothing_degraded() -> Result<()> {
    let state = run("systemctl", &["is-system-running", "--wait"])?.stdout;
    let failed = run(
        "systemctl",
        &["list-units", "--failed", "--plain", "--no-legend"],
    )?
    .stdout;
    ensure!(state.trim() == "running", "{}: {failed}", state.trim());
    let target = run_ok("systemctl", &["is-active", "multi-user.target"])?;
    ensure!(target.trim() == "active", "multi-user.target is {target}");
    Ok(())
}

fn unit_is_sound() -> Result<()> {
    let out = run("systemd-analyze", &["verify", "--man=no", UNIT])?;
    ensure!(
        out.code == Some(0) && out.stderr.is_empty(),
        "{}{}",
        out.stdout,
        out.stderr
    );
    Ok(())
}

fn unit_is_sandboxed() -> Result<()> {
    let args = [
        "security",
        "--offline=yes",
        "--threshold=15",
        "--no-pager",
        UNIT,
    ];
    run_ok("systemd-analyze", &args).map(drop)
}

fn one_line_says_mode() -> Result<()> {
    let ours = journal::ours()?;
    ensure!(
        ours.len() == 1 && ours[0].message.contains("scx_preload.mode=off"),
        "{}",
        journal::text(&ours)
    );
    Ok(())
}

/// Logged by the initramfs and by the unit in the real root.
fn each_line_says_mode() -> Result<()> {
    let ours = journal::ours()?;
    let early = ours.iter().filter(|e| e.from_kmsg).count();
    ensure!(
        ours.len() == 2
            && early == 1
            && ours
                .iter()
                .all(|e| e.message.contains("scx_preload.mode=off")),
        "{}",
        journal::text(&ours)
    );
    Ok(())
}

fn unit_finds_it_loaded() -> Result<()> {
    let ours = journal::ours()?;
    let unit: Vec<_> = ours.iter().filter(|e| !e.from_kmsg).collect();
    ensure!(
        unit.len() == 1 && unit[0].priority > 4 && unit[0].message == "loaded already",
        "{}",
        journal::text(&ours)
    );
    Ok(())
}

fn one_warning() -> Result<()> {
    one_warning_about("scheduler.bpf.o")
}

fn one_warning_about(what: &str) -> Result<()> {
    let ours = journal::ours()?;
    let warnings: Vec<_> = ours.iter().filter(|e| e.priority <= 4).collect();
    ensure!(
        warnings.len() == 1 && warnings[0].message.contains(what),
        "expected one warning about {what}:{}",
        journal::text(&ours)
    );
    Ok(())
}

/// The image has exactly these files of ours, according to the list stored by the host.
fn image_has(list: &str, files: &[&str]) -> Result<()> {
    let list = read(format!("/opt/{list}.list"))?;
    let paths = list.lines().filter_map(|l| l.split_whitespace().last());
    let ours = paths.filter_map(|path| path.split_once("scx_preload/"));
    let ours: Vec<_> = ours.map(|(_, name)| name).collect();
    ensure!(ours == files, "the image has {ours:?}, not {files:?}");
    Ok(())
}

/// The drop-ins are on the disk; the image has the linked object and a list of those left out.
fn image_has_no_parts() -> Result<()> {
    image_has("drop_ins", &["scheduler.bpf.o", "scheduler.bpf.o.left-out"])
}

/// Drop-ins are ignored then.
fn own_object_is_in_the_image() -> Result<()> {
    image_has("own", &["scheduler.bpf.o"])
}

fn nothing_in_the_image_if_disabled() -> Result<()> {
    image_has("disabled", &[])
}

fn broken_drop_in_is_told() -> Result<()> {
    one_warning_about("broken.bpf.o")
}

fn hook_overridden() -> Result<()> {
    let status: Value = serde_json::from_str(&run_ok(SCX_PRELOAD, &["status", "--json"])?)?;
    let hooks = status["hooks"]
        .as_array()
        .context("no hooks in the status")?;
    let overridden = hooks.iter().filter(|h| h["overridden"] == true).count();
    ensure!(
        overridden == 1,
        "{overridden} hooks are overridden: {status}"
    );
    Ok(())
}

/// By the udev rule, in the real root.
fn ours_follows() -> Result<()> {
    fs::remove_file("/sys/fs/bpf/other").context("the other scheduler is not pinned")?;
    wait_for(COME_BACK, is_ours)
}

fn stands_by() -> Result<()> {
    disabled()?;
    let seq = enable_seq()?;
    ensure!(seq == 0, "enabled {seq} times");
    let switch = journal::switch_root()?;
    let ours = journal::ours()?;
    let early = ours
        .iter()
        .any(|e| e.us < switch && e.message.contains("stands by"));
    ensure!(early && ours.len() == 1, "{}", journal::text(&ours));
    Ok(())
}

/// A service that starts another scheduler, like scx.service, and is stopped.
fn ours_follows_a_service() -> Result<()> {
    run_ok("systemctl", &["start", OTHER_UNIT])?;
    wait_for(COME_BACK, other_stays)?;
    run_ok("systemctl", &["stop", OTHER_UNIT])?;
    wait_for(COME_BACK, is_ours)?;
    // While ours is attached, starting the service is still all that is needed.
    run_ok("systemctl", &["start", OTHER_UNIT])?;
    wait_for(COME_BACK, other_stays)?;
    run_ok("systemctl", &["stop", OTHER_UNIT])?;
    wait_for(COME_BACK, is_ours)
}

fn comes_back_when_idle() -> Result<()> {
    come_back(3)
}

fn comes_back_beside_hogs() -> Result<()> {
    let _hogs = Hog::start_many(64, Kind::default())?;
    come_back(1)
}

/// Measures how long EEVDF schedules after another scheduler was killed.
fn come_back(times: usize) -> Result<()> {
    for _ in 0..times {
        let other = Other::fixture()?;
        kill(Pid::from_raw(other.pid() as i32), Signal::SIGKILL)?;
        let start = Instant::now();
        wait_for(COME_BACK, || {
            ensure!(scx_ops().as_deref() != Some("other"));
            Ok(())
        })?;
        let ended = start.elapsed();
        poll(COME_BACK, Duration::from_millis(1), is_ours)?;
        println!(
            "killed: detached after {ended:?}, ours attached after {:?}",
            start.elapsed()
        );
    }
    Ok(())
}

fn error_brings_the_defaults() -> Result<()> {
    // If this is the only test of the boot, it has not been attached yet.
    run(SCX_PRELOAD, &["resume"])?;
    is_ours()?;
    let seq = enable_seq()?;
    eject()?;
    wait_for(COME_BACK, || {
        ensure!(enable_seq()? > seq, "not enabled again");
        is_ours()
    })?;
    eject()?;
    wait_for(COME_BACK, || {
        let said = journal::ours()?;
        let told = said.iter().any(|e| e.message.contains("twice"));
        ensure!(told, "{}", journal::text(&said));
        disabled()
    })?;
    run_ok(SCX_PRELOAD, &["load", "--defaults"])?;
    is_ours()
}

fn other_stays() -> Result<()> {
    let (state, ops) = (scx_state()?, scx_ops().unwrap_or_default());
    ensure!(
        state == "enabled" && ops.starts_with("other"),
        "{state} with ops {ops:?}"
    );
    Ok(())
}

fn one_line_says_who() -> Result<()> {
    let ours = journal::ours()?;
    ensure!(
        ours.len() == 1 && ours[0].message.contains("other"),
        "{}",
        journal::text(&ours)
    );
    Ok(())
}

fn no_sched_ext() -> Result<()> {
    ensure!(
        !fs::exists("/sys/kernel/sched_ext")?,
        "this kernel has sched_ext"
    );
    Ok(())
}

fn program_says_it_cannot() -> Result<()> {
    for command in ["load", "status", "verify"] {
        let out = run(SCX_PRELOAD, &[command])?;
        let said = out.stderr.trim();
        ensure!(
            out.code == Some(3)
                && said.lines().count() == 1
                && said.contains("CONFIG_SCHED_CLASS_EXT"),
            "{command} ended with {:?}: {said}",
            out.code
        );
    }
    Ok(())
}

fn not_in_the_image() -> Result<()> {
    let entries = journal::read()?;
    let switch = journal::switch_root()?;
    let early: Vec<_> = entries
        .into_iter()
        .filter(|e| e.us < switch && e.message.contains(UNIT))
        .collect();
    ensure!(
        early.is_empty(),
        "the initramfs has our unit:{}",
        journal::text(&early)
    );
    Ok(())
}

fn skip_is_logged() -> Result<()> {
    let entries = journal::read()?;
    let about: Vec<_> = entries
        .into_iter()
        .filter(|e| e.message.contains("/sys/kernel/sched_ext"))
        .collect();
    ensure!(
        about.len() == 1,
        "expected one message about the skipped unit:{}",
        journal::text(&about)
    );
    Ok(())
}
