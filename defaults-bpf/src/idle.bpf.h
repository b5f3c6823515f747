/* SPDX-License-Identifier: GPL-2.0-only */
/* Idle CPU selection. */
#ifndef SCX_PRELOAD_IDLE_BPF_H
#define SCX_PRELOAD_IDLE_BPF_H

#include "internal.bpf.h"

/* The CPUs to search for @p: no isolated ones, unless it may run there only. */
static __always_inline const struct cpumask *searched_cpus(struct task_struct *p)
{
	const struct cpumask *balanced = balanced_cpumask();

	return balanced && bpf_cpumask_intersects(balanced, p->cpus_ptr) ? balanced : p->cpus_ptr;
}

s32 pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags);
s32 pick_idle_cpu_near(struct task_struct *p __arg_trusted, s32 cpu);

#endif
