/* SPDX-License-Identifier: GPL-2.0-only */
/* Moving a running task off its core. */
#ifndef SCX_PRELOAD_ACTIVE_BALANCE_BPF_H
#define SCX_PRELOAD_ACTIVE_BALANCE_BPF_H

#include "internal.bpf.h"

bool start_leaving(struct task_struct *p __arg_trusted, s32 cpu);

/* Is the task being enqueued on @cpu the one that start_leaving() marked? True once. */
static __always_inline bool test_and_clear_leaving(s32 cpu)
{
	return test_and_clear_mark(&preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].leaving);
}

#endif
