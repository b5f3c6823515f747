/* SPDX-License-Identifier: GPL-2.0-only */
/* CPU frequency. */
#ifndef SCX_PRELOAD_POWER_BPF_H
#define SCX_PRELOAD_POWER_BPF_H

#include "internal.bpf.h"

void power_init(void);
u64 power_tick(s32 cpu);

#endif
