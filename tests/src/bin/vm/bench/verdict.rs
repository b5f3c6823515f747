// SPDX-License-Identifier: GPL-2.0-only
//! Judges whether our scheduler reaches its targets.

use scx_preload_tests::bench::{Better, EEVDF, Row, SIMPLE, Target};

use super::results::Boot;

/// How much worse than the best peer a row may be, relative to it.
const TOLERANCE: f64 = 0.05;

/// The same as a difference, as shares near 0 have no useful ratio.
const SHARE_TOLERANCE: f64 = 0.02;

/// Verdict on one row of our scheduler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Reaches the target and the best peer.
    Ok,
    /// Misses one of them.
    Behind,
    /// Nothing to compare with.
    Open,
}

impl Verdict {
    /// For the tables.
    pub fn mark(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Behind => "behind",
            Verdict::Open => "",
        }
    }
}

/// The target for the tables.
pub fn target(row: &Row) -> String {
    let sign = match row.better {
        Better::Less => "≤",
        Better::More => "≥",
    };
    match row.target {
        Target::Open => String::new(),
        Target::Ratio(limit) if row.is_ratio => format!("{sign} {limit}"),
        Target::Ratio(limit) => format!("{sign} {limit} of EEVDF"),
        Target::Value(limit) => format!("{sign} {limit}"),
        Target::OfSimple(limit) => format!("{sign} {limit} of simple"),
    }
}

/// Compares a column of our scheduler with the target and the best peer.
pub fn judge(boot: &Boot, row: &Row, scheduler: &str, all: &[String]) -> Verdict {
    let Some(value) = boot.summary(row.name, scheduler).map(|s| s.median) else {
        return Verdict::Open;
    };
    let reached = match row.target {
        Target::Open => None,
        Target::Ratio(limit) => boot.ratio(row.name, scheduler).map(|r| (r, limit)),
        Target::Value(limit) => Some((value, limit)),
        Target::OfSimple(limit) => boot
            .ratio_to(row.name, scheduler, SIMPLE)
            .map(|r| (r, limit)),
    };
    let reached = reached.map(|(value, limit)| within(row, value, limit));
    let peer = best_peer(boot, row, all).map(|(_, best)| within(row, value, allowed(row, best)));
    match (reached, peer) {
        (None, None) => Verdict::Open,
        (Some(false), _) | (_, Some(false)) => Verdict::Behind,
        _ => Verdict::Ok,
    }
}

/// The best other sched_ext scheduler and its value.
pub fn best_peer<'a>(boot: &Boot, row: &Row, all: &'a [String]) -> Option<(&'a str, f64)> {
    let peers = all.iter().filter(|s| *s != EEVDF && !row.is_for(s));
    let values = peers.filter_map(|s| Some((s.as_str(), boot.summary(row.name, s)?.median)));
    match row.better {
        Better::Less => values.min_by(|a, b| a.1.total_cmp(&b.1)),
        Better::More => values.max_by(|a, b| a.1.total_cmp(&b.1)),
    }
}

fn within(row: &Row, value: f64, limit: f64) -> bool {
    match row.better {
        Better::Less => value <= limit,
        Better::More => value >= limit,
    }
}

fn allowed(row: &Row, best: f64) -> f64 {
    match row.better {
        Better::Less if row.unit.is_empty() && best < 1.0 => best + SHARE_TOLERANCE,
        Better::Less => best * (1.0 + TOLERANCE),
        Better::More => best * (1.0 - TOLERANCE),
    }
}

#[cfg(test)]
mod tests {
    use scx_preload_tests::bench::row;

    use super::super::results::Sample;
    use super::super::results::tests::{example, with_bypass};
    use super::*;

    #[test]
    fn targets() {
        let results = example();
        let boot = &results.boots[0];
        let of = |name| judge(boot, row(name).unwrap(), "preload", &results.schedulers);
        assert_eq!(of("ping_pong"), Verdict::Behind);
        assert_eq!(of("odd_fair"), Verdict::Ok);
        assert_eq!(of("bpf_ms_5000"), Verdict::Ok);
        assert_eq!(of("load_ms"), Verdict::Open);
    }

    #[test]
    fn modes_are_judged_by_the_target_alone() {
        let results = with_bypass();
        let (boot, row) = (&results.boots[0], row("bypass_20_idle").unwrap());
        let of = |mode| judge(boot, row, mode, &results.modes);
        assert_eq!(best_peer(boot, row, &results.modes), None);
        assert_eq!([of("kernel"), of("soft")], [Verdict::Behind, Verdict::Ok]);
    }

    #[test]
    fn a_better_peer() {
        let mut results = example();
        results.schedulers.push("bpfland".into());
        results.boots[0].samples.push(Sample {
            scheduler: "bpfland".into(),
            row: "bpf_ms_5000".into(),
            repetition: 0,
            value: 11.0,
        });
        let boot = &results.boots[0];
        let row = row("bpf_ms_5000").unwrap();
        assert_eq!(
            best_peer(boot, row, &results.schedulers),
            Some(("bpfland", 11.0))
        );
        assert_eq!(
            judge(boot, row, "preload", &results.schedulers),
            Verdict::Behind
        );
    }
}
