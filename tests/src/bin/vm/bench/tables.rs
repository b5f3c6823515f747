// SPDX-License-Identifier: GPL-2.0-only
//! The results as tables, aligned for the terminal and in Markdown.

use std::fmt::Write;

use scx_preload_tests::bench::{Better, EEVDF, Row, Table};

use super::results::{Boot, Results, Summary};
use super::verdict::{best_peer, judge, target};

const KEY: &str = "\
\"1.02x\" is the ratio to EEVDF in the same boot, other figures are values. In parentheses: the
spread, (greatest − least) / median of the repetitions. ↓ less is better, ↑ more is better.";

/// A table of strings, header first.
struct Grid(Vec<Vec<String>>);

pub fn text(results: &Results, boot: &Boot) -> String {
    let mut out = grid(&results.schedulers, boot, Table::Schedulers)
        .map_or(String::new(), |grid| grid.aligned());
    if let Some(grid) = grid(&results.modes, boot, Table::Bypass) {
        let _ = write!(out, "\nBypass\n{}", grid.aligned());
    }
    out.push_str(&problems(boot, "  "));
    let _ = writeln!(out, "{KEY}\n{:.0} s of host time", boot.host_seconds);
    out
}

pub fn markdown(results: &Results) -> String {
    let mut out = format!(
        "# Schedulers compared\n\n\
         {}, commit {}, Linux {}, {}, mode {}, scale {}, host {}\n\n{KEY}\n",
        results.date,
        results.commit,
        results.kernel,
        results.qemu,
        results.mode,
        results.scale,
        results.host
    );
    for boot in &results.boots {
        let _ = write!(
            out,
            "\n## {}\n\n{} CPUs, {:.0} s of host time\n",
            boot.machine, boot.cpus, boot.host_seconds,
        );
        if let Some(grid) = grid(&results.schedulers, boot, Table::Schedulers) {
            let _ = write!(out, "\n{}", grid.markdown());
        }
        if let Some(grid) = grid(&results.modes, boot, Table::Bypass) {
            let _ = write!(out, "\n### {}: Bypass\n\n{}", boot.machine, grid.markdown());
        }
        let problems = problems(boot, "- ");
        if !problems.is_empty() {
            let _ = write!(out, "\nFailures:\n\n{problems}");
        }
        let _ = write!(
            out,
            "\n### {}: rows\n\n{}\n### {}: counters\n\n{}",
            boot.machine,
            meanings(boot).markdown(),
            boot.machine,
            counters(results, boot).markdown()
        );
    }
    out
}

fn problems(boot: &Boot, bullet: &str) -> String {
    let line =
        |f: &super::Failure| format!("{bullet}{}: {}\n", f.what, f.error.replace('\n', " / "));
    boot.failures.iter().map(line).collect()
}

/// `None` for a table without rows.
fn grid(all: &[String], boot: &Boot, table: Table) -> Option<Grid> {
    let has_values = |row: &Row| all.iter().any(|s| boot.summary(row.name, s).is_some());
    let rows: Vec<_> = boot
        .rows()
        .filter(|row| row.table == table && has_values(row))
        .collect();
    let first = rows.first()?;
    let has_peers = all.iter().any(|s| s != EEVDF && !first.is_for(s));
    let mut header = vec!["row".into(), "target".into()];
    if has_peers {
        header.push("best peer".into());
    }
    header.extend(all.iter().cloned());
    let mut grid = Grid(vec![header]);
    for row in rows {
        let mut line = vec![title(row), target(row)];
        if has_peers {
            line.push(best_peer(boot, row, all).map_or(String::new(), |(name, _)| name.into()));
        }
        line.extend(all.iter().map(|scheduler| cell(boot, row, scheduler, all)));
        grid.0.push(line);
    }
    Some(grid)
}

fn title(row: &Row) -> String {
    let arrow = match row.better {
        Better::Less => "↓",
        Better::More => "↑",
    };
    match row.unit {
        "" => format!("{} {arrow}", row.name),
        unit => format!("{}, {unit} {arrow}", row.name),
    }
}

