/* SPDX-License-Identifier: GPL-2.0-only */
/* Idle CPU selection. */
#ifndef SCX_PRELOAD_IDLE_BPF_H
#define SCX_PRELOAD_IDLE_BPF_H

#include "internal.bpf.h"

s32 pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags);
s32 pick_idle_cpu_near(struct task_struct *p __arg_trusted, s32 cpu);

#endif
