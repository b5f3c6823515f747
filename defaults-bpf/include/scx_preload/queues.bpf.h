/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queues (DSQs) of an override's own: for groups of tasks that do not go by LLC, such as
 * the layers or cells of a machine. hook_task_queue() puts tasks there, hook_dispatch()
 * takes them out.
 *
 * Include vmlinux.h before this file.
 */
#ifndef SCX_PRELOAD_QUEUES_BPF_H
#define SCX_PRELOAD_QUEUES_BPF_H

#include <bpf/bpf_helpers.h>

/* The queue of an LLC, for looks at it. */
#define PRELOAD_DSQ_LLC(llc) ((u64)(llc))

/* Beyond the ids of the defaults' queues, and below the kernel's own. */
#define PRELOAD_QUEUE(space, nth) (1ULL << 60 | (u64)(space) << 20 | (u32)(nth))

#define PRELOAD_QUEUES_SECTION ".scx_preload.queues"

/* Declarations in all overrides of a scheduler, and queues of each. */
#define PRELOAD_OWN_QUEUES_DECLS 16
#define PRELOAD_OWN_QUEUES_MAX 1024

struct preload_own_queues {
	u64 first;
	u64 count;
};

/**
 * PRELOAD_OWN_QUEUES() - have queues
 * @name: C identifier
 * @space: number below 1 << 32 that no other override uses: two overrides with queues of
 *	one space do not load together. Letters will do: 'layr'
 * @count: how many, 1..PRELOAD_OWN_QUEUES_MAX; check and link refuse others
 *
 * The queues PRELOAD_QUEUE(space, 0..count-1) are made before hook_init() is asked.
 * Linking adds the declarations of all overrides up, so that nobody needs hook_init()
 * for this, of which there can be only one.
 */
#define PRELOAD_OWN_QUEUES(name, space, count)                                                     \
	static const struct preload_own_queues __preload_queues_##name                             \
		__attribute__((section(PRELOAD_QUEUES_SECTION), used)) = {                         \
			PRELOAD_QUEUE(space, 0),                                                   \
			count,                                                                     \
		}

#endif
