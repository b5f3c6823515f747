/* SPDX-License-Identifier: GPL-2.0-only */
/* CPUs of nohz_full=, whose tick stops while a task runs alone. */
#ifndef SCX_PRELOAD_NOHZ_BPF_H
#define SCX_PRELOAD_NOHZ_BPF_H

#include "internal.bpf.h"

static __always_inline bool is_nohz(s32 cpu)
{
	return preload_topology.nr_nohz && preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].nohz;
}

/* Is the task being enqueued on @cpu the one that start_endless() marked? True once. */
static __always_inline bool test_and_clear_restart(s32 cpu)
{
	struct preload_cpu *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)];
	bool restart = c->restart;

	if (restart)
		c->restart = 0;
	return restart;
}

bool is_alone(struct task_struct *p __arg_trusted, s32 cpu);
bool start_endless(struct task_struct *p __arg_trusted, s32 cpu, u64 slice);
void end_endless(s32 cpu);
void nohz_tick(s32 cpu);

#endif
