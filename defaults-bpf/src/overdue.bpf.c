// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bound how long a task can starve. Virtual time orders tasks and does not bound how long
 * they wait: beside enough tasks of more weight, or under an override that orders badly, a
 * task could wait until the kernel's watchdog ends the scheduler.
 *
 * For that watchdog, the kernel keeps the waiting tasks of each run queue in the order in
 * which they began to wait. Only the first entry is read, and ops.dispatch() is called with
 * the lock held that protects it.
 */
#include "vmlinux.h"

#include "guard.bpf.h"
#include "overdue.bpf.h"
#include "rq.bpf.h"
#include "settings.bpf.h"

char _license[] SEC("license") = "GPL";

/*
 * Move the longest waiting task of @cpu's run queue to @cpu's local DSQ. Returns whether it
 * did: not if the task is on a local DSQ, where it is next already, nor if it is not on any
 * DSQ, as it is being moved.
 */
bool dispatch_oldest(s32 cpu)
{
	const struct task_struct *oldest;
	const struct scx_dispatch_q *dsq;
	struct task_struct *p;
	struct bpf_iter_scx_dsq it;
	const struct rq *rq = cpu_rq(cpu);
	bool moved = false;

	if (!rq)
		return false;
	oldest = longest_waiting(rq);
	if (!oldest)
		return false;
	dsq = oldest->scx.dsq;
	if (!dsq || (dsq->id & PRELOAD_DSQ_BUILTIN))
		return false;
	p = bpf_task_from_pid(oldest->pid);
	if (!p)
		return false;
	/* The iterator names the DSQ; the task need not be at its position. */
	if (!bpf_iter_scx_dsq_new(&it, dsq->id, 0))
		moved = scx_bpf_dsq_move(&it, p, PRELOAD_DSQ_LOCAL, 0);
	bpf_iter_scx_dsq_destroy(&it);
	bpf_task_release(p);
	return moved;
}

/* The same, but only if that task is overdue. */
bool dispatch_overdue(s32 cpu)
{
	const struct task_struct *oldest;
	const struct rq *rq = cpu_rq(cpu);

	if (!rq)
		return false;
	oldest = longest_waiting(rq);
	if (!oldest || bpf_jiffies64() - oldest->scx.runnable_at <= overdue_ticks)
		return false;
	if (is_watched())
		report_stall(cpu);
	if (!dispatch_oldest(cpu))
		return false;
	preload_count_rare(dispatch_overdue);
	return true;
}
