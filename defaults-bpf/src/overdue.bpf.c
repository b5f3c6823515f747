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

#include "balance.bpf.h"
#include "guard.bpf.h"
#include "overdue.bpf.h"
#include "rq.bpf.h"
#include "settings.bpf.h"
#include "ticks.bpf.h"

char _license[] SEC("license") = "GPL";

/* How many overdue tasks a CPU switches to before it looks at virtual times again. */
#define BRIEF_BATCH 256

/* Not in BTF. */
#define PF_KTHREAD 0x00200000

/*
 * Does its weight, or do the @nr tasks on its CPU, each of which runs for a tick, explain that
 * @p is overdue? Not for a kernel thread, as others wait for it: RCU, writeback, the watchdog
 * itself. Nor for an RCU reader: preempted at once, it would not read on.
 */
static bool is_due_later(const struct task_struct *p, u32 nr)
{
	u32 weight = min(task_weight(p), PRELOAD_WEIGHT_ONE);

	if ((p->flags & PF_KTHREAD) || is_rcu_reader(p))
		return false;
	return nr * TICK_MAX_NS * PRELOAD_WEIGHT_ONE > overdue_ms * NSEC_PER_MSEC * weight;
}

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

/*
 * Take care of the longest waiting task of @cpu's run queue if it is overdue, at balancing
 * turn @turn. Returns whether it runs next.
 *
 * It gets a slice unless its weight or a crowd explains the wait: of hundreds of tasks, each
 * waits that long in any order, and one of little weight beside others should. These are
 * switched to and preempted at once, which costs next to nothing and is all that the watchdog
 * asks for: their virtual times bring them the CPU. Up to BRIEF_BATCH of them follow each
 * other.
 */
bool dispatch_overdue(s32 cpu, u32 turn)
{
	const struct task_struct *oldest;
	const struct rq *rq = cpu_rq(cpu);
	bool brief;

	if (!rq)
		return false;
	oldest = longest_waiting(rq);
	if (!oldest || !waited_longer(oldest, overdue_ms * NSEC_PER_MSEC))
		return false;
	if (is_watched())
		report_stall(cpu);
	brief = is_due_later(oldest, rq->nr_running);
	if (!dispatch_oldest(cpu))
		return false;
	preload_count_rare(dispatch_overdue);
	if (brief) {
		scx_bpf_kick_cpu(cpu, PRELOAD_KICK_PREEMPT);
		if (turn % BRIEF_BATCH)
			balance_again();
	}
	return true;
}
