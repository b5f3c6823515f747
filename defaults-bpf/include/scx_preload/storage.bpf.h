/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Data of an override's own: a struct for each task, and one for each CPU. Several
 * overrides have theirs side by side.
 *
 * Include vmlinux.h before this file.
 */
#ifndef SCX_PRELOAD_STORAGE_BPF_H
#define SCX_PRELOAD_STORAGE_BPF_H

#include <bpf/bpf_helpers.h>

/**
 * PRELOAD_TASK_DATA() - keep a struct for each task
 * @name: prefix of the two functions below
 * @of: the struct
 *
 * Defines
 *	of *name_get(p): the task's struct, all 0 at first; NULL if there is no memory
 *	of *name_find(p): the same, but NULL where name_get() never was called: cheaper
 *		for tasks that may have none
 * to call from every hook with a task. The kernel frees it with the task. Its address
 * holds until the hook returns.
 */
#define PRELOAD_TASK_DATA(name, of)                                                                \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_TASK_STORAGE);                                           \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                              \
		__type(key, int);                                                                  \
		__type(value, of);                                                                 \
	} name SEC(".maps");                                                                       \
                                                                                                   \
	static inline __attribute__((unused)) of *name##_get(struct task_struct *p)                \
	{                                                                                          \
		return bpf_task_storage_get(&name, p, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);       \
	}                                                                                          \
                                                                                                   \
	static inline __attribute__((unused)) of *name##_find(struct task_struct *p)               \
	{                                                                                          \
		return bpf_task_storage_get(&name, p, NULL, 0);                                    \
	}

/**
 * PRELOAD_CPU_DATA() - keep a struct for each CPU
 * @name: prefix of the two functions below
 * @of: the struct
 *
 * Defines
 *	of *name_this(): that of the CPU that runs the hook, nobody else writes it if
 *		nobody calls name_of()
 *	of *name_of(cpu): that of any CPU, NULL for one that cannot exist
 * The kernel's relative is DEFINE_PER_CPU().
 */
#define PRELOAD_CPU_DATA(name, of)                                                                 \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                           \
		__uint(max_entries, 1);                                                            \
		__type(key, u32);                                                                  \
		__type(value, of);                                                                 \
	} name SEC(".maps");                                                                       \
                                                                                                   \
	static inline __attribute__((unused)) of *name##_this(void)                                \
	{                                                                                          \
		u32 zero = 0;                                                                      \
                                                                                                   \
		return bpf_map_lookup_elem(&name, &zero);                                          \
	}                                                                                          \
                                                                                                   \
	static inline __attribute__((unused)) of *name##_of(s32 cpu)                               \
	{                                                                                          \
		u32 zero = 0;                                                                      \
                                                                                                   \
		return bpf_map_lookup_percpu_elem(&name, &zero, cpu);                              \
	}

#endif
