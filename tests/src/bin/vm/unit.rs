// SPDX-License-Identifier: GPL-2.0-only
//! The workspace's unit tests, counted from cargo's summary lines.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::suites::{Failed, Tally};

pub fn run() -> Result<Tally> {
    println!("cargo test");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut child = Command::new(cargo)
        .args(["test", "--release", "--workspace", "--no-fail-fast"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let mut tally = Tally::default();
    let mut failed = 0;
    let out = child.stdout.take().context("cargo has no stdout")?;
    for line in BufReader::new(out).lines() {
        let line = line.context("cannot read the output of cargo")?;
        println!("  {line}");
        tally.passed += count(&line, "passed");
        failed += count(&line, "failed");
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        // Numbered, as cargo has printed the names.
        failed = failed.max(1);
        tally.failed = (1..=failed)
            .map(|n| Failed::new(format!("cargo test {n} of {failed}"), ""))
            .collect();
    }
    Ok(tally)
}

/// "test result: ok. 3 passed; 0 failed; 0 ignored; …"
fn count(line: &str, what: &str) -> usize {
    let Some(summary) = line.trim().strip_prefix("test result: ") else {
        return 0;
    };
    let counts = summary
        .split([';', '.'])
        .map(|part| part.trim().split_once(' '));
    counts
        .flatten()
        .find_map(|(n, w)| (w == what).then(|| n.parse().ok())?)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn summary_lines() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(count(line, "passed"), 12);
        assert_eq!(count(line, "failed"), 3);
        assert_eq!(count("test apt::tests::x ... ok", "passed"), 0);
    }
}
