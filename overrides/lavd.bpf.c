// SPDX-License-Identifier: GPL-2.0-only
/*
 * The idea of scx_lavd: latency criticality. A task that often waits for others, often
 * wakes others and runs shortly in between is a link of a chain, and somebody waits for
 * the end of the chain. Nobody has to name such tasks: what they do tells.
 *
 * There a virtual deadline is the nearer the more critical its task is, and each stretch
 * that a task runs begins with a new one. So CPU time costs a critical task less, and that
 * is what is done here: with 500 waits and wakes a second of CPU time it pays some quarter
 * of what a hog does. It comes first until it has had its part, which is now that much
 * greater, and hogs have the rest. A place in the queue that is only shifted would not do:
 * all that always wait a little less end up as far behind as before.
 *
 * Who is favoured is that far ahead when it wakes up that the defaults let it preempt.
 * Frequencies are counted per CPU time of the task and not per time that passes: the
 * length of its runs is in them, and a chain that is held up does not seem less critical.
 * On one saturated CPU the links of a chain are ahead of hogs, but not of tasks that only
 * sleep and run: a link that is preempted before it waits is not seen to wait.
 * Of scx_lavd this leaves out criticality that is handed on between waker and wakee, the
 * boosts for kernel threads, lock holders and what interrupts wake, slices by load, its
 * choice of whom to preempt, core compaction, and frequencies by performance criticality.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/storage.bpf.h>

char _license[] SEC("license") = "GPL";

/* What a task does is looked at each time it has used this much CPU time, ns. */
const volatile u64 lavd_period_ns = 10 * 1000 * 1000;
/* Criticality of all tasks, to which their own is added: the more, the less that one counts. */
const volatile u32 lavd_base = 16;

struct lavd_task {
	u64 used; /* CPU time since the last look, ns */
	u64 waits; /* at the last look */
	u32 wakes; /* since the last look */
	u32 critical;
};
PRELOAD_TASK_DATA(lavd_tasks, struct lavd_task);

static u32 log2(u64 n)
{
	u32 log = 0;

	for (u32 bits = 32; bits; bits /= 2) {
		if (n >> bits) {
			n >>= bits;
			log += bits;
		}
	}
	return log;
}

static u32 log2_frequency(u64 count, u64 used)
{
	return log2(1 + count * 1000 * 1000 * 1000 / used);
}

static void look(struct task_struct *p, struct lavd_task *task)
{
	u64 waits = p->nvcsw;
	u32 critical = log2_frequency(waits - task->waits, task->used) +
		       log2_frequency(task->wakes, task->used);

	task->critical = (task->critical + critical) / 2;
	task->waits = waits;
	task->wakes = 0;
	task->used = 0;
}

u64 hook_task_charge(struct task_struct *p __arg_trusted, s32 cpu, u64 used)
{
	u64 charge = dfl_task_charge(p, cpu, used), critical;
	struct lavd_task *task = lavd_tasks_get(p);

	if (!task)
		return charge;
	task->used += used;
	if (task->used >= lavd_period_ns)
		look(p, task);
	critical = lavd_base + task->critical;
	return charge * lavd_base * lavd_base / (critical * critical);
}

/*
 * Not for the place: this knows of each wakeup that has to wait. If an interrupt is who
 * wakes, the task that it interrupts counts as waker; a hog is not made critical by that.
 */
u64 hook_task_vtime(struct task_struct *p __arg_trusted, u64 vtime, u64 clock, u64 enq_flags)
{
	struct lavd_task *waker;

	if (enq_flags & PRELOAD_ENQ_WAKEUP) {
		waker = lavd_tasks_find(bpf_get_current_task_btf());
		if (waker)
			waker->wakes++;
	}
	return dfl_task_vtime(p, vtime, clock, enq_flags);
}
