// SPDX-License-Identifier: GPL-2.0-only
/*
 * Latency criticality, the idea of scx_lavd: a task that often waits for others, often
 * wakes others and runs briefly in between is a link in a chain of tasks, and a user waits
 * for the end of that chain. Its behavior identifies it; no configuration is needed.
 *
 * In scx_lavd, the more critical a task, the earlier its virtual deadline, and each run
 * begins with a new one. CPU time thus costs a critical task less, which is what this
 * override does: with 500 waits and wakes per second of CPU time a task pays about a
 * quarter of what a hog pays. It runs first until it has had its share, which is larger by
 * that factor, and hogs get the rest. A mere offset to the key would not do: with a
 * constant offset, tasks end up as far behind as without.
 *
 * A critical task is so far ahead when it wakes up that the defaults let it preempt.
 * Frequencies are per CPU time of the task and not per wall-clock time: they include the
 * length of its runs, and a chain that is held up does not look less critical. On one
 * saturated CPU the tasks of a chain are ahead of hogs, but not of tasks that only sleep
 * and run: a task that is preempted before it waits is not seen to wait.
 *
 * Not implemented of scx_lavd: inheritance of criticality between waker and wakee, boosts
 * for kernel threads, lock holders and tasks woken by interrupts, slices by load, its
 * choice of preemption victims, core compaction, frequency scaling by performance
 * criticality.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/storage.bpf.h>

char _license[] SEC("license") = "GPL";

/* A task's behavior is evaluated each time it has used this much CPU time, ns. */
const volatile u64 lavd_period_ns = 10 * 1000 * 1000;
/* Base criticality of all tasks: the higher it is, the less a task's own counts. */
const volatile u32 lavd_base = 16;

struct lavd_task {
	u64 used; /* CPU time since the last evaluation, ns */
	u64 waits; /* as of the last evaluation */
	u32 wakes; /* since the last evaluation */
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
 * Overridden for its calls, not for the key: it sees each wakeup that has to wait. If an
 * interrupt is the waker, the interrupted task is counted; that alone does not make a hog
 * critical.
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
