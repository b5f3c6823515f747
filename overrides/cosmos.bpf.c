// SPDX-License-Identifier: GPL-2.0-only
/*
 * Local queues until a CPU is saturated, as in scx_cosmos.
 *
 * A task that wakes up, and for which no CPU is idle, waits in the local queue of its
 * CPU, first in first out, as long as that CPU was busy for less than cosmos_busy_percent
 * of its time: it will be free soon, its cache is warm, and no shared queue is touched.
 * On a busier CPU it waits where the defaults say, in the order of hook_task_vtime().
 *
 * Of scx_cosmos not here: deadlines (hook_task_vtime() is free for them), tasks that perf events or
 * GPUs place, a preferred set of CPUs, avoiding half-idle cores.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/storage.bpf.h>

char _license[] SEC("license") = "GPL";

const volatile u64 cosmos_busy_percent = 75;

PRELOAD_CPU_DATA(cosmos_cpus, u32);

/* A tick knows how busy its CPU is. An idle CPU has none: the last one counts. */
u32 hook_cpu_perf(s32 cpu, u32 util)
{
	u32 *last = cosmos_cpus_of(cpu);

	if (last)
		*last = util;
	return dfl_cpu_perf(cpu, util);
}

static bool is_saturated(s32 cpu)
{
	u32 *util = cosmos_cpus_of(cpu);

	return !util || *util * 100ULL >= cosmos_busy_percent * 1024;
}

void hook_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags)
{
	s32 cpu = scx_bpf_task_cpu(p);

	if (!(enq_flags & PRELOAD_ENQ_WAKEUP) || is_saturated(cpu)) {
		dfl_enqueue(p, enq_flags);
		return;
	}
	preload_dsq_insert(p, PRELOAD_DSQ_LOCAL, dfl_task_slice(p, cpu), enq_flags);
}
