/* SPDX-License-Identifier: GPL-2.0-only */
/* Giving way to other schedulers. */
#ifndef SCX_PRELOAD_HANDOVER_BPF_H
#define SCX_PRELOAD_HANDOVER_BPF_H

#include "internal.bpf.h"

#define TASK_COMM_LEN 16

struct preload_handover {
	u64 at; /* when another scheduler's struct_ops map was created last, CLOCK_MONOTONIC, ns */
	u32 pid; /* of that process; 0 once it has attached the scheduler, or failed to */
	u32 attached; /* from our start until the kernel has finished disabling our scheduler */
	u32 sysrq; /* sysrq-S was pressed, whichever scheduler it ended */
	char comm[TASK_COMM_LEN];
};

extern struct preload_handover preload_handover;

#endif
