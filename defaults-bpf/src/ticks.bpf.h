/* SPDX-License-Identifier: GPL-2.0-only */
/* How long tasks have waited. */
#ifndef SCX_PRELOAD_TICKS_BPF_H
#define SCX_PRELOAD_TICKS_BPF_H

#include "internal.bpf.h"

/* A tick at 100 Hz, the longest. */
#define TICK_MAX_NS (10 * NSEC_PER_MSEC)

void ticks_init(void);
u64 waited_ns(const struct task_struct *p __arg_untrusted);
bool waited_longer(const struct task_struct *p __arg_untrusted, u64 ns);

#endif
