/* SPDX-License-Identifier: GPL-2.0-only */
/* Start and end. */
#ifndef SCX_PRELOAD_LIFECYCLE_BPF_H
#define SCX_PRELOAD_LIFECYCLE_BPF_H

#include "internal.bpf.h"

/* Why the scheduler ended; all 0 while it runs. */
struct preload_exit {
	u64 kind; /* enum scx_exit_kind */
	s64 code;
};

extern struct preload_exit preload_exit_info;

#endif
