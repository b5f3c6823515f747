// SPDX-License-Identifier: GPL-2.0-only
/*
 * A cell for each topmost cgroup, as scx_mitosis has them: CPUs that run nobody else, and a
 * queue of its own. Cells are made for cgroups when their tasks show up and dissolve when
 * none has for a while; each time the CPUs are divided anew, in equal parts that follow
 * each other by number. Cell 0 is for all that is in no such cgroup.
 *
 * Pinned tasks, and those with an affinity that leaves out their cell, run where they may,
 * as the defaults have it. Of scx_mitosis this leaves out parts by demand or by cpuset,
 * borrowing of idle CPUs, and queues by LLC within a cell. A cgroup for which there is no
 * cell or no CPU left shares cell 0.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/queues.bpf.h>
#include <scx_preload/topology.bpf.h>

char _license[] SEC("license") = "GPL";

/* A cell without tasks for so long gives its CPUs back, ns. */
const volatile u64 mitosis_keep_ns = 1000 * 1000 * 1000;

#define NR_CELLS 16
#define PERIOD_NS (100 * 1000 * 1000)
#define DEPTH_MAX 32
#define QUEUE(cell) PRELOAD_QUEUE('mito', cell)
PRELOAD_OWN_QUEUES(mitosis, 'mito', NR_CELLS);

static struct cell {
	u64 group; /* inode number of the cgroup */
	u64 seen; /* when a task of it was, ns */
} cells[NR_CELLS];

/* Cells that have CPUs, a bit each, and the cell of each CPU. */
static u32 live, nr_divided, dividing;
static u8 cell_of[PRELOAD_MAX_CPUS];
static u64 divided_at;

struct mitosis_mask {
	struct bpf_cpumask __kptr *cpus;
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NR_CELLS);
	__type(key, u32);
	__type(value, struct mitosis_mask);
} mitosis_masks SEC(".maps");

/* Functions of their own, so that they are verified once. */
u64 mitosis_group(struct task_struct *p __arg_trusted);
u32 mitosis_find(u64 group);
s32 mitosis_cell(struct task_struct *p __arg_trusted);
bool mitosis_is_foreign(struct task_struct *p __arg_trusted, s32 cpu);
bool mitosis_prepare(u32 cell);
void mitosis_give(u32 cell, u32 nth, u32 nr);
void mitosis_divide(void);

static const struct cpumask *cell_cpumask(u32 cell)
{
	struct mitosis_mask *mask = bpf_map_lookup_elem(&mitosis_masks, &cell);

	return mask && mask->cpus ? (const struct cpumask *)mask->cpus : NULL;
}

/* The topmost cgroup of @p; 0 for the root. */
u64 mitosis_group(struct task_struct *p __arg_trusted)
{
	struct cgroup *group = BPF_CORE_READ(p, cgroups, dfl_cgrp), *parent;
	u64 top = 0;
	u32 i;

	bpf_for(i, 0, DEPTH_MAX) {
		parent = (struct cgroup *)BPF_CORE_READ(group, self.parent);
		if (!parent)
			break;
		top = BPF_CORE_READ(group, kn, id);
		group = parent;
	}
	return top;
}

/* Was a task of @cell there lately? Another CPU may have seen it a moment after now. */
static bool was_seen(u32 cell)
{
	u64 seen = cells[cell & (NR_CELLS - 1)].seen;

	return seen && (s64)(bpf_ktime_get_ns() - seen) < (s64)mitosis_keep_ns;
}

/* The cell of cgroup @group, which gets one at the next division if it has none. */
u32 mitosis_find(u64 group)
{
	u32 i, cell = 0, unused = 0;

	if (!group)
		return 0;
	bpf_for(i, 1, NR_CELLS) {
		if (cells[i & (NR_CELLS - 1)].group == group)
			cell = i;
		else if (!(live & (1U << i)) && !was_seen(i))
			unused = i;
	}
	if (!cell && !unused)
		return 0;
	if (!cell) {
		cell = unused;
		cells[cell & (NR_CELLS - 1)].group = group;
		divided_at = 0;
	}
	cells[cell & (NR_CELLS - 1)].seen = bpf_ktime_get_ns();
	return live & (1U << (cell & 31)) ? cell : 0;
}

/* The cell that @p has to stay in; negative if it may not. */
s32 mitosis_cell(struct task_struct *p __arg_trusted)
{
	u32 cell = mitosis_find(mitosis_group(p));
	const struct cpumask *cpus = cell_cpumask(cell);

	return cpus && bpf_cpumask_intersects(cpus, p->cpus_ptr) ? (s32)cell : -1;
}

