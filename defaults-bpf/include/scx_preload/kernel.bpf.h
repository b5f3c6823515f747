/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Kernel interfaces in a form that lets one object run on many kernels: SCX_* values are
 * CO-RE relocations, so that user space need not fill them in, and a kfunc whose signature
 * changed has a wrapper that handles both.
 */
#ifndef SCX_PRELOAD_KERNEL_BPF_H
#define SCX_PRELOAD_KERNEL_BPF_H

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define PRELOAD_DSQ_LOCAL bpf_core_enum_value(enum scx_dsq_id_flags, SCX_DSQ_LOCAL)
#define PRELOAD_DSQ_LOCAL_ON bpf_core_enum_value(enum scx_dsq_id_flags, SCX_DSQ_LOCAL_ON)
#define PRELOAD_DSQ_BUILTIN bpf_core_enum_value(enum scx_dsq_id_flags, SCX_DSQ_FLAG_BUILTIN)
#define PRELOAD_ENQ_WAKEUP bpf_core_enum_value(enum scx_enq_flags, SCX_ENQ_WAKEUP)
#define PRELOAD_ENQ_CPU_SELECTED bpf_core_enum_value(enum scx_enq_flags, SCX_ENQ_CPU_SELECTED)
#define PRELOAD_ENQ_PREEMPT bpf_core_enum_value(enum scx_enq_flags, SCX_ENQ_PREEMPT)
#define PRELOAD_ENQ_LAST bpf_core_enum_value(enum scx_enq_flags, SCX_ENQ_LAST)
#define PRELOAD_ENQ_IMMED bpf_core_enum_value(enum scx_enq_flags, SCX_ENQ_IMMED)
#define PRELOAD_WAKE_FORK bpf_core_enum_value(enum scx_wake_flags, SCX_WAKE_FORK)
#define PRELOAD_WAKE_SYNC bpf_core_enum_value(enum scx_wake_flags, SCX_WAKE_SYNC)
#define PRELOAD_PICK_IDLE_CORE bpf_core_enum_value(enum scx_pick_idle_cpu_flags, SCX_PICK_IDLE_CORE)
#define PRELOAD_KICK_IDLE bpf_core_enum_value(enum scx_kick_flags, SCX_KICK_IDLE)
#define PRELOAD_KICK_PREEMPT bpf_core_enum_value(enum scx_kick_flags, SCX_KICK_PREEMPT)
#define PRELOAD_TASK_QUEUED bpf_core_enum_value(enum scx_ent_flags, SCX_TASK_QUEUED)

/* Macros: BTF, and so vmlinux.h, cannot carry them. */
#ifndef EBUSY
#define EBUSY 16
#endif
#ifndef EEXIST
#define EEXIST 17
#endif
#ifndef EINVAL
#define EINVAL 22
#endif
#ifndef CLOCK_MONOTONIC
#define CLOCK_MONOTONIC 1
#endif

/* The sched_ext project's headers have the same definitions. */
#ifndef BPF_STRUCT_OPS
#define BPF_STRUCT_OPS(name, args...) SEC("struct_ops/" #name) BPF_PROG(name, ##args)
#endif
#ifndef BPF_STRUCT_OPS_SLEEPABLE
#define BPF_STRUCT_OPS_SLEEPABLE(name, args...) SEC("struct_ops.s/" #name) BPF_PROG(name, ##args)
#endif

/*
 * The kernel's names end in ___v2. libbpf takes what follows the last ___ for a local
 * flavor and drops it, hence the second suffix.
 */
bool scx_bpf_dsq_insert___v2___preload(struct task_struct *p, u64 dsq_id, u64 slice,
				       u64 enq_flags) __ksym __weak;
bool scx_bpf_dsq_move_to_local___v2___preload(u64 dsq_id, u64 enq_flags) __ksym __weak;

/* 6.19 or later: the v2 kfunc returns whether it inserted. */
static __always_inline void preload_dsq_insert(struct task_struct *p, u64 dsq, u64 slice,
					       u64 enq_flags)
{
	if (bpf_ksym_exists(scx_bpf_dsq_insert___v2___preload))
		scx_bpf_dsq_insert___v2___preload(p, dsq, slice, enq_flags);
	else
		scx_bpf_dsq_insert(p, dsq, slice, enq_flags);
}

/* 7.1 or later: the v2 kfunc takes flags. */
static __always_inline bool preload_dsq_move_to_local(u64 dsq, u64 enq_flags)
{
	if (bpf_ksym_exists(scx_bpf_dsq_move_to_local___v2___preload))
		return scx_bpf_dsq_move_to_local___v2___preload(dsq, enq_flags);
	return scx_bpf_dsq_move_to_local(dsq);
}

/*
 * 6.19 moved arguments into structs, as a call takes five at most. Copies of these structs
 * without vmlinux.h's preserve_access_index: the memory is ours, and CO-RE relocations
 * would cost a search through all of the kernel's types.
 */
struct preload_select_cpu_and_args {
	s32 prev_cpu;
	u64 wake_flags;
	u64 flags;
};

struct preload_dsq_insert_vtime_args {
	u64 dsq_id;
	u64 slice;
	u64 vtime;
	u64 enq_flags;
};

static __always_inline s32 preload_select_cpu_and(struct task_struct *p, s32 prev_cpu,
						  u64 wake_flags, const struct cpumask *allowed,
						  u64 flags)
{
	if (bpf_ksym_exists(__scx_bpf_select_cpu_and)) {
		struct preload_select_cpu_and_args args = {
			.prev_cpu = prev_cpu,
			.wake_flags = wake_flags,
			.flags = flags,
		};

		return __scx_bpf_select_cpu_and(p, allowed, (void *)&args);
	}
	return scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, allowed, flags);
}

static __always_inline void preload_dsq_insert_vtime(struct task_struct *p, u64 dsq, u64 slice,
						     u64 vtime, u64 enq_flags)
{
	if (bpf_ksym_exists(__scx_bpf_dsq_insert_vtime)) {
		struct preload_dsq_insert_vtime_args args = {
			.dsq_id = dsq,
			.slice = slice,
			.vtime = vtime,
			.enq_flags = enq_flags,
		};

		__scx_bpf_dsq_insert_vtime(p, (void *)&args);
		return;
	}
	scx_bpf_dsq_insert_vtime(p, dsq, slice, vtime, enq_flags);
}

/* Is virtual time @a before @b? Both may wrap, as for the kernel's time_before64(). */
static __always_inline bool vtime_before(u64 a, u64 b)
{
	return (s64)(a - b) < 0;
}

#endif
