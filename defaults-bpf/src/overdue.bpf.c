// SPDX-License-Identifier: GPL-2.0-only
/*
 * No wait without end. Virtual time says who is next and not how long that
 * takes: beside enough tasks of more weight, or under an override that orders
 * badly, a task could wait until the kernel's watchdog ends the scheduler.
 *
 * The kernel keeps the waiting tasks of each run queue in the order in which
 * they began to wait, for that watchdog. Its first entry is all that has to be
 * looked at, and the lock that protects it is held in ops.dispatch() anyway.
 */
#include "vmlinux.h"

#include "internal.bpf.h"

char _license[] SEC("license") = "GPL";

/* A task that waits longer than this many ticks runs next: 1 s at 250 Hz. */
const volatile u64 overdue_ticks = 250;

/*
 * Move the task of @cpu's run queue that has waited longest to @cpu's local queue.
 * Returns whether it did: not one that is on a local queue, as it is next already, nor
 * one on no queue, as it is being moved.
 */
bool dispatch_oldest(s32 cpu)
{
	const struct task_struct *oldest;
	const struct scx_dispatch_q *waits;
	struct task_struct *p;
	struct bpf_iter_scx_dsq it;
	const struct rq *rq = rq_of(cpu);
	bool moved = false;

	if (!rq)
		return false;
	oldest = longest_waiting(rq);
	if (!oldest)
		return false;
	waits = oldest->scx.dsq;
	if (!waits || (waits->id & PRELOAD_DSQ_BUILTIN))
		return false;
	p = bpf_task_from_pid(oldest->pid);
	if (!p)
		return false;
	/* The iterator names the queue; the task need not be where it stands. */
	if (!bpf_iter_scx_dsq_new(&it, waits->id, 0))
		moved = scx_bpf_dsq_move(&it, p, PRELOAD_DSQ_LOCAL, 0);
	bpf_iter_scx_dsq_destroy(&it);
	bpf_task_release(p);
	return moved;
}

/* The same if that task is overdue. */
bool dispatch_overdue(s32 cpu)
{
	const struct task_struct *oldest;
	const struct rq *rq = rq_of(cpu);

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
