// SPDX-License-Identifier: GPL-2.0-only
//! CPUs that the kernel keeps apart from others.

use std::fs;

use serde::Serialize;

use crate::Error;

/// CPUs kept apart, as lists such as `0-3,8`; `None` where there are none.
#[derive(Clone, Debug, Serialize)]
pub struct Isolation {
    /// Without scheduling domains, by `isolcpus=`.
    pub isolcpus: Option<String>,
    /// Without scheduling domains, by isolated cpuset partitions.
    pub partitions: Option<String>,
    /// Those of `nohz_full=`.
    pub nohz_full: Option<String>,
}

impl Isolation {
    /// Read the lists.
    pub fn read() -> Self {
        let list = |path| {
            let list = fs::read_to_string(path).ok()?;
            // Of no CPUs, it is empty or "(null)".
            let is_list = list.starts_with(|first: char| first.is_ascii_digit());
            is_list.then(|| list.trim().to_owned())
        };
        Self {
            isolcpus: list("/sys/devices/system/cpu/isolated"),
            partitions: list("/sys/fs/cgroup/cpuset.cpus.isolated"),
            nohz_full: list("/sys/devices/system/cpu/nohz_full"),
        }
    }

    /// The reason why this kernel accepts no scheduler, if that is `isolcpus=`.
    pub(crate) fn refusal() -> Option<Error> {
        let cpus = Self::read().isolcpus?;
        Some(Error::Unsupported(format!(
            "it accepts none while isolcpus= isolates CPUs ({cpus}); remove isolcpus= from the \
             kernel command line and isolate them with a cpuset partition or nohz_full= instead"
        )))
    }
}
