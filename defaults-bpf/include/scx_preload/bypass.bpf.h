/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Soft bypass: overrides of placement, order and balance are not called, and the
 * defaults decide alone. Its relative is kernel bypass, scx_bypass() in
 * kernel/sched/ext/ext.c, which skips the whole scheduler and balances little.
 *
 * Soft bypass begins when an override returns too many results out of range, takes too
 * much time, keeps a task from running for too long, or requests it, or when the user
 * does (`scx_preload bypass on`). It ends by itself, each time later; after a few times,
 * only when the user ends it (`scx_preload bypass off`).
 *
 * Include vmlinux.h before this file.
 */
#ifndef SCX_PRELOAD_BYPASS_BPF_H
#define SCX_PRELOAD_BYPASS_BPF_H

#include <bpf/bpf_helpers.h>

/* `scx_preload status` shows these names. */
enum preload_bypass_reason {
	PRELOAD_BYPASS_NONE, /* not in soft bypass */
	PRELOAD_BYPASS_BAD, /* too many results of a hook were out of range */
	PRELOAD_BYPASS_STALL, /* a task was runnable for too long without running */
	PRELOAD_BYPASS_SLOW, /* a CPU spent too much of its time in overrides */
	PRELOAD_BYPASS_OVERRIDE, /* preload_bypass_enter() */
	PRELOAD_BYPASS_USER,
};

/* A message for the user. */
struct preload_bypass_why {
	char text[48];
};

/**
 * preload_bypass_enter() - request soft bypass
 * @why: message for the user, a string literal of at most 47 characters
 *
 * For an override that finds its own data inconsistent. May be called from every hook.
 * From the next decision on, overrides are not called; hook_bypass() is notified when
 * soft bypass ends.
 */
#define preload_bypass_enter(why)                                                                  \
	do {                                                                                       \
		struct preload_bypass_why __why = { why };                                         \
		preload_bypass_ask(&__why);                                                        \
	} while (0)

void preload_bypass_ask(struct preload_bypass_why *why __arg_nonnull);

#endif
