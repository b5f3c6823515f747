// SPDX-License-Identifier: GPL-2.0-only
//! One subcommand a file, and what they share: `left_out` and `output`.

pub mod build;
pub mod bypass;
pub mod check;
pub mod hooks;
mod left_out;
pub mod link;
pub mod load;
pub mod new;
mod output;
pub mod resume;
pub mod run;
pub mod status;
pub mod unload;
pub mod verify;
