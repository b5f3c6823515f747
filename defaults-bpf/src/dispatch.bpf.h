/* SPDX-License-Identifier: GPL-2.0-only */
/* The policy of ops.dispatch(). */
#ifndef SCX_PRELOAD_DISPATCH_BPF_H
#define SCX_PRELOAD_DISPATCH_BPF_H

#include "internal.bpf.h"

void do_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable);

#endif
