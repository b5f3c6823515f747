/* SPDX-License-Identifier: GPL-2.0-only */
/* Weights of cgroups. */
#ifndef SCX_PRELOAD_CGROUP_BPF_H
#define SCX_PRELOAD_CGROUP_BPF_H

#include "internal.bpf.h"

/* The scale of a task outside of cgroups that have a weight. */
#define PRELOAD_CGROUP_ONE (1ULL << 12)

u64 cgroup_scale(struct task_struct *p __arg_trusted);
void cgroup_tick(struct task_struct *p __arg_trusted, u64 least);

#endif
