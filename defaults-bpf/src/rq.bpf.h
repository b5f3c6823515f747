/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's run queues and tasks, beyond cpu_rq() of the contract. */
#ifndef SCX_PRELOAD_RQ_BPF_H
#define SCX_PRELOAD_RQ_BPF_H

#include "internal.bpf.h"

/* Not in BTF: lower priorities are RT and deadline. */
#define MAX_RT_PRIO 100

/* Weight of SCHED_IDLE and cpu.idle: WEIGHT_IDLEPRIO in kernel/sched/sched.h. */
#define PRELOAD_WEIGHT_IDLE 3

/* Weight of a task at nice 0, as the kernel's NICE_0_LOAD without its fixed point. */
#define PRELOAD_WEIGHT_ONE 1024

/* SCHED_BATCH and SCHED_IDLE are not in BTF. */
#define POLICY_NORMAL 0
#define POLICY_IDLE 5

extern const u32 preload_prio_weights[64];

/*
 * The weight that the fair class would give to @p. scx.weight is in hundredths of nice 0, and
 * 1 for all of nice 19, 18 and SCHED_IDLE.
 */
static __always_inline u32 task_weight(const struct task_struct *p)
{
	if (p->policy == POLICY_IDLE)
		return PRELOAD_WEIGHT_IDLE;
	return preload_prio_weights[(p->static_prio - MAX_RT_PRIO) & 63];
}

/*
 * Is @p bound to its CPU for now? Its mask says so, nr_cpus_allowed does not. The calling
 * program has itself disabled migration of the current task, once.
 */
static __always_inline bool is_migration_disabled(struct task_struct *p)
{
	return p->migration_disabled > (p == bpf_get_current_task_btf());
}

/* Not on every kernel. */
struct rq___irq {
	struct sched_avg avg_irq;
} __attribute__((preserve_access_index));

/* The share of RT, deadline and interrupts of @rq's CPU, of 1024. It stands still while idle. */
static __always_inline u64 util_of_others(const struct rq *rq)
{
	u64 util = rq->avg_rt.util_avg + rq->avg_dl.util_avg;

	if (bpf_core_field_exists(struct rq___irq, avg_irq))
		util += ((const struct rq___irq *)rq)->avg_irq.util_avg;
	return util;
}

/* More runnable tasks on a CPU than this are a crowd: bounds on their waits are tighter. */
#define CROWD 16

static __always_inline bool is_crowded(const struct rq *rq)
{
	return rq && rq->nr_running > CROWD;
}

/* @ns, or less in proportion if @rq is crowded. */
static __always_inline u64 per_crowd(u64 ns, const struct rq *rq)
{
	u32 nr = rq ? rq->nr_running : 0;

	return nr <= CROWD ? ns : ns * CROWD / nr;
}

/* Not in every configuration. */
struct task_struct___rcu {
	int rcu_read_lock_nesting;
} __attribute__((preserve_access_index));

/* Is @p within an RCU read-side critical section? Preempted there, it keeps others waiting. */
static __always_inline bool is_rcu_reader(const struct task_struct *p)
{
	return bpf_core_field_exists(struct task_struct___rcu, rcu_read_lock_nesting) &&
	       ((const struct task_struct___rcu *)p)->rcu_read_lock_nesting > 0;
}

static __always_inline const struct task_struct *runnable_task(const struct list_head *node)
{
	return bpf_rdonly_cast((void *)node -
				       bpf_core_field_offset(struct task_struct, scx.runnable_node),
			       bpf_core_type_id_kernel(struct task_struct));
}

/*
 * The task of @rq that has waited longest, or NULL: for its watchdog, the kernel keeps the
 * waiting tasks of a run queue in the order in which they began to wait.
 */
static __always_inline const struct task_struct *longest_waiting(const struct rq *rq)
{
	const struct list_head *first = rq->scx.runnable_list.next;

	return first == &rq->scx.runnable_list ? NULL : runnable_task(first);
}

#endif
