/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An override's own DSQs, for groups of tasks that are not formed by LLC, such as layers
 * or cells. hook_task_queue() puts tasks there, hook_dispatch() consumes them.
 *
 * Include vmlinux.h before this file.
 */
#ifndef SCX_PRELOAD_QUEUES_BPF_H
#define SCX_PRELOAD_QUEUES_BPF_H

#include <bpf/bpf_helpers.h>

/* The DSQ of an LLC, to inspect it. */
#define PRELOAD_DSQ_LLC(llc) ((u64)(llc))

/* Above the ids of the defaults' DSQs and below the kernel's built-in ones. */
#define PRELOAD_QUEUE(space, nth) (1ULL << 60 | (u64)(space) << 20 | (u32)(nth))

#define PRELOAD_QUEUES_SECTION ".scx_preload.queues"

/* Limits: declarations in all overrides of a scheduler, and DSQs of each declaration. */
#define PRELOAD_OWN_QUEUES_DECLS 16
#define PRELOAD_OWN_QUEUES_MAX 1024

struct preload_own_queues {
	u64 first;
	u64 count;
};

/**
 * PRELOAD_OWN_QUEUES() - declare an override's own DSQs
 * @name: C identifier
 * @space: number below 1 << 32 that no other override uses: two overrides with DSQs in
 *	one space do not load together. A character constant will do: 'layr'
 * @count: how many, 1..PRELOAD_OWN_QUEUES_MAX; check and link refuse other values
 *
 * The DSQs PRELOAD_QUEUE(space, 0..count-1) are created before hook_init() is called.
 * Linking concatenates the declarations of all overrides, so that none of them needs
 * hook_init() for this: there can be only one.
 */
#define PRELOAD_OWN_QUEUES(name, space, count)                                                     \
	static const struct preload_own_queues __preload_queues_##name                             \
		__attribute__((section(PRELOAD_QUEUES_SECTION), used)) = {                         \
			PRELOAD_QUEUE(space, 0),                                                   \
			count,                                                                     \
		}

#endif
