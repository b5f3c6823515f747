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

/* For unsigned values: arithmetic, so that the verifier need not follow two ways. */
static __always_inline u64 min(u64 a, u64 b)
{
	return b + ((a - b) & -(u64)(a < b));
}

static __always_inline u64 max(u64 a, u64 b)
{
	return b + ((a - b) & -(u64)(a > b));
}

/* topology.bpf.c: functions of their own, so that they are verified once */
u32 llc_index(s32 cpu);
s32 core_of(s32 cpu);
void llc_mask_set(u32 llc, s32 cpu, bool set);
u16 bounded_capacity(s32 cpu);
u16 bounded_priority(s32 cpu);
u32 topology_distance(s32 cpu, u32 other);
void topology_add_near(u32 llc, u32 other, u32 level);
void topology_sort_near(s32 cpu);
void topology_finish_cpu(s32 cpu);
void leave_llc(s32 cpu);
void topology_reset_cpu(s32 cpu);
s32 topology_add_cpu(s32 cpu);
s32 topology_refresh(void);
void topology_cpu_offline(s32 cpu);

/* idle.bpf.c */
bool is_misfit(struct task_struct *p __arg_trusted, s32 cpu);
s32 idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags);

/* cgroup.bpf.c */
#define PRELOAD_MAX_GROUPS 4096
#define PRELOAD_CGROUP_ONE (1ULL << 12)

u64 group_scale(struct task_struct *p __arg_trusted);
void group_account(struct task_struct *p __arg_trusted, u64 ns);

/*
 * The root cgroup has number 1; the groups of CONFIG_SCHED_AUTOGROUP have none. Of
 * more cgroups than there is room for, the last have no weight.
 */
static __always_inline bool is_group(u32 css_id)
{
	return css_id > 1 && css_id < PRELOAD_MAX_GROUPS;
}

/* Is @p in a cgroup that has a weight? Not with the cpu controller off. */
static __always_inline bool in_group(struct task_struct *p)
{
	return bpf_core_field_exists(p->sched_task_group->scx.weight) &&
	       is_group(p->sched_task_group->css.id);
}

/* power.bpf.c */
/* A tick at 100 Hz, the longest. */
#define TICK_MAX_NS (10 * NSEC_PER_MSEC)

u64 power_tick(s32 cpu);
void set_perf(s32 cpu, u32 util);

/* queue.bpf.c */
#define PRELOAD_DSQ_LLC(llc) ((u64)(llc))
#define PRELOAD_DSQ_CPU(cpu) ((u64)(cpu) | (1ULL << 32))
#define PRELOAD_DSQ_BUILTIN bpf_core_enum_value(enum scx_dsq_id_flags, SCX_DSQ_FLAG_BUILTIN)

extern const volatile u64 slice_ns;

s32 create_queues(s32 cpu);
void advance_clock(u32 llc, u64 vtime, u64 most);

/* Who wakes whom, see task_bond(). */
enum bond {
	BOND_NONE,
	BOND_ONE_WAY, /* the waker wakes this task only */
	BOND_MUTUAL, /* and the other way round */
};

u32 task_bond(struct task_struct *p __arg_trusted);
u64 task_start(struct task_struct *p __arg_trusted);
u64 task_slice(struct task_struct *p __arg_trusted, s32 cpu);
u64 task_key(struct task_struct *p __arg_trusted, s32 cpu, u64 slice, u64 enq_flags);
bool preempts(struct task_struct *p __arg_trusted, s32 cpu, u64 key);
u32 task_llc(struct task_struct *p __arg_trusted, s32 cpu);
bool has_pinned(s32 cpu);
void account_group(struct task_struct *p __arg_trusted, u64 least);
void enqueue_task(struct task_struct *p __arg_trusted, s32 cpu, u64 enq_flags);

/*
 * LLCs whose queues may have tasks, a bit each (more than 64 share them): what a CPU
 * that goes idle looks at, and seldom written, like the root domain's `overloaded`
 * in kernel/sched/sched.h. A task that is queued while another CPU finds the queue
 * empty can be missed; its own LLC's CPUs and the turns of the others find it.
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

/* overdue.bpf.c */
bool dispatch_overdue(s32 cpu);

/* balance.bpf.c */
u32 balance_turn(void);
u64 near_load(u32 llc, u32 nth);
s32 busiest_near(s32 cpu);
s32 steal_llc(s32 cpu, u32 nth);
s32 balance_llc(s32 cpu, u32 turn);

#endif
