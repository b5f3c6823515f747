/* SPDX-License-Identifier: GPL-2.0-only */
/* What the defaults' own files share with each other and with nobody else. */
#ifndef SCX_PRELOAD_INTERNAL_BPF_H
#define SCX_PRELOAD_INTERNAL_BPF_H

#include "scx_preload/hooks.bpf.h"
#include "scx_preload/kernel.bpf.h"
#include "scx_preload/stats.bpf.h"
#include "scx_preload/topology.bpf.h"

#define NSEC_PER_USEC 1000ULL
#define NSEC_PER_MSEC 1000000ULL

/* topology.bpf.c: functions of their own, so that they are verified once */
u32 llc_index(s32 cpu);
s32 core_of(s32 cpu);
void llc_mask_set(u32 llc, s32 cpu, bool set);
u16 bounded_capacity(s32 cpu);
void leave_llc(s32 cpu);
void topology_reset_cpu(s32 cpu);
s32 topology_add_cpu(s32 cpu);
s32 topology_refresh(void);
void topology_cpu_offline(s32 cpu);

/* idle.bpf.c */
s32 idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags);

/* queue.bpf.c */
#define PRELOAD_DSQ_LLC(llc) ((u64)(llc))
#define PRELOAD_DSQ_CPU(cpu) ((u64)(cpu) | (1ULL << 32))
#define PRELOAD_DSQ_BUILTIN bpf_core_enum_value(enum scx_dsq_id_flags, SCX_DSQ_FLAG_BUILTIN)

extern const volatile u64 slice_ns;

s32 create_queues(s32 cpu);
void advance_clock(u32 llc, u64 vtime, u64 most);
u64 task_start(struct task_struct *p __arg_trusted);
u64 task_slice(struct task_struct *p __arg_trusted, s32 cpu);
u64 task_key(struct task_struct *p __arg_trusted, s32 cpu, u64 slice, u64 enq_flags);
bool preempts(struct task_struct *p __arg_trusted, s32 cpu, u64 key);
u32 task_llc(struct task_struct *p __arg_trusted, s32 cpu);
bool has_pinned(s32 cpu);
void enqueue_task(struct task_struct *p __arg_trusted, s32 cpu, u64 enq_flags);

/*
 * May @llc's queue have tasks? A CPU that goes idle asks this about all of them.
 * A task that is queued while another CPU finds the queue empty can be missed;
 * its own LLC's CPUs and the turns of the others find it.
 */
static __always_inline bool llc_has_waiting(u32 llc)
{
	return preload_llcs[llc & (PRELOAD_MAX_LLCS - 1)].waiting;
}

static __always_inline void llc_drained(u32 llc)
{
	preload_llcs[llc & (PRELOAD_MAX_LLCS - 1)].waiting = 0;
}

/* overdue.bpf.c */
bool dispatch_overdue(s32 cpu);

/* balance.bpf.c */
u32 balance_turn(void);
s32 steal_llc(s32 cpu, u32 nth);
s32 balance_llc(s32 cpu, u32 turn);

#endif
