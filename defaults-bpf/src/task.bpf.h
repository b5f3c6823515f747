/* SPDX-License-Identifier: GPL-2.0-only */
/* Data of each task, beside its vtime in the kernel's task_struct. */
#ifndef SCX_PRELOAD_TASK_BPF_H
#define SCX_PRELOAD_TASK_BPF_H

#include "internal.bpf.h"
#include "settings.bpf.h"

struct task_data {
	u64 vtime; /* virtual time used, ns */
	u64 charged; /* sum_exec_runtime up to which it is charged, ns */
	u64 accounted; /* run and wait time that its cgroup's load includes, ns */
	u64 shift; /* the shift of bound_to's clock that vtime includes, ns */
	u32 bound_to; /* the CPU on whose DSQs it waits, plus 1; 0 if not on a CPU's */
	u32 wakee; /* the task that it woke up last in a sync wakeup */
	u32 wakes; /* how many times in a row it woke that task */
};

struct task_data_map {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_data);
};

extern struct task_data_map preload_tasks SEC(".maps");

/*
 * The data of @p, or NULL without memory. They are created at the first call, when it has to
 * wait or a tick finds it in a cgroup: most tasks of a shell script never need any. For its
 * run time until then, it is charged up to one slice.
 */
static __always_inline struct task_data *task_data(struct task_struct *p)
{
	u64 used = p->se.sum_exec_runtime;
	struct task_data *data, start = {
		.vtime = p->scx.dsq_vtime,
		.charged = used < slice_ns ? 0 : used - slice_ns,
	};

	data = bpf_task_storage_get(&preload_tasks, p, &start, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!data)
		preload_count_rare(no_storage);
	return data;
}

/* The same without creating them: NULL if @p has none. */
static __always_inline struct task_data *find_task_data(struct task_struct *p)
{
	return bpf_task_storage_get(&preload_tasks, p, NULL, 0);
}

#endif
