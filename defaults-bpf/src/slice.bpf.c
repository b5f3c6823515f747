// SPDX-License-Identifier: GPL-2.0-only
/* Slices, and wakeup preemption, which ends them early. */
#include "vmlinux.h"

#include "guard.bpf.h"
#include "nohz.bpf.h"
#include "rq.bpf.h"
#include "settings.bpf.h"
#include "slice.bpf.h"

char _license[] SEC("license") = "GPL";

/* A slice on @cpu, ns, for which its run queue is @rq. */
static u64 crowded_slice(const struct rq *rq)
{
	return max(per_crowd(slice_ns, rq), slice_ns / 8);
}

u64 dfl_task_slice(struct task_struct *p __arg_trusted, s32 cpu)
{
	preload_count_dfl(HOOK_TASK_SLICE);
	if (is_nohz(cpu) && is_alone(p, cpu))
		return PRELOAD_SLICE_INF;
	return crowded_slice(cpu_rq(cpu));
}

u64 __weak hook_task_slice(struct task_struct *p __arg_trusted, s32 cpu)
{
	return dfl_task_slice(p, cpu);
}

/* The hook's result, bounded, ns. */
u64 task_slice(struct task_struct *p __arg_trusted, s32 cpu)
{
	u64 slice;

	preload_count(hooks[HOOK_TASK_SLICE].calls);
	slice = ask_hook(HOOK_TASK_SLICE, hook_task_slice(p, cpu), dfl_task_slice(p, cpu));
	if ((slice && slice <= PRELOAD_SLICE_MAX_NS) || slice == PRELOAD_SLICE_INF)
		return slice;
	bad_result(HOOK_TASK_SLICE);
	return slice_ns;
}

bool dfl_task_preempt(struct task_struct *p __arg_trusted, s32 cpu, u64 ahead)
{
	use_arg(p);
	preload_count_dfl(HOOK_TASK_PREEMPT);
	return ahead >= per_crowd(slice_ns, cpu_rq(cpu)) / 2;
}

bool __weak hook_task_preempt(struct task_struct *p __arg_trusted, s32 cpu, u64 ahead)
{
	return dfl_task_preempt(p, cpu, ahead);
}

/*
 * Should @p, whose key is @vtime, run before the running task of @cpu has used up its slice?
 * That task's key was scx.dsq_vtime when it was chosen; its run time since then is added.
 * The order of policies is that of wakeup_preempt_fair() in kernel/sched/fair.c.
 */
bool preempts(struct task_struct *p __arg_trusted, s32 cpu, u64 vtime)
{
	const struct rq *rq = cpu_rq(cpu);
	const struct task_struct *curr;
	u64 place, slice;

	if (!rq)
		return false;
	curr = rq->curr;
	if (curr->prio < MAX_RT_PRIO || !curr->pid)
		return false;
	/*
	 * Already preempted: of hundreds that one task wakes at once, only the first goes before
	 * the DSQs. dispatch() is not called until the local DSQ is empty.
	 */
	if (!curr->scx.slice)
		return false;
	if (curr->policy == POLICY_IDLE && p->policy != POLICY_IDLE)
		return true;
	if (p->policy != POLICY_NORMAL)
		return false;
	slice = crowded_slice(rq);
	place = curr->scx.dsq_vtime +
		(slice - min(curr->scx.slice, slice)) * PRELOAD_WEIGHT_ONE / task_weight(curr);
	if (!vtime_before(vtime, place))
		return false;
	preload_count_rare(hooks[HOOK_TASK_PREEMPT].calls);
	return ask_hook(HOOK_TASK_PREEMPT, hook_task_preempt(p, cpu, place - vtime),
			dfl_task_preempt(p, cpu, place - vtime));
}
