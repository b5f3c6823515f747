/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An override's own data: a struct per task and a struct per CPU. Several overrides can
 * each have their own.
 *
 * Include vmlinux.h before this file.
 */
#ifndef SCX_PRELOAD_STORAGE_BPF_H
#define SCX_PRELOAD_STORAGE_BPF_H

#include <bpf/bpf_helpers.h>

/**
 * PRELOAD_TASK_DATA() - declare a struct per task
 * @name: prefix of the two functions below
 * @of: the struct
 *
 * Defines
 *	of *name_get(p): the task's struct, initially zero; NULL if out of memory
 *	of *name_find(p): the same, but NULL if name_get() was never called for @p; cheaper
 *		if most tasks have none
 * for every hook that has a task. The kernel frees the struct with the task. The pointer is
 * valid until the hook returns.
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
 * PRELOAD_CPU_DATA() - declare a struct per CPU
 * @name: prefix of the two functions below
 * @of: the struct
 *
 * Defines
 *	of *name_this(): the struct of the CPU that runs the hook; no other CPU writes to it
 *		unless through name_of()
 *	of *name_of(cpu): the struct of any CPU; NULL for an impossible CPU
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
