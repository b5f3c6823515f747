// SPDX-License-Identifier: GPL-2.0-only
//! The guest's report to the host: one JSON object per line over the second serial port. It is
//! not the console, so nothing else writes to it.

pub mod bench;
pub mod docs;
pub mod fair;

use serde::{Deserialize, Serialize};

/// The guest's end of the report port.
pub const PORT: &str = "/dev/ttyS1";

/// One line of the report.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Report {
    /// A test begins, so that a hang can be attributed to it.
    Start {
        /// Full name: boot/suite/test.
        name: String,
    },
    /// A test has ended.
    Result {
        /// Full name: boot/suite/test.
        name: String,
        /// Duration.
        ms: u64,
        /// Its output, the error last; `None` if it passed.
        error: Option<String>,
    },
    /// A value measured by the benchmark.
    Sample {
        /// The scheduler that was running, as the command line named it.
        scheduler: String,
        /// Name of a row, see [`bench::rows`], or of an additional counter.
        row: String,
        /// The first is 0.
        repetition: u32,
        /// In the row's unit.
        value: f64,
    },
    /// Output to print verbatim.
    Text {
        /// One line without the newline.
        line: String,
    },
    /// The run is complete. A boot that does not report it has failed.
    Done,
}
