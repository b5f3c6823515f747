/* SPDX-License-Identifier: GPL-2.0-only */
/* Tasks that wake each other up, such as the two ends of a pipe. */
#ifndef SCX_PRELOAD_PARTNER_BPF_H
#define SCX_PRELOAD_PARTNER_BPF_H

#include "internal.bpf.h"

enum bond {
	BOND_NONE,
	BOND_ONE_WAY, /* the waker wakes this task only */
	BOND_MUTUAL, /* and the other way round */
};

u32 task_bond(struct task_struct *p __arg_trusted);

#endif
