/* SPDX-License-Identifier: GPL-2.0-only */
/* The transition from overrides to the defaults alone, and back. */
#ifndef SCX_PRELOAD_BYPASS_INTERNAL_BPF_H
#define SCX_PRELOAD_BYPASS_INTERNAL_BPF_H

#include "internal.bpf.h"

s32 bypass_init(void);
void bypass_poll(void);
bool dispatch_before_change(s32 cpu);

#endif