fn cell(boot: &Boot, row: &Row, scheduler: &str, all: &[String]) -> String {
    let Some(summary) = boot.summary(row.name, scheduler) else {
        return "–".into();
    };
    let ratio = boot.ratio(row.name, scheduler);
    let figure = match ratio {
        Some(ratio) if row.is_ratio && scheduler != EEVDF => format!("{ratio:.2}x"),
        _ => number(summary.median),
    };
    let mark = match row.is_for(scheduler) {
        true => judge(boot, row, scheduler, all).mark(),
        false => "",
    };
    format!("{figure}{} {mark}", spread(&summary))
        .trim_end()
        .into()
}

fn spread(summary: &Summary) -> String {
    match summary.count {
        1 => String::new(),
        _ => format!(" ({:.0}%)", summary.spread * 100.0),
    }
}

/// Three significant digits, but all digits of the integer part and at most three decimals.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

fn meanings(boot: &Boot) -> Grid {
    let mut grid = Grid(vec![vec!["row".into(), "description".into()]]);
    grid.0.extend(
        boot.rows()
            .map(|row| vec![row.name.into(), row.what.into()]),
    );
    grid
}

/// Medians of the other counters.
fn counters(results: &Results, boot: &Boot) -> Grid {
    let mut header = vec!["counter".to_string()];
    header.extend(results.columns().cloned());
    let mut grid = Grid(vec![header]);
    for name in boot.others() {
        // Most of the kernel's events never happen.
        if boot.samples.iter().all(|s| s.row != name || s.value == 0.0) {
            continue;
        }
        let mut line = vec![name.to_string()];
        line.extend(results.columns().map(|scheduler| {
            let summary = boot.summary(name, scheduler);
            summary.map_or("–".into(), |s| number(s.median))
        }));
        grid.0.push(line);
    }
    grid
}

impl Grid {
    fn aligned(&self) -> String {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |n: usize| self.0.iter().map(|line| line[n].chars().count()).max();
        let widths: Vec<_> = (0..columns).map(|n| width(n).unwrap_or(0)).collect();
        let mut out = String::new();
        for line in &self.0 {
            let cells = line
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:<width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    fn markdown(&self) -> String {
        let mut out = String::new();
        for (n, line) in self.0.iter().enumerate() {
            let cells: Vec<_> = line.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
            if n == 0 {
                let _ = writeln!(out, "|{}", " --- |".repeat(line.len()));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::{example, with_bypass};
    use super::*;

    #[test]
    fn aligned() {
        let results = example();
        let text = text(&results, &results.boots[0]);
        let line = text.lines().find(|l| l.starts_with("ping_pong,")).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(
            words,
            [
                "ping_pong,",
                "ns",
                "↓",
                "≤",
                "1.02",
                "1050",
                "(10%)",
                "2.00x",
                "(0%)",
                "behind"
            ]
        );
    }

    #[test]
    fn markdown_has_as_many_cells_in_each_line() {
        let results = example();
        let text = markdown(&results);
        let lines: Vec<_> = text
            .lines()
            .skip_while(|l| !l.starts_with("| row"))
            .take_while(|l| l.starts_with('|'))
            .collect();
        assert_eq!(lines.len(), 2 + 3);
        assert!(lines.iter().all(|l| l.matches('|').count() == 5));
        assert!(text.contains("| event/SCX_EV_X | – | 5.00 |"));
    }

    #[test]
    fn bypass_has_a_section() {
        let mut results = with_bypass();
        let whole = text(&results, &results.boots[0]);
        let (schedulers, bypass) = whole.split_once("\nBypass\n").unwrap();
        assert!(schedulers.contains("odd_fair") && !schedulers.contains("bypass_20"));
        let line = bypass
            .lines()
            .find(|l| l.starts_with("bypass_20_idle"))
            .unwrap();
        let words: Vec<_> = line.split_whitespace().skip(2).collect();
        assert_eq!(words, ["≤", "0.01", "0.875", "behind", "0", "ok"]);
        assert!(
            markdown(&results).contains("\n### smt: Bypass\n\n| row | target | kernel | soft |")
        );

        results.boots[0].samples.retain(|s| s.scheduler == "soft");
        assert!(text(&results, &results.boots[0]).starts_with("\nBypass\n"));
    }

    #[test]
    fn numbers() {
        assert_eq!(number(12345.6), "12346");
        assert_eq!(number(1.234), "1.23");
        assert_eq!(number(0.98765), "0.988");
        assert_eq!(number(0.0), "0");
    }
}
