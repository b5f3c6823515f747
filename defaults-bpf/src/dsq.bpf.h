/* SPDX-License-Identifier: GPL-2.0-only */
/* The DSQs that tasks wait on: one for each LLC, two for each CPU, and those of overrides. */
#ifndef SCX_PRELOAD_DSQ_BPF_H
#define SCX_PRELOAD_DSQ_BPF_H

#include "scx_preload/queues.bpf.h"

#include "internal.bpf.h"

/* For tasks that may run on this CPU only, and for those that may run on some others. */
#define PRELOAD_DSQ_CPU(cpu) ((u64)(cpu) | (1ULL << 32))
#define PRELOAD_DSQ_AFFINE(cpu) ((u64)(cpu) | (2ULL << 32))

static __always_inline bool is_affine_dsq(u64 dsq)
{
	return dsq >> 32 == PRELOAD_DSQ_AFFINE(0) >> 32;
}

static __always_inline bool is_llc_dsq(u64 dsq)
{
	return dsq < PRELOAD_MAX_LLCS;
}

static __always_inline bool is_cpu_dsq(u64 dsq)
{
	return dsq >> 32 == PRELOAD_DSQ_CPU(0) >> 32 || is_affine_dsq(dsq);
}

/* Is the DSQ one of the defaults'? */
static __always_inline bool is_default_dsq(u64 dsq)
{
	return is_llc_dsq(dsq) || is_cpu_dsq(dsq);
}

/*
 * LLCs whose DSQs may have tasks, a bit each (more than 64 LLCs share bits): read by newly
 * idle CPUs and rarely written, like the root domain's `overloaded` in kernel/sched/sched.h.
 * A task that is queued while another CPU finds the DSQ empty can be missed; the CPUs of its
 * own LLC and the balancing turns of others find it.
 */
extern u64 preload_waiting;

/* Has any task ever waited on a CPU's DSQ for tasks with an affinity? */
extern bool preload_affine_used;

static __always_inline u64 llc_bit(u32 llc)
{
	return 1ULL << (llc & 63);
}

static __always_inline bool llc_has_waiting(u32 llc)
{
	return preload_waiting & llc_bit(llc);
}

static __always_inline void llc_set_waiting(u32 llc)
{
	if (!llc_has_waiting(llc))
		__sync_fetch_and_or(&preload_waiting, llc_bit(llc));
}

static __always_inline void llc_clear_waiting(u32 llc)
{
	if (llc_has_waiting(llc))
		__sync_fetch_and_and(&preload_waiting, ~llc_bit(llc));
}

/* IMMED: if RT takes the CPU, now or later, the task is enqueued again and may run elsewhere. */
static __always_inline bool move_from_llc(u32 llc)
{
	return preload_dsq_move_to_local(PRELOAD_DSQ_LLC(llc), PRELOAD_ENQ_IMMED);
}

/* From one of a CPU's DSQs to its local DSQ: not IMMED for tasks that cannot run elsewhere. */
static __always_inline bool move_from_cpu(u64 dsq)
{
	if (!preload_dsq_move_to_local(dsq, is_affine_dsq(dsq) ? PRELOAD_ENQ_IMMED : 0))
		return false;
	preload_count_rare(dispatch_cpu);
	return true;
}

/* May @cpu's DSQ for tasks with an affinity have some? Only few machines ever have any. */
static __always_inline bool has_affine(s32 cpu)
{
	return preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].affine;
}

s32 create_dsqs(void);
s32 create_own_dsqs(void);
bool has_pinned(s32 cpu);
bool is_affine(struct task_struct *p __arg_trusted, s32 cpu);
u64 task_dsq(struct task_struct *p __arg_trusted, s32 cpu);
void note_waiting_elsewhere(u64 dsq);
s32 next_affine(s32 after);
void forget_affine(s32 cpu);

/*
 * Mark @dsq, into which a task is about to be inserted. CPUs look at many DSQs only while
 * marks say that they may have tasks.
 */
static __always_inline void note_waiting(u64 dsq)
{
	if (is_llc_dsq(dsq)) {
		preload_count(enqueue_llc);
		llc_set_waiting(dsq);
	} else {
		note_waiting_elsewhere(dsq);
	}
}

#endif
