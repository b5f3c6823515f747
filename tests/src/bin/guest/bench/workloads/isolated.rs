// SPDX-License-Identifier: GPL-2.0-only
//! A hog alone on a CPU of `nohz_full=`, where the kernel can do without a tick.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use scx_preload_tests::bench::ISOLATED;

use super::{Values, cpu_list, value};
use crate::hog::{Hog, Kind};
use crate::sys::{become_realtime, timer_interrupts};

const WINDOW: Duration = Duration::from_secs(10);

const SETTLE: Duration = Duration::from_secs(1);

pub fn run(scale: f64) -> Result<Values> {
    const PATH: &str = "/sys/devices/system/cpu/nohz_full";
    become_realtime()?;
    let list = fs::read_to_string(PATH).with_context(|| format!("cannot read {PATH}"))?;
    let cpus = cpu_list(&list)?;
    let cpu = *cpus.first().context("no CPU is nohz_full")?;
    let hog = Hog::start(Kind::default())?;
    hog.allow([cpu])?;
    sleep(SETTLE);
    let before = timer_interrupts(&[cpu])?;
    sleep(WINDOW.mul_f64(scale));
    let interrupts = timer_interrupts(&[cpu])? - before;
    Ok(vec![value(ISOLATED, interrupts as f64)])
}
