// SPDX-License-Identifier: GPL-2.0-only
/* The policy of ops.enqueue(): at once on an idle CPU, by preemption, or in a DSQ. */
#include "vmlinux.h"

#include "active_balance.bpf.h"
#include "affinity.bpf.h"
#include "dsq.bpf.h"
#include "enqueue.bpf.h"
#include "guard.bpf.h"
#include "idle.bpf.h"
#include "nohz.bpf.h"
#include "rq.bpf.h"
#include "slice.bpf.h"
#include "topology.bpf.h"
#include "vtime.bpf.h"

char _license[] SEC("license") = "GPL";

/* A part of do_enqueue(): a global function, which the verifier checks once. */
s32 pick_idle_cpu_late(struct task_struct *p __arg_trusted, s32 cpu, u64 enq_flags);

/* Insert @p into a DSQ near @cpu, or let it preempt the running task of its CPU. */
void enqueue_near(struct task_struct *p __arg_trusted, s32 cpu, u64 enq_flags)
{
	u64 slice = task_slice(p, cpu), dsq, vtime;

	if (!is_plugged(cpu)) {
		preload_dsq_insert(p, PRELOAD_DSQ_LOCAL_ON | cpu, slice, enq_flags);
		return;
	}
	dsq = task_dsq(p, cpu);
	vtime = update_vtime(p, cpu, slice, enq_flags, dsq);
	if ((enq_flags & PRELOAD_ENQ_WAKEUP) && cpu == scx_bpf_task_cpu(p) &&
	    preempts(p, cpu, vtime)) {
		preload_count_rare(wakeup_preempt);
		p->scx.dsq_vtime = vtime;
		preload_dsq_insert(p, PRELOAD_DSQ_LOCAL, slice, enq_flags | PRELOAD_ENQ_PREEMPT);
		return;
	}
	end_endless(cpu);
	if (is_affine_dsq(dsq)) {
		s32 other = pick_affine_cpu(p, cpu);

		if (other != cpu) {
			dsq = PRELOAD_DSQ_AFFINE(other);
			/* It may just have become idle. */
			scx_bpf_kick_cpu(other, PRELOAD_KICK_IDLE);
			end_endless(other);
		}
	}
	note_waiting(dsq);
	preload_dsq_insert_vtime(p, dsq, slice, vtime, enq_flags);
}

/* Has @cpu, where a task is being enqueued, no other task to run? */
static bool has_nothing_else(s32 cpu)
{
	const struct rq *rq = cpu_rq(cpu);

	return rq && rq->nr_running == 1;
}

/*
 * An idle CPU for a task that skipped select_cpu, or that had to give up @cpu. A remote
 * wakeup queued to a CPU with nothing else to do stays there.
 */
__noinline s32 pick_idle_cpu_late(struct task_struct *p __arg_trusted, s32 cpu, u64 enq_flags)
{
	if (enq_flags & PRELOAD_ENQ_WAKEUP) {
		if (has_nothing_else(cpu))
			return cpu;
	} else if ((enq_flags & PRELOAD_ENQ_LAST) && test_and_clear_restart(cpu)) {
		return cpu;
	} else if (p->nr_cpus_allowed == 1) {
		return -1;
	}
	return pick_idle_cpu(p, cpu,
			     (enq_flags & PRELOAD_ENQ_LAST) && test_and_clear_leaving(cpu)
				     ? PRELOAD_WAKE_CORE
				     : 0);
}

/*
 * If the idle CPU is not the one whose lock is held, insert the task into a DSQ there and
 * wake the CPU: inserting it into that CPU's local DSQ would take a second lock. With
 * SCX_ENQ_LAST that is worth it: from a DSQ, the CPU that it leaves could take it back. So it
 * is for a task that only some CPUs can take.
 */
void do_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags)
{
	s32 cpu = scx_bpf_task_cpu(p), idle = -1;

	if (!(enq_flags & PRELOAD_ENQ_CPU_SELECTED))
		idle = pick_idle_cpu_late(p, cpu, enq_flags);
	/* SCX_ENQ_LAST: the CPU has no other task. Without another CPU, this one continues. */
	if (idle == cpu || (idle < 0 && (enq_flags & PRELOAD_ENQ_LAST))) {
		if (enq_flags & PRELOAD_ENQ_WAKEUP)
			preload_count(wakeup_idle);
		preload_dsq_insert(p, PRELOAD_DSQ_LOCAL, task_slice(p, cpu), enq_flags);
		return;
	}
	if ((enq_flags & PRELOAD_ENQ_LAST) ||
	    (idle >= 0 && !is_asked(HOOK_TASK_QUEUE) && is_affine(p, idle))) {
		if (enq_flags & PRELOAD_ENQ_LAST)
			preload_count_rare(leave_core);
		else
			preload_count_rare(kick_idle);
		preload_dsq_insert(p, PRELOAD_DSQ_LOCAL_ON | idle, task_slice(p, idle),
				   enq_flags | PRELOAD_ENQ_IMMED);
		return;
	}

	enqueue_near(p, idle >= 0 ? idle : cpu, enq_flags);
	if (idle >= 0) {
		preload_count_rare(kick_idle);
		scx_bpf_kick_cpu(idle, PRELOAD_KICK_IDLE);
	}
}

void dfl_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags)
{
	preload_count_dfl(HOOK_ENQUEUE);
	do_enqueue(p, enq_flags);
}

void __weak hook_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags)
{
	dfl_enqueue(p, enq_flags);
}
