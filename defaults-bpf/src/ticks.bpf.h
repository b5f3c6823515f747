/* SPDX-License-Identifier: GPL-2.0-only */
/* How long tasks have waited. */
#ifndef SCX_PRELOAD_TICKS_BPF_H
#define SCX_PRELOAD_TICKS_BPF_H

#include "internal.bpf.h"

void ticks_init(void);
u64 waited_ns(const struct task_struct *p __arg_untrusted);

#endif
