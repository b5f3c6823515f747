// SPDX-License-Identifier: GPL-2.0-only
//! Names and numbers that the kernel, the BPF side, other programs and later runs of this
//! one rely on.

use std::time::Duration;

/// Name of our ops, as in `/sys/kernel/sched_ext/root/ops`.
pub const OPS: &str = "preload";

/// Struct of the kernel that holds a scheduler's callbacks.
pub(crate) const OPS_TYPE: &str = "sched_ext_ops";

/// BTF of the running kernel.
pub const VMLINUX_BTF: &str = "/sys/kernel/btf/vmlinux";

/// An administrator's own scheduler, for the boot.
pub const BOOT_OBJECT: &str = "/etc/scx_preload/scheduler.bpf.o";

/// Enabling and disabling walk every task, which takes a moment under load. Less than the
/// unit's TimeoutStartSec=, so that the error message is ours.
pub(crate) const STATE_LIMIT: Duration = Duration::from_secs(10);

/// Mount point of the BPF file system.
pub(crate) const BPFFS: &str = "/sys/fs/bpf";

/// Directory of our pins, mode 0700.
pub const PIN_DIR: &str = "/sys/fs/bpf/scx_preload";

/// Pins of the loaded scheduler, attached or not. They appear and disappear together.
pub const LOADED_DIR: &str = "/sys/fs/bpf/scx_preload/loaded";

/// Pins of a load in progress, or those that it has replaced.
pub(crate) const LOADING_DIR: &str = "/sys/fs/bpf/scx_preload/loading";

/// The pinned link. It keeps the scheduler attached without a process.
pub const LINK_PIN: &str = "/sys/fs/bpf/scx_preload/loaded/link";

/// The pinned struct_ops map, which any process can attach again.
pub const OPS_PIN: &str = "/sys/fs/bpf/scx_preload/loaded/ops";

/// The pinned map of [`crate::state::history`].
pub(crate) const HISTORY_PIN: &str = "/sys/fs/bpf/scx_preload/history";

/// The pinned map of [`crate::scheduler::lb_interval`].
pub(crate) const LB_INTERVAL_PIN: &str = "/sys/fs/bpf/scx_preload/interval";

/// Prefix of our maps of global variables: `preload.bss`, `preload.rodata`.
pub(crate) const MAP_PREFIX: &str = "preload";

/// The struct_ops map. The BPF side does not give way to this name.
pub(crate) const OPS_MAP: &str = "preload_ops";

/// Maps with timers and work, and the names of their pins. When user space holds no reference
/// to such a map, the kernel cancels them.
pub(crate) const PINNED_MAPS: [(&str, &str); 3] = [
    // Watches overrides.
    ("preload_watch", "watch"),
    // Lowers the performance targets of idle CPUs.
    ("preload_lowering", "lowering"),
    // Reads the topology again.
    ("preload_refresh", "refresh"),
];

/// The map that takes the user's requests for soft bypass.
pub(crate) const WISHES_MAP: &str = "preload_wishes";

/// The per-CPU counters.
pub(crate) const STATS_MAP: &str = "preload_stats";

/// The rodata variable with the overridden hooks: bit n for hook n of the catalog.
pub(crate) const OVERRIDDEN_HOOKS: &str = "overridden_hooks";

/// The rodata variable with the DSQs that overrides ask for.
pub(crate) const OWN_QUEUES: &str = "own_queues";

/// The rodata variable with the version of the hook contract.
pub(crate) const CONTRACT_VERSION_VARIABLE: &str = "contract_version";

/// A program beside the scheduler that notices other schedulers, sysrq-S or new scheduling
/// domains.
pub(crate) struct ProgramBeside {
    pub name: &'static str,
    /// Name of its link's pin.
    pub pin: &'static str,
    /// Programs before it in [`PROGRAMS_BESIDE`] without which it must not be attached.
    pub needs: &'static [&'static str],
    /// What happens without it.
    pub without: &'static str,
}

const MAY_FAIL: &str =
    "other schedulers may fail to start while ours runs, unless with `scx_preload run`";

pub(crate) const PROGRAMS_BESIDE: [ProgramBeside; 6] = [
    ProgramBeside {
        name: "preload_domains",
        pin: "domains",
        needs: &[],
        without: "changes of cpuset partitions or CPU ranks are not noticed until the next load",
    },
    ProgramBeside {
        name: "preload_sysrq",
        pin: "sysrq",
        needs: &[],
        without: "ours may come back after sysrq-S has ended another scheduler",
    },
    ProgramBeside {
        name: "preload_gave_way",
        pin: "gave_way",
        needs: &[],
        without: MAY_FAIL,
    },
    ProgramBeside {
        name: "preload_give_way",
        pin: "give_way",
        needs: &["preload_gave_way"],
        without: MAY_FAIL,
    },
    ProgramBeside {
        name: "preload_left",
        pin: "left",
        needs: &["preload_give_way"],
        without: MAY_FAIL,
    },
    ProgramBeside {
        name: "preload_wait",
        pin: "wait",
        needs: &["preload_left"],
        without: MAY_FAIL,
    },
];

/// Exit code of this program on a kernel that cannot run sched_ext schedulers. Wrong usage
/// is 2, by clap, and every other failure 1.
pub const EXIT_UNSUPPORTED: u8 = 3;

/// `SCX_EXIT_UNREG`: the link is gone.
pub(crate) const EXIT_UNREG: u64 = 64;

/// `SCX_EXIT_UNREG_BPF`: a BPF program called scx_bpf_exit().
pub(crate) const EXIT_UNREG_BPF: u64 = 65;

/// `SCX_EXIT_SYSRQ`: sysrq-S was pressed.
pub(crate) const EXIT_SYSRQ: u64 = 67;

/// `PRELOAD_EXIT_GIVE_WAY`: the code of scx_bpf_exit() when another scheduler is loading.
pub(crate) const EXIT_GIVE_WAY: i64 = 0x6769_7665;
