/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Per-CPU counters, so that counting never moves a cache line between CPUs. `scx_preload
 * status` sums them and takes their names from the BTF of struct preload_stats and enum
 * preload_hook. The rodata variable `stats_enabled` turns counting off at load time; the
 * verifier then removes the code.
 */
#ifndef SCX_PRELOAD_STATS_BPF_H
#define SCX_PRELOAD_STATS_BPF_H

#include <bpf/bpf_helpers.h>

#include "hooks.bpf.h"

struct preload_hook_stats {
	/*
	 * Calls of the hook, whether or not it is overridden; hook_enqueue() and
	 * hook_dispatch() are called only if they are.
	 */
	u64 calls;
	u64 dfl; /* calls of the default body by the override */
	u64 bad; /* results out of range, replaced by safe ones */
};

struct preload_stats {
	u64 wakeup_idle; /* wakeups that found an idle CPU */
	u64 wakeup_preempt; /* wakeups that preempted the running task */
	u64 enqueue_llc; /* tasks inserted into an LLC's DSQ */
	u64 enqueue_own; /* tasks inserted into an override's own DSQ */
	u64 enqueue_cpu; /* tasks allowed on one CPU only, inserted into its DSQ */
	u64 enqueue_affine; /* tasks not allowed on all CPUs of the LLC, inserted into a CPU's DSQ */
	u64 dispatch_llc; /* tasks taken from the DSQ of the CPU's own LLC */
	u64 dispatch_cpu; /* tasks taken from the CPU's own DSQs */
	u64 dispatch_keep; /* dispatches at which the running task continued */
	u64 dispatch_overdue; /* tasks that had waited too long, ahead of others */
	u64 newidle_steal; /* tasks that a newly idle CPU took from another LLC or CPU */
	u64 balance_pull; /* the same of a busy CPU, as they were behind */
	u64 kick_idle; /* idle CPUs woken for a queued task */
	u64 leave_core; /* tasks alone on a CPU that were moved to a better one */
	u64 leave_pressed; /* idle CPUs passed over for one that RT and interrupts use less */
	u64 cpuperf_set; /* changes of a CPU's performance target */
	u64 bypass_rescue; /* tasks taken from an override's DSQs and data */
	u64 no_storage; /* failed allocations of per-task data */
	struct preload_hook_stats hooks[PRELOAD_NR_HOOKS];
};

struct preload_stats_map {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct preload_stats);
};

extern struct preload_stats_map preload_stats SEC(".maps");
extern const volatile bool stats_enabled;
extern const volatile u64 overridden_hooks;

/* Set for defaults that are loaded alone: verifying code for overrides takes time. */
#ifdef PRELOAD_ALONE
#define PRELOAD_OVERRIDDEN 0ULL
#else
#define PRELOAD_OVERRIDDEN overridden_hooks
#endif

static __always_inline struct preload_stats *this_cpu_stats(void)
{
	u32 zero = 0;

	return stats_enabled ? bpf_map_lookup_elem(&preload_stats, &zero) : NULL;
}

#define preload_count(field)                                                                       \
	do {                                                                                       \
		struct preload_stats *__stats = this_cpu_stats();                                  \
		if (__stats)                                                                       \
			__stats->field++;                                                          \
	} while (0)

/*
 * For default bodies. If the hook is not overridden, each call of the hook is a call of
 * its default body and need not be counted twice.
 */
#define preload_count_dfl(hook)                                                                    \
	do {                                                                                       \
		if (PRELOAD_OVERRIDDEN & (1ULL << (hook)))                                         \
			preload_count(hooks[hook].dfl);                                            \
	} while (0)

/*
 * For rare events: a call of a global function, which is verified once and not at each
 * call site.
 */
#define preload_count_rare(field)                                                                  \
	do {                                                                                       \
		if (stats_enabled)                                                                 \
			preload_count_nth(offsetof(struct preload_stats, field) / sizeof(u64));    \
	} while (0)

void preload_count_nth(u32 nth);

#endif
