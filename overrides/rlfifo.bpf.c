// SPDX-License-Identifier: GPL-2.0-only
/*
 * One global FIFO DSQ, the idea of scx_rlfifo: all tasks get slices of one length,
 * regardless of weight and sleep.
 *
 * As in scx_rlfifo, a wakeup that finds an idle CPU does not wait. Not implemented:
 * decisions in user space through scx_rustland_core.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/queues.bpf.h>

char _license[] SEC("license") = "GPL";

/* Slice of every task, ns. */
const volatile u64 rlfifo_slice_ns = 5 * 1000 * 1000;

#define RLFIFO_QUEUE PRELOAD_QUEUE('rlff', 0)
PRELOAD_OWN_QUEUES(rlfifo, 'rlff', 1);

u64 hook_task_slice(struct task_struct *p __arg_trusted, s32 cpu)
{
	return rlfifo_slice_ns;
}

void hook_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags)
{
	s32 cpu;

	preload_dsq_insert(p, RLFIFO_QUEUE, rlfifo_slice_ns, enq_flags);
	cpu = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
	if (cpu >= 0)
		scx_bpf_kick_cpu(cpu, PRELOAD_KICK_IDLE);
}

void hook_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable)
{
	if (!preload_dsq_move_to_local(RLFIFO_QUEUE, 0))
		dfl_dispatch(cpu, prev);
}
