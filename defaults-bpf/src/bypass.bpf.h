/* SPDX-License-Identifier: GPL-2.0-only */
/* The transition from overrides to the defaults alone, and back. */
#ifndef SCX_PRELOAD_BYPASS_INTERNAL_BPF_H
#define SCX_PRELOAD_BYPASS_INTERNAL_BPF_H

#include "guard.bpf.h"

/* On PREEMPT_RT, spin locks are mutexes. */
struct spinlock___rt {
	struct rt_mutex_base lock;
} __attribute__((preserve_access_index));

/* Is bypass_poll() due? PREEMPT_RT refuses timers of BPF programs. A constant, like is_watched(). */
static __always_inline bool is_polled(void)
{
	return is_watched() && bpf_core_field_exists(struct spinlock___rt, lock);
}

s32 bypass_init(void);
void bypass_poll(void);
bool dispatch_before_change(s32 cpu);

#endif
