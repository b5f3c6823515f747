// SPDX-License-Identifier: GPL-2.0-only
//! Samples and their summaries.

use anyhow::Result;
use scx_preload_tests::bench::{EEVDF, Row, rows};
use serde::{Deserialize, Serialize};

use super::output;

/// One run of the benchmark.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    pub date: String,
    pub host: String,
    pub commit: String,
    pub kernel: String,
    pub qemu: String,
    pub mode: String,
    pub scale: f64,
    /// In the order of the tables' columns.
    pub schedulers: Vec<String>,
    /// Bypass modes, also in order.
    #[serde(default)]
    pub modes: Vec<String>,
    pub boots: Vec<Boot>,
}

/// One boot of one machine.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Boot {
    pub machine: String,
    pub cpus: String,
    pub host_seconds: f64,
    pub failures: Vec<Failure>,
    pub samples: Vec<Sample>,
}

/// One value.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sample {
    pub scheduler: String,
    pub row: String,
    pub repetition: u32,
    pub value: f64,
}

/// A step that failed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    pub what: String,
    pub error: String,
}

/// The values of one row and scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub median: f64,
    /// (greatest − least) / median.
    pub spread: f64,
    pub count: usize,
}

impl Summary {
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let count = values.len();
        let median = (values[(count - 1) / 2] + values[count / 2]) / 2.0;
        let spread = if max == min {
            0.0
        } else {
            (max - min) / median
        };
        Some(Summary {
            median,
            spread,
            count,
        })
    }
}

impl Results {
    pub fn new(
        kernel: String,
        qemu: String,
        mode: &str,
        scale: f64,
        schedulers: Vec<String>,
        modes: Vec<String>,
    ) -> Self {
        let dirty = match output("git", &["status", "--porcelain", "-uno"]).is_empty() {
            true => "",
            false => " with changes",
        };
        Results {
            date: output("date", &["-u", "+%F %T UTC"]),
            host: output("uname", &["-nrm"]),
            commit: output("git", &["describe", "--always", "--tags"]) + dirty,
            kernel,
            qemu,
            mode: mode.into(),
            scale,
            schedulers,
            modes,
            boots: Vec::new(),
        }
    }

    /// The columns of all tables.
    pub fn columns(&self) -> impl Iterator<Item = &String> {
        self.schedulers.iter().chain(&self.modes)
    }

    /// Whether any step failed.
    pub fn failed(&self) -> bool {
        self.boots.iter().any(|boot| !boot.failures.is_empty())
    }

    /// All samples with their summaries.
    pub fn json(&self) -> Result<String> {
        let summaries: Vec<_> = self.boots.iter().flat_map(|b| self.lines(b)).collect();
        let mut all = serde_json::to_value(self)?;
        all["summary"] = serde_json::to_value(summaries)?;
        Ok(serde_json::to_string_pretty(&all)?)
    }

    fn lines<'a>(&'a self, boot: &'a Boot) -> impl Iterator<Item = Line<'a>> {
        let rows = boot.names();
        self.columns().flat_map(move |scheduler| {
            let of_row = |row: &&'a str| {
                Some(Line {
                    machine: &boot.machine,
                    row,
                    scheduler,
                    summary: boot.summary(row, scheduler)?,
                    to_eevdf: boot.ratio(row, scheduler),
                })
            };
            rows.iter().filter_map(of_row).collect::<Vec<_>>()
        })
    }
}

/// A summary with its machine, row and scheduler.
#[derive(Serialize)]
struct Line<'a> {
    machine: &'a str,
    row: &'a str,
    scheduler: &'a str,
    #[serde(flatten)]
    summary: Summary,
    to_eevdf: Option<f64>,
}

impl Boot {
    pub fn summary(&self, row: &str, scheduler: &str) -> Option<Summary> {
        let samples = self.samples.iter();
        let of_it = samples.filter(|s| s.row == row && s.scheduler == scheduler);
        Summary::of(of_it.map(|s| s.value).collect())
    }

    /// Ratio of the medians.
    pub fn ratio_to(&self, row: &str, scheduler: &str, other: &str) -> Option<f64> {
        let other = self.summary(row, other)?.median;
        let ratio = self.summary(row, scheduler)?.median / other;
        ratio.is_finite().then_some(ratio)
    }

    /// Ratio to EEVDF of the same boot.
    pub fn ratio(&self, row: &str, scheduler: &str) -> Option<f64> {
        self.ratio_to(row, scheduler, EEVDF)
    }

    /// The rows of all tables that have values.
    pub fn rows(&self) -> impl Iterator<Item = &'static Row> {
        rows().filter(|row| self.samples.iter().any(|s| s.row == row.name))
    }

    /// All names that have values: rows of the tables, then other counters.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.rows().map(|row| row.name).collect();
        names.extend(self.others());
        names
    }

    /// Names of counters that are not rows.
    pub fn others(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.samples.iter().map(|s| s.row.as_str()).collect();
        names.retain(|name| rows().all(|row| row.name != *name));
        names.sort();
        names.dedup();
        names
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Two schedulers and a row whose ratio is 2.
    pub fn example() -> Results {
        let sample = |scheduler: &str, row: &str, repetition, value| Sample {
            scheduler: scheduler.into(),
            row: row.into(),
            repetition,
            value,
        };
        Results {
            schedulers: vec!["eevdf".into(), "preload".into()],
            boots: vec![Boot {
                machine: "smt".into(),
                samples: vec![
                    sample("eevdf", "ping_pong", 0, 1000.0),
                    sample("eevdf", "ping_pong", 1, 1100.0),
                    sample("preload", "ping_pong", 0, 2100.0),
                    sample("preload", "ping_pong", 1, 2100.0),
                    sample("preload", "odd_fair", 0, 0.99),
                    sample("preload", "bpf_ms_5000", 0, 12.0),
                    sample("preload", "event/SCX_EV_X", 0, 5.0),
                ],
                ..Boot::default()
            }],
            ..Results::default()
        }
    }

    /// With a bypass row in which only one of two modes reaches the target.
    pub fn with_bypass() -> Results {
        let mut results = example();
        for (mode, value) in [("kernel", 0.875), ("soft", 0.0)] {
            results.modes.push(mode.into());
            results.boots[0].samples.push(Sample {
                scheduler: mode.into(),
                row: "bypass_20_idle".into(),
                repetition: 0,
                value,
            });
        }
        results
    }

    #[test]
    fn summaries() {
        assert_eq!(Summary::of(Vec::new()), None);
        let odd = Summary::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.spread, odd.count), (2.0, 1.0, 3));
        let even = Summary::of(vec![1.0, 2.0, 4.0, 3.0]).unwrap();
        assert_eq!((even.median, even.spread), (2.5, 1.2));
        assert_eq!(Summary::of(vec![0.0, 0.0]).unwrap().spread, 0.0);
    }

    #[test]
    fn ratios() {
        let results = example();
        let boot = &results.boots[0];
        assert_eq!(boot.ratio("ping_pong", "preload"), Some(2.0));
        assert_eq!(boot.ratio("odd_fair", "preload"), None);
        assert_eq!(boot.others(), ["event/SCX_EV_X"]);
    }

    #[test]
    fn json_can_be_read_again() {
        let text = example().json().unwrap();
        let again: Results = serde_json::from_str(&text).unwrap();
        assert_eq!(again.boots[0].samples.len(), 7);
        assert!(text.contains("\"to_eevdf\": 2.0"));
    }
}
