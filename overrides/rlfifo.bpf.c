// SPDX-License-Identifier: GPL-2.0-only
/*
 * The idea of scx_rlfifo: all tasks wait in one queue, first in first out, and get
 * slices of one length, whatever their weight and however long they slept.
 *
 * As there a wakeup that finds an idle CPU does not wait at all. Not covered: the
 * original decides in user space, through scx_rustland_core; here nothing leaves the
 * kernel.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/queues.bpf.h>

char _license[] SEC("license") = "GPL";

/* Slice of a task, ns. */
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
