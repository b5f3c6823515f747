/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Soft bypass: overrides of placement, order and balance are not asked, and the
 * defaults decide alone, until the reason is gone. The kernel's relative is
 * scx_bypass() in kernel/sched/ext/ext.c, which skips a whole scheduler and has
 * little balance.
 *
 * It begins when an override gives too many results out of range, takes too much
 * time, leaves a task without a CPU for too long, asks for it itself, or when the
 * user does (`scx_preload bypass on`). It ends by itself, each time later, and after
 * some times only when the user says so (`scx_preload bypass off`).
 *
 * Include vmlinux.h before this file.
 */
#ifndef SCX_PRELOAD_BYPASS_BPF_H
#define SCX_PRELOAD_BYPASS_BPF_H

#include <bpf/bpf_helpers.h>

/* Why; `scx_preload status` shows the names. */
enum preload_bypass_reason {
	PRELOAD_BYPASS_NONE, /* no bypass */
	PRELOAD_BYPASS_BAD, /* results of a hook were out of range, again and again */
	PRELOAD_BYPASS_STALL, /* a task was runnable for too long and did not run */
	PRELOAD_BYPASS_SLOW, /* a CPU spent too much of its time in overrides */
	PRELOAD_BYPASS_OVERRIDE, /* preload_bypass_enter() */
	PRELOAD_BYPASS_USER,
};

/* Words for people. */
struct preload_bypass_why {
	char text[48];
};

/**
 * preload_bypass_enter() - give up for now
 * @why: string literal of at most 47 characters, for the user
 *
 * For an override that finds its own data in disorder. May be called from every hook.
 * Overrides are asked no more from the next decision on; hook_bypass() says when they
 * are again.
 */
#define preload_bypass_enter(why)                                                                  \
	do {                                                                                       \
		struct preload_bypass_why __why = { why };                                         \
		preload_bypass_ask(&__why);                                                        \
	} while (0)

void preload_bypass_ask(struct preload_bypass_why *why __arg_nonnull);

#endif
