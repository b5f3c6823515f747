/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's run queues and tasks, beyond cpu_rq() of the contract. */
#ifndef SCX_PRELOAD_RQ_BPF_H
#define SCX_PRELOAD_RQ_BPF_H

#include "internal.bpf.h"

/* Not in BTF: lower priorities are RT and deadline. */
#define MAX_RT_PRIO 100

/*
 * Is @p bound to its CPU for now? Its mask says so, nr_cpus_allowed does not. The calling
 * program has itself disabled migration of the current task, once.
 */
static __always_inline bool is_migration_disabled(struct task_struct *p)
{
	return p->migration_disabled > (p == bpf_get_current_task_btf());
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
