// SPDX-License-Identifier: GPL-2.0-only
/*
 * Inject latency, as scx_chaos does: delay chaos_percent of the wakeups by chaos_delay_ms,
 * to find out what in a program depends on low latency.
 *
 * Delayed tasks wait on a DSQ ordered by due time. Each dispatch takes a task that is due
 * and kicks the CPU of the next one if idle, which polls until then. A task whose CPU is
 * busy can be late by another slice. Kernel threads are exempt.
 *
 * Not implemented of scx_chaos: delays on a kprobe, CPU slowdown, selection of tasks by
 * parent, random delays, a timer instead of polling.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/queues.bpf.h>
#include <scx_preload/storage.bpf.h>

char _license[] SEC("license") = "GPL";

const volatile u64 chaos_percent = 10;
const volatile u64 chaos_delay_ms = 20;

/* Well below the time that counts as a stall, see bypass.bpf.h. */
#define DELAY_MAX_MS 500
#define PF_KTHREAD 0x00200000

#define QUEUE PRELOAD_QUEUE('chao', 0)
PRELOAD_OWN_QUEUES(chaos, 'chao', 1);

struct chaos_task {
	bool picked; /* to be delayed */
	u64 vtime; /* saved while @scx.dsq_vtime holds the due time */
};

PRELOAD_TASK_DATA(chaos_tasks, struct chaos_task);

static bool pick(struct task_struct *p)
{
	struct chaos_task *task;

	if ((p->flags & PF_KTHREAD) || bpf_get_prandom_u32() % 100 >= chaos_percent)
		return false;
	task = chaos_tasks_get(p);
	if (!task)
		return false;
	return task->picked = true;
}

/* No idle CPU for picked tasks: they would not pass through ops.enqueue(). */
s32 hook_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	if (wake_flags && pick(p))
		return -1;
	return dfl_pick_idle_cpu(p, prev_cpu, wake_flags);
}

void hook_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags)
{
	u64 delay = chaos_delay_ms < DELAY_MAX_MS ? chaos_delay_ms : DELAY_MAX_MS;
	struct chaos_task *task;

	/* May run on one CPU only: ops.select_cpu() was skipped. */
	if ((enq_flags & PRELOAD_ENQ_WAKEUP) && !(enq_flags & PRELOAD_ENQ_CPU_SELECTED))
		pick(p);
	task = chaos_tasks_find(p);
	if (!task || !task->picked) {
		dfl_enqueue(p, enq_flags);
		return;
	}
	task->picked = false;
	task->vtime = p->scx.dsq_vtime;
	preload_dsq_insert_vtime(p, QUEUE, dfl_task_slice(p, scx_bpf_task_cpu(p)),
				 bpf_ktime_get_ns() + delay * 1000 * 1000, enq_flags);
	scx_bpf_kick_cpu(scx_bpf_task_cpu(p), PRELOAD_KICK_IDLE);
}

static bool may_run(struct task_struct *p, s32 cpu)
{
	return scx_bpf_task_cpu(p) == cpu ||
	       (!p->migration_disabled && bpf_cpumask_test_cpu(cpu, p->cpus_ptr));
}

void hook_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable)
{
	u64 now = bpf_ktime_get_ns();
	struct chaos_task *task;
	struct task_struct *p;
	bool moved = false;

	bpf_for_each(scx_dsq, p, QUEUE, 0) {
		bool due = !vtime_before(now, p->scx.dsq_vtime);

		if (due && !moved && may_run(p, cpu) &&
		    scx_bpf_dsq_move(&___it, p, PRELOAD_DSQ_LOCAL, 0)) {
			moved = true;
			task = chaos_tasks_find(p);
			if (task)
				p->scx.dsq_vtime = task->vtime;
			continue;
		}
		scx_bpf_kick_cpu(scx_bpf_task_cpu(p), PRELOAD_KICK_IDLE);
		if (!due)
			break;
	}
	if (!moved)
		dfl_dispatch(cpu, prev);
}
