// SPDX-License-Identifier: GPL-2.0-only
//! What the running scheduler goes through: open, load, attach, pin, hand over, come back.

mod attach;
mod boot_mode;
mod bypass_switch;
mod handover;
mod kernel_log;
pub mod lb_interval;
mod load;
mod lock;
mod open;
mod programs_beside;
mod resume;
mod settings;
mod unload;

pub use boot_mode::BootMode;
pub use bypass_switch::{BypassSwitch, switch_soft_bypass};
pub use handover::{hand_over, take_back};
pub use load::{LoadOutcome, When, load, verify};
pub use resume::{Resumed, hurry, resume, stands_by};
pub use settings::{Setting, set_rodata};
pub use unload::unload;
