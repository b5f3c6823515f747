/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Used by every floor: the contract, units and arithmetic. Each floor has a header that
 * lists what it offers to the floors above, and includes only headers of floors below:
 *
 *	settings, rq, stats, ticks	rodata set at load; the kernel's run queues; counters; waits
 *	topology			tables of CPUs, cores, LLCs and nodes
 *	guard				calling overrides, and when to stop calling them
 *	dsq				the DSQs: their IDs, which one a task waits on
 *	task, partner, cgroup		data of tasks; tasks that wake each other; cgroup weights
 *	nohz, vtime, slice		CPUs without a tick; order within a DSQ; how long a task runs
 *	balance, affinity, idle,	where a task runs: other LLCs, allowed CPUs, idle CPUs,
 *	active_balance			better cores
 *	overdue				the bound on starvation
 *	enqueue, dispatch		the two policies made of these
 *	bypass				from overrides to the defaults and back
 *	ops				the table and its callbacks
 *
 * power, lifecycle, handover and refresh stand beside.
 */
#ifndef SCX_PRELOAD_INTERNAL_BPF_H
#define SCX_PRELOAD_INTERNAL_BPF_H

#include "scx_preload/hooks.bpf.h"
#include "scx_preload/kernel.bpf.h"
#include "scx_preload/stats.bpf.h"
#include "scx_preload/topology.bpf.h"

#define NSEC_PER_USEC 1000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_SEC 1000000000ULL

/*
 * Use arguments that a default ignores. clang does not pass what a function of the same file
 * ignores, and the verifier then refuses the call.
 */
#define use_arg(arg) asm volatile("" : : "r"(arg))

/* On PREEMPT_RT, spin locks are mutexes. */
struct spinlock___rt {
	struct rt_mutex_base lock;
} __attribute__((preserve_access_index));

/* May BPF programs have timers? PREEMPT_RT refuses them. A constant. */
static __always_inline bool has_timers(void)
{
	return !bpf_core_field_exists(struct spinlock___rt, lock);
}

/* The mark is protected by the caller's lock. */
static __always_inline bool test_and_clear_mark(u16 *mark)
{
	bool set = *mark;

	if (set)
		*mark = 0;
	return set;
}

/* For unsigned values. Arithmetic, so that the verifier does not follow two branches. */
static __always_inline u64 min(u64 a, u64 b)
{
	return b + ((a - b) & -(u64)(a < b));
}

static __always_inline u64 max(u64 a, u64 b)
{
	return b + ((a - b) & -(u64)(a > b));
}

#endif
