/* SPDX-License-Identifier: GPL-2.0-only */
/* Balance of tasks that may not run on all CPUs of an LLC. */
#ifndef SCX_PRELOAD_AFFINITY_BPF_H
#define SCX_PRELOAD_AFFINITY_BPF_H

#include "internal.bpf.h"

s32 pick_affine_cpu(struct task_struct *p __arg_trusted, s32 cpu);
bool steal_affine(s32 cpu);
bool pull_affine(s32 cpu, u32 turn);

#endif
