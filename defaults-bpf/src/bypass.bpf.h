/* SPDX-License-Identifier: GPL-2.0-only */
/* The transition from overrides to the defaults alone, and back. */
#ifndef SCX_PRELOAD_BYPASS_INTERNAL_BPF_H
#define SCX_PRELOAD_BYPASS_INTERNAL_BPF_H

#include "guard.bpf.h"

/* Is bypass_poll() due, as there are no timers? A constant, like is_watched(). */
static __always_inline bool is_polled(void)
{
	return is_watched() && !has_timers();
}

s32 bypass_init(void);
void bypass_poll(void);
bool dispatch_before_change(s32 cpu);

#endif
