// SPDX-License-Identifier: GPL-2.0-only
//! `scx_preload status`

use std::fmt::Write;

use scx_preload::abi::OPS;
use scx_preload::cli::StatusArgs;
use scx_preload::scheduler::lb_interval::LbInterval;
use scx_preload::scheduler::stands_by;
use scx_preload::state::bpffs;
use scx_preload::state::isolation::Isolation;
use scx_preload::state::live::Live;
use scx_preload::state::sched_ext::SchedExt;
use scx_preload::state::soft_bypass::SoftBypass;
use serde::Serialize;
use serde_json::{Map, Value};

use super::output;

#[derive(Serialize)]
struct Status {
    kernel: SchedExt,
    /// Whether our scheduler is running.
    ours: bool,
    pins: Vec<String>,
    /// Why the loaded scheduler is not attached.
    stands_by: Option<String>,
    /// The changed interval of the kernel's bypass.
    #[serde(rename = "kernel_bypass")]
    lb_interval: LbInterval,
    isolation: Isolation,
    #[serde(flatten)]
    live: Option<Live>,
}

pub fn run(args: &StatusArgs) -> anyhow::Result<()> {
    let kernel = SchedExt::read()?;
    let live = Live::read()?;
    let ours = kernel.runs(OPS) && live.is_some();
    let stands_by = match &live {
        Some(live) if !ours => Some(stands_by(&kernel, &live.departure)?),
        _ => None,
    };
    let status = Status {
        ours,
        stands_by,
        lb_interval: LbInterval::read()?,
        isolation: Isolation::read(),
        pins: bpffs::pins(),
        kernel,
        live,
    };
    if args.json {
        output::print_json(&status)
    } else {
        output::print(&text(&status)?)
    }
}

fn text(status: &Status) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let kernel = &status.kernel;
    let ops = kernel.ops.as_deref().unwrap_or("none");
    let whose = match (&kernel.ops, status.ours) {
        (None, _) => "",
        (_, true) => " (ours)",
        (_, false) => " (not ours)",
    };
    writeln!(out, "sched_ext   {}", kernel.state)?;
    writeln!(out, "scheduler   {ops}{whose}")?;
    writeln!(out, "enabled     {} times since boot", kernel.enable_seq)?;
    writeln!(out, "pins        {}", none_if_empty(status.pins.join(" ")))?;
    if let Some(why) = &status.stands_by {
        writeln!(out, "stands by   {why}")?;
    }
    let isolation = &status.isolation;
    for (name, cpus) in [
        ("isolcpus", &isolation.isolcpus),
        ("isolated", &isolation.partitions),
        ("nohz_full", &isolation.nohz_full),
    ] {
        if let Some(cpus) = cpus {
            writeln!(out, "{name:<11} CPUs {cpus}")?;
        }
    }
    let Some(live) = &status.live else {
        return Ok(out);
    };

    writeln!(out, "contract    {}", live.contract_version)?;
    let pairs = |map: &Map<String, Value>| {
        let pairs: Vec<_> = map.iter().map(|(k, v)| format!("{k}={v}")).collect();
        pairs.join(" ")
    };
    writeln!(out, "settings    {}", pairs(&live.settings))?;
    if !live.variables.is_empty() {
        writeln!(out, "variables   {}", pairs(&live.variables))?;
    }
    let count = |name: &str| live.topology[name].as_u64().unwrap_or(0);
    let llcs = llc_cpus(&live.topology);
    writeln!(
        out,
        "topology    {} CPUs online, {} cores, {} LLCs, {} nodes",
        count("nr_online"),
        count("nr_cores"),
        llcs.len(),
        count("nr_nodes")
    )?;
    for (llc, cpus) in llcs {
        writeln!(out, "  LLC {llc:<4}  CPUs {cpus}")?;
    }
    if live.departure.exit.kind != 0 {
        writeln!(
            out,
            "ended       kind {}, code {}; see dmesg",
            live.departure.exit.kind, live.departure.exit.code
        )?;
    }

    if let Some(bypass) = live
        .soft_bypass
        .as_ref()
        .filter(|bypass| bypass.changes > 0)
    {
        out.push_str(&bypass_text(bypass)?);
    }

    let mut rows = vec![
        ["HOOK", "CALLS", "DEFAULT", "BAD", "FROM"]
            .map(String::from)
            .to_vec(),
    ];
    for hook in &live.hooks {
        let origin = if hook.overridden {
            "override"
        } else {
            "default"
        };
        let file = hook
            .file
            .as_deref()
            .map(|f| format!(" {f}"))
            .unwrap_or_default();
        rows.push(vec![
            hook.name.into(),
            hook.calls.to_string(),
            hook.dfl.to_string(),
            hook.bad.to_string(),
            format!("{origin}{file}"),
        ]);
    }
    writeln!(out, "\n{}", output::table(&rows))?;

    let mut rows = vec![vec!["COUNTER".to_string(), "EVENTS".into()]];
    let counters = live.counters.iter();
    let events = kernel.events.iter().filter(|(_, count)| **count != 0);
    for (name, count) in counters.chain(events) {
        rows.push(vec![name.clone(), count.to_string()]);
    }
    out.push_str(&output::table(&rows));
    Ok(out)
}

fn bypass_text(bypass: &SoftBypass) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    write!(out, "soft bypass ")?;
    match (bypass.why(), bypass.until) {
        (None, _) => writeln!(out, "off")?,
        (Some(why), Some(until)) => writeln!(out, "on until [{until:.3}]: {why}")?,
        (Some(why), None) => writeln!(out, "on until `scx_preload bypass off`: {why}")?,
    }
    for change in &bypass.log {
        let what = if change.reason.is_some() { "on" } else { "off" };
        writeln!(out, "  [{:12.6}]  {what:<3}  {}", change.at, change.text)?;
    }
    Ok(out)
}

fn none_if_empty(text: String) -> String {
    if text.is_empty() { "none".into() } else { text }
}

/// Each LLC that has online CPUs, with these as ranges. An isolated CPU is one by itself.
fn llc_cpus(topology: &Value) -> Vec<(usize, String)> {
    let empty = Vec::new();
    let cpus = topology["cpus"].as_array().unwrap_or(&empty);
    let llcs = topology["nr_llcs"].as_u64().unwrap_or(0) as usize;
    (0..llcs)
        .map(|llc| {
            let mut ranges: Vec<(usize, usize)> = Vec::new();
            for (n, cpu) in cpus.iter().enumerate() {
                if cpu["online"] == 0 || cpu["llc"] != llc {
                    continue;
                }
                match ranges.last_mut() {
                    Some((_, last)) if *last + 1 == n => *last = n,
                    _ => ranges.push((n, n)),
                }
            }
            let range = |&(a, b): &(usize, usize)| match a == b {
                true => a.to_string(),
                false => format!("{a}-{b}"),
            };
            (llc, ranges.iter().map(range).collect::<Vec<_>>().join(","))
        })
        .filter(|(_, cpus)| !cpus.is_empty())
        .collect()
}