bool mitosis_is_foreign(struct task_struct *p __arg_trusted, s32 cpu)
{
	s32 cell = p->nr_cpus_allowed > 1 ? mitosis_cell(p) : -1;

	return cell >= 0 && cell != cell_of[cpu & (PRELOAD_MAX_CPUS - 1)];
}

/* Make the mask of @cell. Fails for a moment where there is no memory at hand. */
bool mitosis_prepare(u32 cell)
{
	struct mitosis_mask *slot = bpf_map_lookup_elem(&mitosis_masks, &cell);
	struct bpf_cpumask *cpus;

	if (!slot)
		return false;
	if (slot->cpus)
		return true;
	cpus = bpf_cpumask_create();
	if (!cpus)
		return false;
	cpus = bpf_kptr_xchg(&slot->cpus, cpus);
	if (cpus)
		bpf_cpumask_release(cpus);
	return true;
}

/* Give @cell, which is the @nth of @nr, its CPUs. Who runs there has to go. */
void mitosis_give(u32 cell, u32 nth, u32 nr)
{
	struct mitosis_mask *slot = bpf_map_lookup_elem(&mitosis_masks, &cell);
	struct bpf_cpumask *cpus = slot ? slot->cpus : NULL;
	u32 cpu;

	if (!cpus)
		return;
	bpf_for(cpu, 0, nr_cpu_ids()) {
		if (cpu * nr / (nr_cpu_ids() ?: 1) != nth) {
			bpf_cpumask_clear_cpu(cpu, cpus);
			continue;
		}
		bpf_cpumask_set_cpu(cpu, cpus);
		cell_of[cpu & (PRELOAD_MAX_CPUS - 1)] = cell;
		scx_bpf_kick_cpu(cpu, PRELOAD_KICK_PREEMPT);
	}
}

/* Divide the CPUs among the cells that have tasks, if these are not those of last time. */
void mitosis_divide(void)
{
	u32 i, nr = 1, nth = 0, cells_now = 1;
	bool ready = true;

	bpf_for(i, 1, NR_CELLS) {
		if (nr < preload_topology.nr_online &&
		    (was_seen(i) || scx_bpf_dsq_nr_queued(QUEUE(i)) > 0)) {
			cells_now |= 1U << i;
			nr++;
		}
	}
	if (cells_now == live && nr_divided == preload_topology.nr_online)
		return;
	bpf_for(i, 0, NR_CELLS) {
		if (cells_now & (1U << i))
			ready &= mitosis_prepare(i);
	}
	if (!ready)
		return;
	nr_divided = preload_topology.nr_online;
	bpf_for(i, 0, NR_CELLS) {
		if (cells_now & (1U << i))
			mitosis_give(i, nth++, nr);
	}
	live = cells_now;
}

s32 hook_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	s32 cell = mitosis_cell(p);
	const struct cpumask *cpus = cell >= 0 ? cell_cpumask(cell) : NULL;

	return cpus ? preload_select_cpu_and(p, prev_cpu, 0, cpus, 0)
		    : dfl_pick_idle_cpu(p, prev_cpu, wake_flags);
}

s64 hook_task_queue(struct task_struct *p __arg_trusted, s32 cpu)
{
	s32 cell = mitosis_cell(p);

	return cell >= 0 ? (s64)QUEUE(cell) : dfl_task_queue(p, cpu);
}

bool hook_task_preempt(struct task_struct *p __arg_trusted, s32 cpu, u64 ahead)
{
	return !mitosis_is_foreign(p, cpu) && dfl_task_preempt(p, cpu, ahead);
}

/* On a CPU that is another cell's by now a task does not go on, whoever else waits. */
void hook_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags)
{
	if ((enq_flags & PRELOAD_ENQ_LAST) && mitosis_is_foreign(p, scx_bpf_task_cpu(p)))
		enq_flags &= ~PRELOAD_ENQ_LAST;
	dfl_enqueue(p, enq_flags);
}

void hook_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable)
{
	u64 now = bpf_ktime_get_ns(), queue = QUEUE(cell_of[cpu & (PRELOAD_MAX_CPUS - 1)]);

	if (now - divided_at >= PERIOD_NS && __sync_bool_compare_and_swap(&dividing, 0, 1)) {
		divided_at = now;
		mitosis_divide();
		dividing = 0;
	}
	if (prev && mitosis_is_foreign(prev, cpu))
		dfl_dispatch_with(cpu, NULL, queue);
	else
		dfl_dispatch_with(cpu, prev, queue);
}
