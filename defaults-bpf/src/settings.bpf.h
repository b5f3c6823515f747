/* SPDX-License-Identifier: GPL-2.0-only */
/* Rodata that the loader sets before it loads the object. */
#ifndef SCX_PRELOAD_SETTINGS_BPF_H
#define SCX_PRELOAD_SETTINGS_BPF_H

#include "scx_preload/queues.bpf.h"

#include "internal.bpf.h"

extern const volatile u64 slice_ns;
extern const volatile u64 overdue_ms;
extern const volatile u64 bypass_stall_ms;
extern const volatile u64 bypass_bad_per_s;
extern const volatile u64 bypass_slow_percent;
extern const volatile u64 bypass_hold_ms;
extern const volatile u64 bypass_max;

extern const volatile struct preload_own_queues own_queues[PRELOAD_OWN_QUEUES_DECLS];

#endif
