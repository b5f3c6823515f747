// SPDX-License-Identifier: GPL-2.0-only
/*
 * Earliest deadline first, as scx_flash and scx_beerland began: the deadline of a task is
 * the virtual time that it has used, plus what it has run since it slept last. So of those
 * that have had less than their part the ones that sleep again soon go first, and the ones
 * that stay take turns.
 *
 * The defaults place a sleeper early too, but limit what it has saved up only when it wakes
 * up: after its first slice all of that counts, and who wakes up next waits until it is
 * done. Here flash_lag_ns is the limit of what sleeping saves and of what staying costs, at
 * any time. Tasks that never sleep pay the same, so that their parts go by weight as ever.
 *
 * Today's scx_flash has, in place of the second term, a limit that grows with how often a
 * task wakes up. That is not here, nor are its slices of 0.7 ms, throttling and round robin,
 * nor scx_beerland's queues by CPU. The first slice on a CPU that was idle does not count as
 * staying, as nobody is asked before it.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/storage.bpf.h>

char _license[] SEC("license") = "GPL";

/* The most that sleeping saves, and the most that staying costs, virtual ns. */
const volatile u64 flash_lag_ns = 20 * 1000 * 1000;

struct flash_task {
	u64 sleeps; /* in its life, when it was last looked at */
	u64 woke_at; /* CPU time that it had used then, ns */
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
	/* The clock goes by deadlines: who never sleeps has used flash_lag_ns less. */
	earliest = clock - 2 * flash_lag_ns;
	if (vtime_before(vtime, earliest))
		vtime = earliest;
	return vtime + awake;
}
