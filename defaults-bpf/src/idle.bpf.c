// SPDX-License-Identifier: GPL-2.0-only
/* Idle CPU placement: where a task that wakes up runs at once, if anywhere. */
#include "vmlinux.h"

#include "internal.bpf.h"

char _license[] SEC("license") = "GPL";

/*
 * The kernel's search takes an idle core of another LLC before an idle sibling
 * in the task's own, and so trades a warm cache for a quiet core. Here the whole
 * search is done within prev_cpu's LLC first, and what the rest of the machine
 * has is looked at only if the LLC has nothing. WAKE_SYNC is dropped for that
 * second search: it would pull the task to the waker, idle or not.
 */
s32 dfl_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	const struct cpumask *llc = llc_cpumask(cpu_llc_id(prev_cpu));
	s32 cpu;

	preload_count(hooks[HOOK_PICK_IDLE_CPU].dfl);
	if (llc && nr_llcs() > 1) {
		cpu = preload_select_cpu_and(p, prev_cpu, wake_flags, llc, 0);
		if (cpu >= 0)
			return cpu;
		wake_flags = 0;
	}
	return preload_select_cpu_and(p, prev_cpu, wake_flags, p->cpus_ptr, 0);
}

s32 __weak hook_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	return dfl_pick_idle_cpu(p, prev_cpu, wake_flags);
}

/* Ask the hook; the answer is a CPU that exists and that @p may use, or -1. */
s32 idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	s32 cpu;

	preload_count(hooks[HOOK_PICK_IDLE_CPU].calls);
	cpu = hook_pick_idle_cpu(p, prev_cpu, wake_flags);
	if (cpu < 0)
		return -1;
	if (cpu < nr_cpu_ids() && bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
		return cpu;
	preload_count(hooks[HOOK_PICK_IDLE_CPU].bad);
	return -1;
}
