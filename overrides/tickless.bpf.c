// SPDX-License-Identifier: GPL-2.0-only
/*
 * No end of a slice while nobody waits, as in scx_tickless.
 *
 * A task alone on its CPU, and with no other waiting in its LLC, has a slice without
 * end. Who has to wait ends the endless slices of its LLC, and all have ordinary ones
 * until the queue is empty. What that saves is the questions at the end of each slice.
 * The tick itself goes on, on the CPUs of nohz_full= too, once a slice got endless while
 * its task ran: the kernel looks at that only when it switches tasks.
 *
 * Two wakeups for one idle CPU at the same time can leave one behind an endless slice
 * until the next tick looks: 4 ms, or a second where the tick is stopped.
 *
 * Of scx_tickless not here: one CPU that does the scheduling for all, and a timer there.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/queues.bpf.h>
#include <scx_preload/topology.bpf.h>

char _license[] SEC("license") = "GPL";

/* Does a task wait that could run on @cpu? */
static bool is_wanted(s32 cpu, const struct rq *rq)
{
	return rq->nr_running > 1 || scx_bpf_dsq_nr_queued(PRELOAD_DSQ_LLC(cpu_llc_id(cpu))) > 0;
}

static bool is_endless(const struct rq *rq)
{
	return rq->curr->pid && rq->curr->scx.slice == PRELOAD_SLICE_INF;
}

/* The kick comes when the task that asks for it is in its queue. */
static void end_endless(u32 llc)
{
	const struct rq *rq;
	s32 cpu;

	bpf_for(cpu, 0, nr_cpu_ids()) {
		if (cpu_llc_id(cpu) != llc)
			continue;
		rq = cpu_rq(cpu);
		if (rq && is_endless(rq))
			scx_bpf_kick_cpu(cpu, PRELOAD_KICK_PREEMPT);
	}
}

u64 hook_task_slice(struct task_struct *p __arg_trusted, s32 cpu)
{
	bool queued = p->scx.flags & PRELOAD_TASK_QUEUED;
	const struct rq *rq = cpu_rq(cpu);
	s32 own = scx_bpf_task_cpu(p);
	s32 curr;

	if (!rq)
		return dfl_task_slice(p, cpu);
	curr = rq->curr->pid;
	if (curr && curr != p->pid) {
		end_endless(cpu_llc_id(own));
		return dfl_task_slice(p, cpu);
	}
	/* Queued for an idle CPU elsewhere: who knows which one will take it. */
	if ((queued && cpu != own) || is_wanted(cpu, rq))
		return dfl_task_slice(p, cpu);
	return PRELOAD_SLICE_INF;
}

/* Asked at each tick. */
u32 hook_cpu_perf(s32 cpu, u32 util)
{
	const struct rq *rq = cpu_rq(cpu);

	if (rq && is_endless(rq) && is_wanted(cpu, rq))
		scx_bpf_kick_cpu(cpu, PRELOAD_KICK_PREEMPT);
	return dfl_cpu_perf(cpu, util);
}
