/* SPDX-License-Identifier: GPL-2.0-only */
/* CPUs of nohz_full=, whose tick stops while a task runs alone. */
#ifndef SCX_PRELOAD_NOHZ_BPF_H
#define SCX_PRELOAD_NOHZ_BPF_H

#include "internal.bpf.h"

static __always_inline bool is_nohz(s32 cpu)
{
	return preload_topology.nr_nohz && preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].nohz;
}

/* Is the task being enqueued on @cpu the one that start_endless() marked? True once. */
static __always_inline bool test_and_clear_restart(s32 cpu)
{
	return test_and_clear_mark(&preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].restart);
}

/* Does @rq's CPU run a task with an infinite slice? The idle task has none. */
static __always_inline bool runs_endless(const struct rq *rq)
{
	return rq->curr->scx.slice == PRELOAD_SLICE_INF;
}

/* The same for @cpu, whose clock stands still meanwhile. */
static __always_inline bool is_endless(s32 cpu)
{
	const struct rq *rq = is_nohz(cpu) ? cpu_rq(cpu) : NULL;

	return rq && runs_endless(rq);
}

bool is_alone(struct task_struct *p __arg_trusted, s32 cpu);
bool start_endless(struct task_struct *p __arg_trusted, s32 cpu, u64 slice);
void kick_endless(s32 cpu);
void kick_endless_late(s32 cpu);

/* A task is about to wait for @cpu. */
static __always_inline void end_endless(s32 cpu)
{
	if (is_nohz(cpu))
		kick_endless(cpu);
}

static __always_inline void nohz_tick(s32 cpu)
{
	if (is_nohz(cpu))
		kick_endless_late(cpu);
}

#endif
