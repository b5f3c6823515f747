// SPDX-License-Identifier: GPL-2.0-only
/*
 * Use local DSQs until a CPU is saturated, as scx_cosmos does.
 *
 * A waking task without an idle CPU waits on the local DSQ of its CPU, FIFO, as long as
 * that CPU is less than cosmos_busy_percent busy: it will be free soon, its cache is warm,
 * and no shared DSQ is touched. On a busier CPU the task waits where the defaults put it,
 * in the order of hook_task_vtime().
 *
 * Not implemented of scx_cosmos: deadlines (hook_task_vtime() is free for them), placement
 * by perf events or GPUs, a preferred set of CPUs, avoidance of half-idle cores.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/storage.bpf.h>

char _license[] SEC("license") = "GPL";

const volatile u64 cosmos_busy_percent = 75;

PRELOAD_CPU_DATA(cosmos_cpus, u32);

/* Called from the tick, which an idle CPU lacks: its last utilization counts. */
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
