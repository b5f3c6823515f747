// SPDX-License-Identifier: GPL-2.0-only
//! State of soft bypass: our BPF code skips overrides and lets the defaults decide. Not
//! the kernel's bypass, scx_bypass().

use scx_preload_defaults::HOOKS;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::btf;

/// `enum preload_bypass_reason`
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BypassReason {
    /// Results of a hook were out of range.
    Bad,
    /// A runnable task did not run for too long.
    Stall,
    /// A CPU spent too much time in a hook.
    Slow,
    /// An override requested it.
    Override,
    /// The user requested it.
    User,
}

/// Soft bypass began or ended.
#[derive(Clone, Debug, Serialize)]
pub struct BypassChange {
    /// When, in seconds since boot as in dmesg.
    pub at: f64,
    /// Why it began; none if it ended.
    pub reason: Option<BypassReason>,
    /// The reason and its details as text.
    pub text: String,
}

/// State of the soft bypass.
#[derive(Clone, Debug, Serialize)]
pub struct SoftBypass {
    /// Whether there are overrides to bypass.
    pub watched: bool,
    /// Why it is on; none if it is off.
    pub on: Option<BypassReason>,
    /// When it ends by itself, in seconds since boot; none if it does not.
    pub until: Option<f64>,
    /// How often it has begun, not counting forgotten ones.
    pub times: u32,
    /// Changes since the load.
    pub changes: u32,
    /// The latest changes, oldest first.
    pub log: Vec<BypassChange>,
}

#[derive(Deserialize)]
struct RawSoftBypass {
    on: u32,
    until: u64,
    times: u32,
    seq: u32,
    since: u64,
    changes: Vec<RawChange>,
}

#[derive(Deserialize)]
struct RawChange {
    at: u64,
    waited: u64,
    reason: u32,
    hook: usize,
    pid: i32,
    cpu: i32,
    why: RawWhy,
}

#[derive(Deserialize)]
struct RawWhy {
    text: Vec<i8>,
}

impl BypassReason {
    fn from_number(number: u32) -> Option<Self> {
        use BypassReason::*;
        let all = [Bad, Stall, Slow, Override, User];
        all.get((number as usize).checked_sub(1)?).copied()
    }
}

impl RawChange {
    fn text(&self) -> String {
        let hook = HOOKS.get(self.hook).map_or("a hook", |hook| hook.name);
        let why = btf::text(&self.why.text);
        let cpu = self.cpu;
        match BypassReason::from_number(self.reason) {
            None => "overrides are called again".into(),
            Some(BypassReason::Bad) => format!("{hook} returned results out of range on CPU {cpu}"),
            Some(BypassReason::Stall) => format!(
                "{why}[{}] was runnable on CPU {cpu} for {} ms without running",
                self.pid,
                self.waited / 1_000_000
            ),
            Some(BypassReason::Slow) => format!("{hook} takes too much time of CPU {cpu}"),
            Some(BypassReason::Override) => format!("an override asked for it: {why}"),
            Some(BypassReason::User) => "scx_preload bypass on".into(),
        }
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

impl SoftBypass {
    /// From `struct preload_bypass`; none if the scheduler has no such variable.
    pub(crate) fn from_value(value: Value) -> Option<Self> {
        let raw: RawSoftBypass = serde_json::from_value(value).ok()?;
        let on = BypassReason::from_number(raw.on);
        let kept = raw.changes.len().max(1) as u32;
        let log = (raw.seq.saturating_sub(kept)..raw.seq)
            .filter_map(|n| raw.changes.get((n % kept) as usize))
            .map(|change| BypassChange {
                at: seconds(change.at),
                reason: BypassReason::from_number(change.reason),
                text: change.text(),
            });
        Some(SoftBypass {
            watched: raw.since != 0,
            on,
            until: (on.is_some() && raw.until != u64::MAX).then(|| seconds(raw.until)),
            times: raw.times,
            changes: raw.seq,
            log: log.collect(),
        })
    }

    /// Why it is on, as text; none if it is off.
    pub fn why(&self) -> Option<&str> {
        self.on?;
        self.log.last().map(|change| change.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(at: u64, reason: u32, hook: usize, why: &str) -> Value {
        let mut text: Vec<i8> = why.bytes().map(|byte| byte as i8).collect();
        text.resize(48, 0);
        json!({
            "at": at, "waited": 1_200_000_000u64, "reason": reason, "hook": hook,
            "pid": 7, "cpu": 3, "why": { "text": text },
        })
    }

    #[test]
    fn log_is_text_in_order() {
        let bypass = SoftBypass::from_value(json!({
            "on": 2, "until": u64::MAX, "times": 5, "seq": 3, "since": 1,
            "changes": [change(3_000_000_000, 2, 0, "cc1"), change(2_000_000_000, 0, 0, "")],
        }))
        .unwrap();
        assert_eq!((bypass.on, bypass.until), (Some(BypassReason::Stall), None));
        let texts: Vec<&str> = bypass.log.iter().map(|c| c.text.as_str()).collect();
        let stall = "cc1[7] was runnable on CPU 3 for 1200 ms without running";
        assert_eq!(texts, ["overrides are called again", stall]);
        assert_eq!(bypass.why(), Some(stall));
    }

    #[test]
    fn names_the_hook() {
        let raw = json!({
            "on": 0, "until": 0, "times": 1, "seq": 1, "since": 1, "changes": [change(1, 1, 1, "")],
        });
        let bypass = SoftBypass::from_value(raw).unwrap();
        assert_eq!(bypass.why(), None);
        let text = &bypass.log[0].text;
        assert!(text.starts_with(HOOKS[1].name), "{text}");
    }
}
