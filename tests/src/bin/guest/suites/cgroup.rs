// SPDX-License-Identifier: GPL-2.0-only
//! cpu.weight: cgroups get CPU time in proportion to their weights, however many tasks are in
//! them.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Test;
use crate::hog::{Hog, Kind, ONLY, shares};
use crate::preload::load;
use crate::sys::{CGROUPS, set_cgroup as set};
use crate::tests;

pub const TESTS: &[Test] = tests![
    by_weight,
    by_weight_and_not_by_number,
    beside_tasks_outside,
    within_a_parent,
    nice_within_a_group,
    sleepers_take_no_share,
    a_weight_changes,
    idle_group,
];

const SECOND: Duration = Duration::from_secs(1);

/// Two cgroups, and two children of the first one.
const A: &str = "/sys/fs/cgroup/a";
const B: &str = "/sys/fs/cgroup/b";
const A_X: &str = "/sys/fs/cgroup/a/x";
const A_Y: &str = "/sys/fs/cgroup/a/y";

/// Creates cgroups with the cpu controller and these weights. They are empty: hogs of an
/// earlier test died with it.
fn groups(weights: &[(&str, u32)]) -> Result<()> {
    load(&[])?;
    set(CGROUPS, "cgroup.subtree_control", "+cpu")?;
    for (group, weight) in weights {
        let parent = Path::new(group)
            .parent()
            .context("a cgroup without a parent")?;
        set(
            &parent.display().to_string(),
            "cgroup.subtree_control",
            "+cpu",
        )?;
        fs::create_dir_all(group).with_context(|| format!("cannot create {group}"))?;
        set(group, "cpu.weight", weight)?;
        set(group, "cpu.idle", 0)?;
    }
    Ok(())
}

fn in_group(cgroup: &'static str) -> Kind {
    Kind {
        cgroup,
        ..Kind::default()
    }
}

/// Starts this many hogs of each kind and returns how many CPUs each kind gets once that has
/// settled.
fn parts(kinds: &[(usize, Kind)]) -> Result<Vec<f64>> {
    let mut hogs = Vec::new();
    for (count, kind) in kinds {
        hogs.extend(Hog::start_many(*count, *kind)?);
    }
    sleep(2 * SECOND);
    let window = 6 * SECOND;
    let mut got = shares(&hogs, window)?.into_iter();
    let of_kind = |(count, _): &(usize, Kind)| {
        let sum: Duration = got.by_ref().take(*count).sum();
        sum.div_duration_f64(window)
    };
    let parts = kinds.iter().map(of_kind).collect();
    println!("{parts:.2?} CPUs");
    Ok(parts)
}

fn ratio_is(parts: &[f64], ideal: f64) -> Result<()> {
    let ratio = parts[0] / parts[1];
    println!("ratio {ratio:.2}, ideal {ideal:.2}");
    ensure!(
        (ideal * 0.8..ideal * 1.25).contains(&ratio),
        "ratio {ratio:.2}, ideal {ideal:.2}: {parts:.2?}"
    );
    Ok(())
}

fn by_weight() -> Result<()> {
    groups(&[(A, 300), (B, 100)])?;
    ratio_is(&parts(&[(8, in_group(A)), (8, in_group(B))])?, 3.0)
}

/// 4 hogs against 20: each cgroup gets half of the 8 CPUs, which is just enough for 4 hogs.
fn by_weight_and_not_by_number() -> Result<()> {
    groups(&[(A, 100), (B, 100)])?;
    ratio_is(&parts(&[(4, in_group(A)), (20, in_group(B))])?, 1.0)
}

/// A cgroup competes with tasks outside of all cgroups: 8 of these, of weight 100 each, have
/// twice the weight of the cgroup's 400.
fn beside_tasks_outside() -> Result<()> {
    groups(&[(A, 400)])?;
    ratio_is(&parts(&[(16, in_group(A)), (8, Kind::default())])?, 0.5)
}

/// A's half is divided 1 to 3 between its children; B gets the other half.
fn within_a_parent() -> Result<()> {
    groups(&[(A, 100), (B, 100), (A_X, 100), (A_Y, 300)])?;
    let parts = parts(&[(8, in_group(A_X)), (4, in_group(A_Y)), (8, in_group(B))])?;
    ratio_is(&[parts[0] + parts[1], parts[2]], 1.0)?;
    ratio_is(&[parts[1], parts[0]], 3.0)
}

/// On one CPU: nice levels count within a cgroup, not between cgroups.
fn nice_within_a_group() -> Result<()> {
    groups(&[(A, 100), (B, 100)])?;
    let on = |cgroup, nice| Kind {
        cpus: ONLY[2],
        nice,
        cgroup,
        ..Kind::default()
    };
    let parts = parts(&[(1, on(A, 0)), (1, on(A, 5)), (1, on(B, 5))])?;
    ratio_is(&parts, 1024.0 / 335.0)?;
    ratio_is(&[parts[0] + parts[1], parts[2]], 1.0)
}

/// 8 tasks that hardly run leave A's share to the one hog in A; B has one hog, too.
fn sleepers_take_no_share() -> Result<()> {
    groups(&[(A, 300), (B, 100)])?;
    let pinned = |cgroup| Kind {
        cpus: ONLY[5],
        cgroup,
        ..Kind::default()
    };
    let pattern = Some((SECOND / 2000, SECOND / 20));
    let sleeper = Kind {
        pattern,
        ..in_group(A)
    };
    let _sleepers = Hog::start_many(8, sleeper)?;
    ratio_is(&parts(&[(1, pinned(A)), (1, pinned(B))])?, 3.0)
}

fn a_weight_changes() -> Result<()> {
    groups(&[(A, 100), (B, 100)])?;
    let kinds = [(8, in_group(A)), (8, in_group(B))];
    ratio_is(&parts(&kinds)?, 1.0)?;
    set(A, "cpu.weight", 400)?;
    ratio_is(&parts(&kinds)?, 4.0)
}

/// cpu.idle: gets very little beside others, but does not starve.
fn idle_group() -> Result<()> {
    groups(&[(A, 100), (B, 100)])?;
    set(A, "cpu.idle", 1)?;
    let parts = parts(&[(8, in_group(A)), (8, in_group(B))])?;
    ensure!(
        parts[0] > 0.001 && parts[0] < 0.12 * parts[1],
        "idle: {parts:.2?}"
    );
    Ok(())
}
