// SPDX-License-Identifier: GPL-2.0-only
//! Drop-ins: how `load` and `link` combine the overrides that they find.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Test;
use crate::preload::{disabled_and_unpinned, load, object, refused, status, unload_any};
use crate::sys::{SCX_PRELOAD, enable_seq, run, run_ok};
use crate::tests;

pub const TESTS: &[Test] = tests![
    two_combine,
    etc_replaces_by_name,
    etc_masks,
    defaults_only_on_demand,
    by_hand_a_broken_one_is_named,
    by_hand_a_refused_one_is_named,
    boot_leaves_out_broken_ones,
    boot_leaves_out_refused_ones,
    boot_without_those_that_do_not_run,
    an_object_of_ones_own_wins,
    boot_without_an_object_that_is_broken,
    links_the_same,
    links_for_a_boot,
];

const ETC: &str = "/etc/scx_preload/overrides.d";
const LIB: &str = "/usr/lib/scx_preload/overrides.d";
const OWN: &str = "/etc/scx_preload/scheduler.bpf.o";

const SLICE: &str = "hook_task_slice";
const CAPACITY: &str = "hook_cpu_capacity";

/// Drop-in directories that contain only those of one test.
struct Machine;

impl Machine {
    fn new() -> Result<Self> {
        unload_any()?;
        for dir in [ETC, LIB] {
            fs::create_dir_all(dir)?;
        }
        Ok(Self)
    }

    /// Installs an override or fixture.
    fn add(&self, dir: &str, name: &str, from: &str) -> Result<()> {
        fs::copy(object(from), path(dir, name)).with_context(|| format!("{dir}/{name}"))?;
        Ok(())
    }

