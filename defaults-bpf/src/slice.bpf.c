// SPDX-License-Identifier: GPL-2.0-only
/* Slices, and wakeup preemption, which ends them early. */
#include "vmlinux.h"

#include "guard.bpf.h"
#include "rq.bpf.h"
#include "settings.bpf.h"
#include "slice.bpf.h"

char _license[] SEC("license") = "GPL";

u64 dfl_task_slice(struct task_struct *p __arg_trusted, s32 cpu)
{
	preload_count_dfl(HOOK_TASK_SLICE);
	return slice_ns;
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
	preload_count_dfl(HOOK_TASK_PREEMPT);
	return ahead >= slice_ns / 2;
}

bool __weak hook_task_preempt(struct task_struct *p __arg_trusted, s32 cpu, u64 ahead)
{
	return dfl_task_preempt(p, cpu, ahead);
}

/*
 * Should @p, whose key is @vtime, run before the running task of @cpu has used up its slice?
 * That task's key was scx.dsq_vtime when it was chosen; its run time since then is added.
 */
bool preempts(struct task_struct *p __arg_trusted, s32 cpu, u64 vtime)
{
	const struct rq *rq = cpu_rq(cpu);
	const struct task_struct *curr;
	u64 place, left;

	if (!rq)
		return false;
	curr = rq->curr;
	if (curr->prio < MAX_RT_PRIO || !curr->pid)
		return false;
	left = curr->scx.slice;
	place = curr->scx.dsq_vtime + (left < slice_ns ? slice_ns - left : 0);
	if (!vtime_before(vtime, place))
		return false;
	preload_count_rare(hooks[HOOK_TASK_PREEMPT].calls);
	return ask_hook(HOOK_TASK_PREEMPT, hook_task_preempt(p, cpu, place - vtime),
			dfl_task_preempt(p, cpu, place - vtime));
}
