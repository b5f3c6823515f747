// SPDX-License-Identifier: GPL-2.0-only
//! Progress output: a single line that is updated on a terminal, otherwise a line per
//! scheduler and repetition.

use std::collections::HashMap;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

pub struct Progress {
    begin: Instant,
    /// The current step and when it started.
    current: (String, Instant),
    /// The workloads and how many times each is to be run, without the warm-up.
    due: Vec<(&'static str, usize)>,
    /// Total time of each workload so far, and how many times it has run.
    spent: HashMap<String, (Duration, usize)>,
    last_turn: String,
    terminal: bool,
}

impl Progress {
    pub fn new(due: Vec<(&'static str, usize)>) -> Self {
        Progress {
            begin: Instant::now(),
            current: ("boot".into(), Instant::now()),
            due,
            spent: HashMap::new(),
            last_turn: String::new(),
            terminal: stdout().is_terminal(),
        }
    }

    /// The current step.
    pub fn current(&self) -> &str {
        &self.current.0
    }

    /// Starts REPETITION/SCHEDULER/WORKLOAD.
    pub fn start(&mut self, name: String) {
        let turn = name.rsplit_once('/').map_or("", |(turn, _)| turn);
        let status = self.status(&name);
        if self.terminal {
            print!("\r{status}\x1b[K");
        } else if turn != self.last_turn {
            println!("{status}");
        }
        let _ = stdout().flush();
        self.last_turn = turn.into();
        self.current = (name, Instant::now());
    }

    fn status(&self, name: &str) -> String {
        let name = match name.split_once('/') {
            Some((number, rest)) if number.parse::<u32>().is_ok() => {
                let number = number.parse::<u32>().unwrap_or_default() + 1;
                format!("repetition {number}, {}", rest.replace('/', ", "))
            }
            _ => name.replace('/', ", "),
        };
        let elapsed = self.begin.elapsed().as_secs();
        let left = match self.left() {
            Some(left) => format!(", about {} s left", left.as_secs()),
            None => String::new(),
        };
        format!("  {name}; {elapsed} s{left}")
    }

    pub fn end(&mut self) {
        let (name, since) = &self.current;
        let workload = name.rsplit('/').next().unwrap_or_default();
        let spent = self.spent.entry(workload.into()).or_default();
        spent.0 += since.elapsed();
        spent.1 += 1;
    }

    /// Estimate from the times so far; `None` until each workload has run.
    fn left(&self) -> Option<Duration> {
        let mut left = Duration::ZERO;
        for (workload, due) in &self.due {
            let (spent, runs) = self.spent.get(*workload)?;
            left += spent.div_f64(*runs as f64) * due.saturating_sub(*runs) as u32;
        }
        Some(left)
    }

    /// Prints a permanent line.
    pub fn say(&self, line: &str) {
        self.finish();
        println!("  {line}");
    }

    /// Clears the status line for other output.
    pub fn finish(&self) {
        if self.terminal {
            print!("\r\x1b[K");
        }
    }
}
