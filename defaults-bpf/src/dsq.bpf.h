/* SPDX-License-Identifier: GPL-2.0-only */
/* The DSQs that tasks wait on: one for each LLC, one for each CPU, and those of overrides. */
#ifndef SCX_PRELOAD_DSQ_BPF_H
#define SCX_PRELOAD_DSQ_BPF_H

#include "scx_preload/queues.bpf.h"

#include "internal.bpf.h"

#define PRELOAD_DSQ_CPU(cpu) ((u64)(cpu) | (1ULL << 32))

/* Is the DSQ one of the defaults'? */
static __always_inline bool is_default_dsq(u64 dsq)
{
	return dsq < PRELOAD_MAX_LLCS || dsq >> 32 == PRELOAD_DSQ_CPU(0) >> 32;
}

/*
 * LLCs whose DSQs may have tasks, a bit each (more than 64 LLCs share bits): read by newly
 * idle CPUs and rarely written, like the root domain's `overloaded` in kernel/sched/sched.h.
 * A task that is queued while another CPU finds the DSQ empty can be missed; the CPUs of its
 * own LLC and the balancing turns of others find it.
 */
extern u64 preload_waiting;

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

static __always_inline bool move_from_cpu(s32 cpu)
{
	if (!preload_dsq_move_to_local(PRELOAD_DSQ_CPU(cpu), 0))
		return false;
	preload_count_rare(dispatch_cpu);
	return true;
}

s32 create_dsqs(void);
s32 create_own_dsqs(void);
bool has_pinned(s32 cpu);
u64 task_dsq(struct task_struct *p __arg_trusted, s32 cpu);

#endif
