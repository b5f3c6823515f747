// SPDX-License-Identifier: GPL-2.0-only
/*
 * A cell for each top-level cgroup, as in scx_mitosis: exclusive CPUs, mitosis_cpus of them,
 * and a DSQ of its own. A cgroup keeps its cell as long as tasks of it are seen. All other
 * CPUs, and always the first ones, are cell 0, for tasks outside of such cgroups and of
 * cgroups that found no free cell.
 *
 * Tasks with a restricted affinity are left to the defaults. Not implemented of
 * scx_mitosis: cells by cpuset, cells sized by demand, borrowing of idle CPUs, the search
 * for idle cores and LLCs within a cell.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/queues.bpf.h>
#include <scx_preload/topology.bpf.h>

char _license[] SEC("license") = "GPL";

/* CPUs per cell, with consecutive numbers. */
const volatile u32 mitosis_cpus = 2;
/* A cell without tasks for this long is released, ns. */
const volatile u64 mitosis_keep_ns = 1000 * 1000 * 1000;

#define NR_CELLS 64
#define QUEUE(cell) PRELOAD_QUEUE('mito', cell)
PRELOAD_OWN_QUEUES(mitosis, 'mito', NR_CELLS);

static struct cell {
	u64 group; /* id of the cgroup */
	u64 seen; /* when one of its tasks was last seen, ns */
} cells[NR_CELLS];

/* A global function, so that it is verified once. */
s32 mitosis_cell(struct task_struct *p __arg_trusted);

/* Was a task seen recently? Another CPU may have stored a time just after ours. */
static bool is_used(u32 cell)
{
	s64 ago = bpf_ktime_get_ns() - cells[cell & (NR_CELLS - 1)].seen;

	return ago < (s64)mitosis_keep_ns || scx_bpf_dsq_nr_queued(QUEUE(cell)) > 0;
}

static u32 cell_of(s32 cpu)
{
	u32 cell = cpu / mitosis_cpus;

	return cell < NR_CELLS && is_used(cell) ? cell : 0;
}

/*
 * The cell of @p, which is assigned if its cgroup has none; negative if its affinity is
 * restricted.
 */
s32 mitosis_cell(struct task_struct *p __arg_trusted)
{
	u32 nth, cell = 0, unused = 0;
	struct cgroup *top;
	u64 group;

	/* This program disables migration of the current task, which counts once. */
	if (p->nr_cpus_allowed < preload_topology.nr_possible ||
	    p->migration_disabled > (p == bpf_get_current_task_btf()))
		return -1;
	top = bpf_cgroup_ancestor(p->cgroups->dfl_cgrp, 1);
	if (!top)
		return 0;
	group = top->kn->id;
	bpf_cgroup_release(top);

	bpf_for(nth, 1, NR_CELLS) {
		if (!preload_cpus[nth * mitosis_cpus & (PRELOAD_MAX_CPUS - 1)].online)
			continue;
		if (cells[nth & (NR_CELLS - 1)].group == group)
			cell = nth;
		else if (!unused && !is_used(nth))
			unused = nth;
	}
	cell = cell ?: unused;
	cells[cell & (NR_CELLS - 1)].group = group;
	cells[cell & (NR_CELLS - 1)].seen = bpf_ktime_get_ns();
	return cell;
}

static bool is_foreign(struct task_struct *p, s32 cpu)
{
	s32 cell = mitosis_cell(p);

	return cell >= 0 && cell != cell_of(cpu);
}

s32 hook_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	s32 cell = mitosis_cell(p), cpu;

	if (cell < 0)
		return dfl_pick_idle_cpu(p, prev_cpu, wake_flags);
	/* An idle core may belong to another cell: keep sharing this one. */
	if (wake_flags & PRELOAD_WAKE_CORE)
		return -1;
	if (cell == cell_of(prev_cpu) && scx_bpf_test_and_clear_cpu_idle(prev_cpu))
		return prev_cpu;
	bpf_for(cpu, 0, nr_cpu_ids()) {
		if (cell == cell_of(cpu) && scx_bpf_test_and_clear_cpu_idle(cpu))
			return cpu;
	}
	return -1;
}

s64 hook_task_queue(struct task_struct *p __arg_trusted, s32 cpu)
{
	s32 cell = mitosis_cell(p);

	return cell < 0 ? dfl_task_queue(p, cpu) : PRELOAD_QUEUE('mito', cell);
}

/* On another cell's CPU a task neither continues for lack of others nor preempts. */
void hook_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags)
{
	if (is_foreign(p, scx_bpf_task_cpu(p)))
		enq_flags &= ~(PRELOAD_ENQ_LAST | PRELOAD_ENQ_WAKEUP);
	dfl_enqueue(p, enq_flags);
}

void hook_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable)
{
	if (prev && is_foreign(prev, cpu))
		prev = NULL;
	dfl_dispatch_with(cpu, prev, QUEUE(cell_of(cpu)));
}
