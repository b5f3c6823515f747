// SPDX-License-Identifier: GPL-2.0-only
/* Settings of `scx_preload load --set`, and properties of the linked object. */
#include "vmlinux.h"

#include "settings.bpf.h"

char _license[] SEC("license") = "GPL";

/* Slice of a task, ns. */
const volatile u64 slice_ns = 5 * NSEC_PER_MSEC;

/* A task that has waited this long, ms, may run before its turn, see overdue.bpf.c. */
const volatile u64 overdue_ms = 1000;

/* How long a task may be runnable without running before soft bypass, ms; 0: no limit. */
const volatile u64 bypass_stall_ms = 1000;

/* Results out of range that a CPU may get within a second; 0: no limit. */
const volatile u64 bypass_bad_per_s = 100;

/* Share of a CPU's time that overrides may take, percent; 0: no limit. */
const volatile u64 bypass_slow_percent = 50;

/* Duration of the first soft bypass, ms; each further one lasts four times as long. */
const volatile u64 bypass_hold_ms = 1000;

/* From this one on, a soft bypass lasts until the user ends it; 0: never. */
const volatile u64 bypass_max = 5;

/* Count events and hook calls. If off, the verifier drops the code. */
const volatile bool stats_enabled = true;

/* The version of the contract, for `status`, which sees maps but no ELF sections. */
const volatile u32 contract_version = PRELOAD_CONTRACT_VERSION;

/* Bit n: hook n is overridden. The loader sets it from the symbols. */
const volatile u64 overridden_hooks;

/* The PRELOAD_OWN_QUEUES() of all overrides. */
const volatile struct preload_own_queues own_queues[PRELOAD_OWN_QUEUES_DECLS];
