// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moving a running task to a better core. ops.dispatch() cannot do that itself, as the task
 * is not on a DSQ: it gives the task no new slice and marks the CPU, start_leaving(). With
 * nothing else to run there, the kernel enqueues the task with SCX_ENQ_LAST, and
 * ops.enqueue() searches for the core: test_and_clear_leaving(), PRELOAD_WAKE_CORE. Both
 * hold the lock of the CPU's run queue. As siblings dispatch at the same tick, only the one
 * that wins the core sets the mark. The search calls hook_pick_idle_cpu(), so that an
 * override that confines tasks controls it, too.
 */
#include "vmlinux.h"

#include "active_balance.bpf.h"
#include "idle.bpf.h"
#include "rq.bpf.h"
#include "settings.bpf.h"
#include "topology.bpf.h"

char _license[] SEC("license") = "GPL";

/* One running task leaves a core within 2^25 ns, 34 ms. */
#define LEAVE_SHIFT 25

/*
 * Has another CPU of @cpu's core been running a task for a while? A task that sleeps most
 * of the time is gone before a move pays off.
 */
static bool shares_core(s32 cpu)
{
	s32 sibling = cpu_smt_next(cpu);
	u64 now = scx_bpf_now();
	const struct rq *rq;
	u32 i;

	if (sibling == cpu)
		return false;
	bpf_for(i, 0, SMT_MAX) {
		rq = cpu_rq(sibling);
		if (rq && rq->curr->pid &&
		    vtime_before(rq->curr->sched_info.last_arrival + slice_ns / 2, now))
			return true;
		sibling = cpu_smt_next(sibling);
		if (sibling == cpu)
			break;
	}
	return false;
}

/*
 * Should @p, alone on @cpu, leave it because a better core idles: a fast one if this one is
 * slow, any if it shares this one? Of two tasks that share a core only the first to ask
 * should, so that tasks do not wander. The kernel's counterparts are update_misfit_status()
 * and smt_balance() in kernel/sched/fair.c.
 */
__noinline bool start_leaving(struct task_struct *p __arg_trusted, s32 cpu)
{
	struct preload_cpu *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)], *core;
	const struct cpumask *better = NULL, *cores;
	u32 now, left_at;
	bool idle;

	if (p->nr_cpus_allowed == 1)
		return false;
	if (shares_core(cpu))
		better = searched_cpus(p);
	else if (!c->fast)
		better = fast_cpumask();
	if (!better)
		return false;
	cores = scx_bpf_get_idle_smtmask();
	idle = bpf_cpumask_intersects(better, cores);
	scx_bpf_put_idle_cpumask(cores);
	if (!idle)
		return false;
	core = &preload_cpus[cpu_core_id(cpu) & (PRELOAD_MAX_CPUS - 1)];
	now = scx_bpf_now() >> LEAVE_SHIFT;
	left_at = core->left_at;
	if (now == left_at || !__sync_bool_compare_and_swap(&core->left_at, left_at, now))
		return false;
	c->leaving = 1;
	return true;
}
