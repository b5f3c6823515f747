/* SPDX-License-Identifier: GPL-2.0-only */
/* How long a task runs: until its slice is over, or until a wakeup preempts it. */
#ifndef SCX_PRELOAD_SLICE_BPF_H
#define SCX_PRELOAD_SLICE_BPF_H

#include "internal.bpf.h"

u64 task_slice(struct task_struct *p __arg_trusted, s32 cpu);
bool preempts(struct task_struct *p __arg_trusted, s32 cpu, u64 vtime);

#endif
