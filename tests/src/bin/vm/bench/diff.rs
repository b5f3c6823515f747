// SPDX-License-Identifier: GPL-2.0-only
//! Compares two runs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use scx_preload_tests::bench::Row;

use super::results::{Boot, Results};

/// Least spread assumed: rows without any, such as instruction counts, may differ by this.
const FLOOR: f64 = 0.005;

/// Prints each row that differs by more than its spread.
pub fn diff(before: &Path, after: &Path) -> Result<()> {
    let (before, after) = (read(before)?, read(after)?);
    let (mut same, mut different) = (0, 0);
    for (boot, old) in after.boots.iter().filter_map(|boot| {
        let old = before
            .boots
            .iter()
            .find(|old| old.machine == boot.machine)?;
        Some((boot, old))
    }) {
        for row in boot.rows() {
            for scheduler in after.columns() {
                let Some(change) = Change::of(old, boot, row, scheduler) else {
                    continue;
                };
                if change.is_noise() {
                    same += 1;
                    continue;
                }
                different += 1;
                println!(
                    "{} {} {scheduler}: {:.4} -> {:.4} ({:+.1} %, spread {:.1} %)",
                    boot.machine,
                    row.name,
                    change.old,
                    change.new,
                    change.relative() * 100.0,
                    change.spread * 100.0
                );
            }
        }
    }
    println!("{same} agree within their spread, {different} do not");
    Ok(())
}

fn read(path: &Path) -> Result<Results> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not from `bench`", path.display()))
}

/// A figure of both runs: a ratio or a value, as in the table.
struct Change {
    old: f64,
    new: f64,
    /// Expected variation, from the spreads of the values that it is computed from.
    spread: f64,
}

impl Change {
    fn of(old: &Boot, new: &Boot, row: &Row, scheduler: &str) -> Option<Self> {
        let (a, b) = (figure(old, row, scheduler)?, figure(new, row, scheduler)?);
        Some(Change {
            old: a.0,
            new: b.0,
            spread: a.1.max(b.1),
        })
    }

    fn relative(&self) -> f64 {
        if self.old == self.new {
            return 0.0;
        }
        self.new / self.old - 1.0
    }

    fn is_noise(&self) -> bool {
        self.relative().abs() <= self.spread.max(FLOOR)
    }
}

/// The figure in the table and its spread.
fn figure(boot: &Boot, row: &Row, scheduler: &str) -> Option<(f64, f64)> {
    let summary = boot.summary(row.name, scheduler)?;
    if !row.is_ratio {
        return Some((summary.median, summary.spread));
    }
    let base = boot.summary(row.name, scx_preload_tests::bench::EEVDF)?;
    Some((summary.median / base.median, summary.spread + base.spread))
}

#[cfg(test)]
mod tests {
    use scx_preload_tests::bench::row;

    use super::super::results::tests::example;
    use super::*;

    #[test]
    fn changes() {
        let (old, mut new) = (example(), example());
        let ping_pong = row("ping_pong").unwrap();
        let change =
            |new: &Results| Change::of(&old.boots[0], &new.boots[0], ping_pong, "preload").unwrap();
        assert!(change(&new).is_noise());
        for sample in &mut new.boots[0].samples {
            if sample.scheduler == "preload" {
                sample.value *= 1.2;
            }
        }
        assert!(!change(&new).is_noise());
    }
}
