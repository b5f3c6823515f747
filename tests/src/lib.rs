// SPDX-License-Identifier: GPL-2.0-only
//! What the guest tells the host: one JSON object a line over the second
//! serial port. The port is not the console, so nothing else writes to it.

pub mod bench;
pub mod docs;

use serde::{Deserialize, Serialize};

/// The guest's end of the report port.
pub const PORT: &str = "/dev/ttyS1";

/// One line of the report.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Report {
    /// A test begins. Without it a hang could not be put down to a test.
    Start {
        /// Full name: boot/suite/test.
        name: String,
    },
    /// A test has ended.
    Result {
        /// Full name: boot/suite/test.
        name: String,
        /// How long it took.
        ms: u64,
        /// What it printed, its error last; `None` when it passed.
        error: Option<String>,
    },
    /// One value that a benchmark has measured.
    Sample {
        /// The scheduler that ran meanwhile, as the command line named it.
        scheduler: String,
        /// Name of the value, see [`bench::rows`], or of a counter beside them.
        row: String,
        /// The first is 0.
        repetition: u32,
        /// In the row's unit.
        value: f64,
    },
    /// Something to show as it is.
    Text {
        /// One line without its end.
        line: String,
    },
    /// The run is complete. A boot without it has failed, whatever came before.
    Done,
}
