/* SPDX-License-Identifier: GPL-2.0-only */
/* Virtual time: the order of tasks within a DSQ and between DSQs. */
#ifndef SCX_PRELOAD_VTIME_BPF_H
#define SCX_PRELOAD_VTIME_BPF_H

#include "internal.bpf.h"

void advance_clock(u32 llc, u64 vtime, u64 most);
u64 start_vtime(struct task_struct *p __arg_trusted);
u64 update_vtime(struct task_struct *p __arg_trusted, s32 cpu, u64 slice, u64 enq_flags, u64 dsq);
u64 cpu_service(s32 cpu);
void set_cpu_clock(u64 vtime);

#endif
