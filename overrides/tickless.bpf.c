// SPDX-License-Identifier: GPL-2.0-only
/*
 * Infinite slices while no task waits, as in scx_tickless.
 *
 * A task that is alone on its CPU, with no task waiting in its LLC, gets an infinite slice.
 * A task that has to wait ends the infinite slices in its LLC, and all tasks get ordinary
 * ones until the DSQ is empty. That saves the dispatch at the end of each slice. The tick
 * continues, even on nohz_full= CPUs, if the slice became infinite while the task was
 * running: the kernel checks for that only when it switches tasks.
 *
 * If two tasks wake up for one idle CPU at the same time, one can be stuck behind an
 * infinite slice until the next tick notices: 4 ms, or a second where the tick is stopped.
 *
 * Not implemented of scx_tickless: one CPU that schedules for all others, with a timer.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/queues.bpf.h>
#include <scx_preload/topology.bpf.h>

char _license[] SEC("license") = "GPL";

/* Is a task waiting that could run on @cpu? */
static bool is_wanted(s32 cpu, const struct rq *rq)
{
	return rq->nr_running > 1 || scx_bpf_dsq_nr_queued(PRELOAD_DSQ_LLC(cpu_llc_id(cpu))) > 0;
}

static bool is_endless(const struct rq *rq)
{
	return rq->curr->pid && rq->curr->scx.slice == PRELOAD_SLICE_INF;
}

/* The kick takes effect after the waiting task has been inserted into its DSQ. */
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
	/* Queued near another CPU, which is idle: any CPU may take it. */
	if ((queued && cpu != own) || is_wanted(cpu, rq))
		return dfl_task_slice(p, cpu);
	return PRELOAD_SLICE_INF;
}

/* Called at each tick. */
u32 hook_cpu_perf(s32 cpu, u32 util)
{
	const struct rq *rq = cpu_rq(cpu);

	if (rq && is_endless(rq) && is_wanted(cpu, rq))
		scx_bpf_kick_cpu(cpu, PRELOAD_KICK_PREEMPT);
	return dfl_cpu_perf(cpu, util);
}
