// SPDX-License-Identifier: GPL-2.0-only
//! The bypass modes: how each is loaded, started and ended.

use std::fs::{self, File};

use anyhow::{Context, Result, ensure};
use scx_preload_tests::bench::Bypass;

use super::scheduler::events;
use crate::preload::{LINKED, link};
use crate::sys::{BYPASS_LB_INTERVAL, HIBERNATION, SCX_PRELOAD, run_ok};

const STOCK_INTERVAL: &str = "500000";

/// Soft bypass needs an object with an override.
const OVERRIDE: &str = "stay_on_core";

/// Arguments of `scx_preload load`.
pub fn load_args(mode: Bypass) -> Result<Vec<String>> {
    if mode != Bypass::Soft {
        return Ok(Vec::new());
    }
    link(OVERRIDE)?;
    Ok(vec!["--object".into(), LINKED.into()])
}

/// To be called after the load, which sets our interval.
pub fn set_interval(mode: Bypass) -> Result<()> {
    match mode {
        Bypass::Kernel => fs::write(BYPASS_LB_INTERVAL, STOCK_INTERVAL)
            .context("cannot set the kernel bypass interval"),
        _ => Ok(()),
    }
}

/// An active mode.
pub enum Begun {
    Nothing,
    /// Lasts until the file is closed.
    Kernel(File),
    Soft,
}

impl Begun {
    pub fn begin(mode: Bypass) -> Result<Self> {
        match mode {
            Bypass::Defaults => Ok(Begun::Nothing),
            Bypass::Kernel | Bypass::KernelOurs => {
                let before = kernel_bypasses();
                let file = File::open(HIBERNATION)
                    .with_context(|| format!("cannot open {HIBERNATION}"))?;
                ensure!(kernel_bypasses() > before, "kernel bypass did not start");
                Ok(Begun::Kernel(file))
            }
            Bypass::Soft => {
                run_ok(SCX_PRELOAD, &["bypass", "on"])?;
                Ok(Begun::Soft)
            }
        }
    }

    pub fn end(self) -> Result<()> {
        match self {
            Begun::Nothing => Ok(()),
            Begun::Kernel(file) => {
                drop(file);
                Ok(())
            }
            Begun::Soft => run_ok(SCX_PRELOAD, &["bypass", "off"]).map(drop),
        }
    }
}

/// How many times the kernel has bypassed this scheduler.
fn kernel_bypasses() -> f64 {
    let events = events().into_iter();
    let mut counts = events.filter(|(name, _)| name == "event/SCX_EV_BYPASS_ACTIVATE");
    counts.next().map_or(0.0, |(_, count)| count)
}
