// SPDX-License-Identifier: GPL-2.0-only
//! A real boot: Debian, systemd, dracut, our unit in the initrd. Each drill is
//! a boot and a suite.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Test;
use crate::journal;
use crate::sys::{SCX_PRELOAD, read, run, run_ok, scx_ops, scx_state};
use crate::tests;

const UNIT: &str = "scx_preload.service";

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
    hook_overridden,
    broken_drop_in_is_told,
    nothing_degraded
];

pub const OTHER_FIRST: &[Test] = tests![
    other_stays,
    one_line_says_who,
    unit_active,
    nothing_degraded
];

pub const NO_SCHED_EXT: &[Test] = tests![
    no_sched_ext,
    not_in_the_image,
    skip_is_logged,
    program_says_it_cannot,
    nothing_degraded
];

fn enabled_with_ours() -> Result<()> {
    // A scheduler can die a moment after a good start: look again.
    for _ in 0..2 {
        let (state, ops) = (scx_state()?, scx_ops().unwrap_or_default());
        ensure!(
            state == "enabled" && ops.starts_with("preload"),
            "{state} with ops {ops:?}; we said:{}",
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
    fs::metadata(format!("{dir}/link")).context("no pinned link")?;
    Ok(())
}

fn no_process_left() -> Result<()> {
    for entry in fs::read_dir("/proc")? {
        // A process may be gone by now; most entries are no processes.
        let comm = fs::read_to_string(entry?.path().join("comm")).unwrap_or_default();
        ensure!(!comm.starts_with("scx_preload"), "{} runs", comm.trim());
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

/// The boot came to its end and no unit failed in it.
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

fn one_warning() -> Result<()> {
    one_warning_about("scheduler.bpf.o")
}

fn one_warning_about(what: &str) -> Result<()> {
    let ours = journal::ours()?;
    let warnings: Vec<_> = ours.iter().filter(|e| e.priority <= 4).collect();
    ensure!(
        warnings.len() == 1 && warnings[0].message.contains(what),
        "not one warning about {what}:{}",
        journal::text(&ours)
    );
    Ok(())
}

/// What of ours is in an image, by the list that its making left.
fn image_has(list: &str, files: &[&str]) -> Result<()> {
    let list = read(format!("/opt/{list}.list"))?;
    let paths = list.lines().filter_map(|l| l.split_whitespace().last());
    let ours = paths.filter_map(|path| path.split_once("scx_preload/"));
    let ours: Vec<_> = ours.map(|(_, name)| name).collect();
    ensure!(ours == files, "{ours:?} and not {files:?}");
    Ok(())
}

/// The drop-ins are on the disk; the image has what they make together.
fn image_has_no_parts() -> Result<()> {
    image_has("drop_ins", &["scheduler.bpf.o", "scheduler.bpf.o.left-out"])
}

/// Although there are drop-ins.
fn own_object_is_in_the_image() -> Result<()> {
    image_has("own", &["scheduler.bpf.o"])
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
        "dracut took us along:{}",
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
        "not one line says why:{}",
        journal::text(&about)
    );
    Ok(())
}
