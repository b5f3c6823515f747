// SPDX-License-Identifier: GPL-2.0-only
/*
 * Earliest deadline first, as early versions of scx_flash and scx_beerland had it: a task's
 * deadline is the virtual time that it has used, plus its CPU time since it last slept. Of
 * the tasks that are below their share, those that soon sleep again run first, and those
 * that stay runnable take turns.
 *
 * The defaults also place a sleeper early, but limit its credit only at wakeup: after its
 * first slice the full credit counts, and tasks that wake up later wait until it is used
 * up. Here flash_lag_ns limits the credit for sleeping and the cost of staying runnable at
 * any time. Tasks that never sleep all pay the same cost, so their shares still go by
 * weight.
 *
 * Current scx_flash has, in place of the second term, a limit that grows with a task's
 * wakeup rate. That is not implemented, nor are its 0.7 ms slices, throttling and round
 * robin mode, nor scx_beerland's per-CPU DSQs. The first slice on a CPU that was idle does
 * not count as staying runnable, as no hook sees the task before it.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/storage.bpf.h>

char _license[] SEC("license") = "GPL";

/* Limit of the credit for sleeping and of the cost of staying runnable, virtual ns. */
const volatile u64 flash_lag_ns = 20 * 1000 * 1000;

struct flash_task {
	u64 sleeps; /* since fork, as of the last call */
	u64 woke_at; /* CPU time used before its last wakeup, ns */
};

PRELOAD_TASK_DATA(flash_tasks, struct flash_task);

u64 hook_task_vtime(struct task_struct *p __arg_trusted, u64 vtime, u64 clock, u64 enq_flags)
{
	u64 used = p->se.sum_exec_runtime, awake, earliest;
	struct flash_task *task = flash_tasks_get(p);

	if (!task)
		return dfl_task_vtime(p, vtime, clock, enq_flags);
	if (task->sleeps != p->nvcsw) {
		task->sleeps = p->nvcsw;
		task->woke_at = used;
	}
	awake = (used - task->woke_at) * 100 / (p->scx.weight ?: 1);
	if (awake > flash_lag_ns)
		awake = flash_lag_ns;
	/* The clock follows deadlines: a task that never sleeps has used flash_lag_ns less. */
	earliest = clock - 2 * flash_lag_ns;
	if (vtime_before(vtime, earliest))
		vtime = earliest;
	return vtime + awake;
}
