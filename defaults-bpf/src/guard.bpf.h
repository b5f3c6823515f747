/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calling overrides, and when to stop: bad, slow and starving results begin soft bypass,
 * see include/scx_preload/bypass.bpf.h.
 */
#ifndef SCX_PRELOAD_GUARD_BPF_H
#define SCX_PRELOAD_GUARD_BPF_H

#include "scx_preload/bypass.bpf.h"

#include "internal.bpf.h"

#define PRELOAD_BYPASS_LOG 8

/* A soft bypass that lasts until the user ends it. */
#define BYPASS_FOREVER (~0ULL)

struct bypass_change {
	u64 at; /* as in dmesg, ns */
	u64 waited; /* for a stall, ns */
	u32 reason; /* enum preload_bypass_reason */
	u32 hook; /* the hook with bad or slow results */
	s32 pid; /* the task that waited */
	s32 cpu;
	struct preload_bypass_why why; /* the override's message, or the name of that task */
};

struct preload_bypass {
	u32 on; /* enum preload_bypass_reason; read for each decision */
	u32 timed; /* whether calls of overrides are timed; read as `on` */
	u32 changing;
	u32 seq; /* counts changes */
	u32 told; /* the last change that hook_bypass() was called for */
	u32 times; /* how often it began, without the forgotten ones */
	u64 since; /* time of the last change, jiffies */
	u64 changed_at; /* the same, or when a soft bypass was forgotten, ns */
	u64 until; /* planned end, ns */
	struct bypass_change changes[PRELOAD_BYPASS_LOG];
};

extern struct preload_bypass preload_bypass;

/* Hooks that are not called during soft bypass. */
#define PRELOAD_BYPASSABLE                                                                         \
	(1ULL << HOOK_PICK_IDLE_CPU | 1ULL << HOOK_LEAVE_LLC | 1ULL << HOOK_TASK_QUEUE |           \
	 1ULL << HOOK_TASK_SLICE | 1ULL << HOOK_TASK_VTIME | 1ULL << HOOK_TASK_CHARGE |            \
	 1ULL << HOOK_TASK_PREEMPT | 1ULL << HOOK_STEAL_LLC | 1ULL << HOOK_BALANCE_LLC |           \
	 1ULL << HOOK_ENQUEUE | 1ULL << HOOK_DISPATCH | 1ULL << HOOK_MAY_MIGRATE)

/* Is there an override to bypass? A constant once the scheduler is loaded. */
static __always_inline bool is_watched(void)
{
	return PRELOAD_OVERRIDDEN & PRELOAD_BYPASSABLE;
}

/* Is @hook overridden, and not bypassed? */
static __always_inline bool is_asked(u32 hook)
{
	return (PRELOAD_OVERRIDDEN & (1ULL << hook)) && !preload_bypass.on;
}

void bad_result(u32 hook);
void tick_in(u32 hook, u64 from);
void spent_in(u32 hook, u64 from_ns);
void bypass_change(struct bypass_change *change __arg_nonnull);
bool is_stalled(s32 cpu, struct bypass_change *change __arg_nonnull);
void report_stall(s32 cpu);

/* Call an override, and note the ticks that passed meanwhile and, if asked to, how long it took. */
#define ask_override(HOOK, call)                                                                   \
	do {                                                                                       \
		u64 __from = bpf_jiffies64();                                                      \
		u64 __from_ns = preload_bypass.timed ? bpf_ktime_get_ns() : 0;                     \
		call;                                                                              \
		if (bpf_jiffies64() != __from)                                                     \
			tick_in(HOOK, __from);                                                     \
		if (__from_ns)                                                                     \
			spent_in(HOOK, __from_ns);                                                 \
	} while (0)

/* The result of a hook's override, or of its default. */
#define ask_hook(HOOK, override, dfl)                                                              \
	({                                                                                         \
		typeof(dfl) __result;                                                              \
		if (is_asked(HOOK))                                                                \
			ask_override(HOOK, __result = (override));                                 \
		else                                                                               \
			__result = (dfl);                                                          \
		__result;                                                                          \
	})

#endif