    fn write(&self, dir: &str, name: &str, text: &str) -> Result<()> {
        fs::write(path(dir, name), text).with_context(|| format!("{dir}/{name}"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for dir in ["/etc/scx_preload", LIB] {
            let _ = fs::remove_dir_all(dir);
        }
    }
}

fn path(dir: &str, name: &str) -> PathBuf {
    Path::new(dir).join(format!("{name}.bpf.o"))
}

/// Our scheduler is enabled, with exactly these hooks overridden.
fn runs_with(hooks: &[&str]) -> Result<()> {
    let status = status()?;
    ensure!(status["ours"] == true, "{}", status["kernel"]);
    let all = status["hooks"].as_array().context("no hooks")?;
    let overridden = all.iter().filter(|hook| hook["overridden"] == true);
    let names: Vec<_> = overridden
        .filter_map(|hook| hook["name"].as_str())
        .collect();
    let same = names.len() == hooks.len() && hooks.iter().all(|hook| names.contains(hook));
    ensure!(same, "{names:?} are overridden, not {hooks:?}");
    Ok(())
}

/// `load --boot` succeeds with one warning for each element, which contains all its words.
fn boots_with(warnings: &[&[&str]]) -> Result<()> {
    let out = run(SCX_PRELOAD, &["load", "--boot"])?;
    println!("{}", out.stderr);
    ensure!(out.code == Some(0), "{:?}: {}", out.code, out.stderr);
    let said: Vec<_> = out
        .stderr
        .lines()
        .filter(|line| !line.starts_with("scx_preload: attached"))
        .collect();
    ensure!(said.len() == warnings.len(), "{said:#?}");
    for (line, words) in said.iter().zip(warnings) {
        ensure!(
            line.contains("warn") && words.iter().all(|word| line.contains(word)),
            "expected a warning with {words:?}: {line}"
        );
    }
    Ok(())
}

fn two_combine() -> Result<()> {
    let machine = Machine::new()?;
    machine.add(ETC, "20-slice", SLICE)?;
    machine.add(LIB, "10-capacity", CAPACITY)?;
    load(&[])?;
    runs_with(&[SLICE, CAPACITY])?;
    unload_any()?;
    boots_with(&[])?;
    runs_with(&[SLICE, CAPACITY])?;
    unload_any()
}

fn etc_replaces_by_name() -> Result<()> {
    let machine = Machine::new()?;
    machine.add(LIB, "mine", SLICE)?;
    machine.add(ETC, "mine", CAPACITY)?;
    load(&[])?;
    runs_with(&[CAPACITY])?;
    unload_any()
}

fn etc_masks() -> Result<()> {
    let machine = Machine::new()?;
    machine.add(LIB, "a", SLICE)?;
    machine.add(LIB, "b", CAPACITY)?;
    machine.add(LIB, "c", "hook_task_preempt")?;
    machine.write(ETC, "a", "")?;
    symlink("/dev/null", path(ETC, "b"))?;
    load(&[])?;
    runs_with(&["hook_task_preempt"])?;
    unload_any()
}

fn defaults_only_on_demand() -> Result<()> {
    let machine = Machine::new()?;
    machine.add(ETC, "a", SLICE)?;
    machine.write(ETC, "b", "garbage")?;
    load(&["--defaults"])?;
    runs_with(&[])?;
    unload_any()
}

/// Adds each kind of mistake that is detected before the load; returns names and reasons.
fn add_broken(machine: &Machine) -> Result<[(&'static str, &'static str); 4]> {
    machine.write(LIB, "20-garbage", "garbage")?;
    machine.add(LIB, "30-typo", "misspelled")?;
    machine.add(LIB, "40-second", SLICE)?;
    symlink("/nowhere/x.bpf.o", path(LIB, "60-dangling"))?;
    Ok([
        ("20-garbage", "not a BPF object"),
        ("30-typo", "hook_pick_idle_cpus()"),
        ("40-second", "10-slice.bpf.o"),
        ("60-dangling", "No such file"),
    ])
}

/// Each load is refused and names a drop-in, until all are masked as it suggests.
fn by_hand_a_broken_one_is_named() -> Result<()> {
    let machine = Machine::new()?;
    machine.add(LIB, "10-slice", SLICE)?;
    machine.add(LIB, "50-capacity", CAPACITY)?;
    let before = enable_seq()?;
    for (name, reason) in add_broken(&machine)? {
        let mask = format!("ln -s /dev/null {}", path(ETC, name).display());
        refused(&["load"], 1, &[reason, &mask])?;
        disabled_and_unpinned()?;
        symlink("/dev/null", path(ETC, name))?;
    }
    ensure!(enable_seq()? == before);
    load(&[])?;
    runs_with(&[SLICE, CAPACITY])?;
    unload_any()
}

fn by_hand_a_refused_one_is_named() -> Result<()> {
    let machine = Machine::new()?;
    machine.add(LIB, "10-slice", SLICE)?;
    machine.add(ETC, "20-reject", "reject")?;
    machine.add(LIB, "30-capacity", CAPACITY)?;
    let before = enable_seq()?;
    let file = path(ETC, "20-reject");
    let file = file.display();
    let away = format!("mv {file} {file}.off");
    refused(&["load"], 1, &[&away, "infinite loop"])?;
    disabled_and_unpinned()?;
    ensure!(enable_seq()? == before);
    Ok(())
}

fn boot_leaves_out_broken_ones() -> Result<()> {
    let machine = Machine::new()?;
    machine.add(LIB, "10-slice", SLICE)?;
    machine.add(LIB, "50-capacity", CAPACITY)?;
    let broken = add_broken(&machine)?;
    let words = broken.map(|(name, reason)| [name, reason]);
    boots_with(&words.each_ref().map(|words| &words[..]))?;
    runs_with(&[SLICE, CAPACITY])?;
    unload_any()
}

fn boot_leaves_out_refused_ones() -> Result<()> {
    let machine = Machine::new()?;
    machine.add(LIB, "10-slice", SLICE)?;
    machine.add(LIB, "20-reject", "reject")?;
    machine.add(LIB, "30-capacity", CAPACITY)?;
    boots_with(&[&["20-reject", "left out", "infinite loop"]])?;
    runs_with(&[SLICE, CAPACITY])?;
    unload_any()
}

/// The verifier accepts them, but init fails.
fn boot_without_those_that_do_not_run() -> Result<()> {
    let machine = Machine::new()?;
    machine.add(LIB, "10-slice", SLICE)?;
    machine.add(LIB, "20-fails", "init_fails")?;
    boots_with(&[&["20-fails", "-95", "built-in defaults"]])?;
    runs_with(&[])?;
    unload_any()?;
    refused(&["load"], 1, &["20-fails", "-95", "load --defaults"])
}

fn an_object_of_ones_own_wins() -> Result<()> {
    let machine = Machine::new()?;
    machine.add(ETC, "a", SLICE)?;
    run_ok(SCX_PRELOAD, &["link", "-o", OWN, &object(CAPACITY)])?;
    boots_with(&[])?;
    runs_with(&[CAPACITY])?;
    unload_any()
}

fn boot_without_an_object_that_is_broken() -> Result<()> {
    let _machine = Machine::new()?;
    run_ok(SCX_PRELOAD, &["link", "-o", OWN])?;
    let whole = fs::read(OWN)?;
    let fallback = [OWN, "falling back to the built-in defaults"];
    for content in [&whole[..whole.len() / 2], b"not an object at all\n", b""] {
        fs::write(OWN, content)?;
        boots_with(&[&fallback])?;
        runs_with(&[])?;
        unload_any()?;
    }
    fs::remove_file(OWN)?;
    symlink("/nowhere/scheduler.bpf.o", OWN)?;
    boots_with(&[&fallback])?;
    runs_with(&[])?;
    unload_any()
}

fn links_the_same() -> Result<()> {
    const OUT: &str = "/run/drop_ins.bpf.o";
    let machine = Machine::new()?;
    machine.add(ETC, "a", SLICE)?;
    machine.add(LIB, "b", CAPACITY)?;
    let table = run_ok(SCX_PRELOAD, &["link", "--drop-ins", "-o", OUT])?;
    ensure!(
        table.contains(&format!("{ETC}/a.bpf.o")) && table.contains(&format!("{LIB}/b.bpf.o")),
        "{table}"
    );
    load(&["--object", OUT])?;
    runs_with(&[SLICE, CAPACITY])?;
    unload_any()?;
    fs::remove_file(OUT)?;
    machine.write(LIB, "c", "garbage")?;
    refused(&["link", "--drop-ins", "-o", OUT], 1, &["c.bpf.o"])?;
    ensure!(!fs::exists(OUT)?, "a failed link left a file");
    Ok(())
}

/// As for an initramfs: it contains no drop-ins, only the linked object and a list of those
/// that were left out.
fn links_for_a_boot() -> Result<()> {
    let machine = Machine::new()?;
    let link = ["link", "--drop-ins", "--boot", "-o", OWN];
    run_ok(SCX_PRELOAD, &link)?;
    ensure!(!fs::exists(OWN)?, "an object was written without drop-ins");
    machine.add(ETC, "10-slice", SLICE)?;
    machine.write(LIB, "20-garbage", "garbage")?;
    refused(&link, 0, &["20-garbage", "not a BPF object"])?;
    fs::remove_dir_all(ETC)?;
    fs::remove_dir_all(LIB)?;
    boots_with(&[&["20-garbage", "left out", "not a BPF object"]])?;
    runs_with(&[SLICE])?;
    unload_any()
}
