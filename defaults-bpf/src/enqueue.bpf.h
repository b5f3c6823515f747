/* SPDX-License-Identifier: GPL-2.0-only */
/* The policy of ops.enqueue(). */
#ifndef SCX_PRELOAD_ENQUEUE_BPF_H
#define SCX_PRELOAD_ENQUEUE_BPF_H

#include "internal.bpf.h"

void enqueue_near(struct task_struct *p __arg_trusted, s32 cpu, u64 enq_flags);
void do_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags);

#endif
