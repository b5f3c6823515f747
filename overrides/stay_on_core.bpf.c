// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keep a waking task on the core that it last ran on while any CPU of the core is idle.
 *
 * The defaults move a task to a wholly idle core if its own core is half busy: more
 * throughput for the task, but its L1 and L2 contents stay behind. For tasks that sleep
 * and wake often, such as the stages of a pipeline, a warm half of a core can be better.
 * Without SMT this keeps tasks on their previous CPU.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/topology.bpf.h>

char _license[] SEC("license") = "GPL";

s32 hook_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	s32 sibling;

	if (!bpf_cpumask_test_cpu(prev_cpu, p->cpus_ptr))
		return dfl_pick_idle_cpu(p, prev_cpu, wake_flags);
	if (scx_bpf_test_and_clear_cpu_idle(prev_cpu))
		return prev_cpu;

	/* Bounded for the verifier: at most the three siblings of an SMT-4 core. */
	sibling = cpu_smt_next(prev_cpu);
	for (int i = 0; i < 3 && sibling != prev_cpu; i++) {
		if (bpf_cpumask_test_cpu(sibling, p->cpus_ptr) &&
		    scx_bpf_test_and_clear_cpu_idle(sibling))
			return sibling;
		sibling = cpu_smt_next(sibling);
	}
	return dfl_pick_idle_cpu(p, prev_cpu, wake_flags);
}
