/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counters, one set a CPU, so that counting never moves a cache line between
 * CPUs. `scx_preload status` sums them up; it takes their names from the BTF of
 * struct preload_stats and enum preload_hook. The rodata variable `stats_enabled`
 * switches counting off at load time; the verifier then drops the code.
 */
#ifndef SCX_PRELOAD_STATS_BPF_H
#define SCX_PRELOAD_STATS_BPF_H

#include <bpf/bpf_helpers.h>

#include "hooks.bpf.h"

struct preload_hook_stats {
	/*
	 * The ops asked the hook, whoever defines it; for hook_enqueue() and
	 * hook_dispatch() only if they are overridden.
	 */
	u64 calls;
	u64 dfl; /* the override called the default body */
	u64 bad; /* the result was out of range and replaced by a safe one */
};

struct preload_stats {
	u64 wakeup_idle; /* wakeups that got an idle CPU at once */
	u64 wakeup_preempt; /* wakeups that ended the slice of a task that was behind */
	u64 enqueue_llc; /* tasks put into an LLC's queue */
	u64 enqueue_own; /* tasks put into a queue of an override's own */
	u64 enqueue_cpu; /* tasks allowed on one CPU only, put into its queue */
	u64 dispatch_llc; /* tasks taken from the queue of the CPU's own LLC */
	u64 dispatch_cpu; /* tasks taken from the CPU's own queue */
	u64 dispatch_keep; /* the running task was the one to run next */
	u64 dispatch_overdue; /* tasks that had waited too long, out of turn */
	u64 newidle_steal; /* tasks that a newly idle CPU took from another LLC */
	u64 balance_pull; /* tasks taken from another LLC because they were behind */
	u64 kick_idle; /* idle CPUs woken for a queued task */
	u64 leave_core; /* tasks alone on a CPU that were put on a better one */
	u64 leave_pressed; /* idle CPUs left for one that RT and interrupts use less */
	u64 cpuperf_set; /* changes of a CPU's performance target */
	u64 bypass_rescue; /* tasks taken from where an override had them */
	u64 no_storage; /* a task's own data could not be allocated */
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

/* Defaults that are loaded alone are compiled so: code for overrides costs time to load. */
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
 * For default bodies. Where nobody overrides the hook, each call of the hook is
 * one of its default body, and need not be counted twice.
 */
#define preload_count_dfl(hook)                                                                    \
	do {                                                                                       \
		if (PRELOAD_OVERRIDDEN & (1ULL << (hook)))                                         \
			preload_count(hooks[hook].dfl);                                            \
	} while (0)

/*
 * The same for what is rare: a call, which the verifier does not follow at each
 * place anew.
 */
#define preload_count_rare(field)                                                                  \
	do {                                                                                       \
		if (stats_enabled)                                                                 \
			preload_count_nth(offsetof(struct preload_stats, field) / sizeof(u64));    \
	} while (0)

void preload_count_nth(u32 nth);

#endif
