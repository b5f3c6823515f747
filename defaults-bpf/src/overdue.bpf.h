/* SPDX-License-Identifier: GPL-2.0-only */
/* The bound on how long a task can starve. */
#ifndef SCX_PRELOAD_OVERDUE_BPF_H
#define SCX_PRELOAD_OVERDUE_BPF_H

#include "internal.bpf.h"

bool dispatch_oldest(s32 cpu);
bool dispatch_overdue(s32 cpu, u32 turn);

#endif
