// SPDX-License-Identifier: GPL-2.0-only
/*
 * A cell for each topmost cgroup, as scx_mitosis has them: CPUs that run nobody else, and a
 * queue of its own. Cells are as large as mitosis_cpus says. A cgroup has one as long as
 * tasks of it are seen; all other CPUs, the first ones always, are cell 0, for all that is in
 * no such cgroup or came when no cell was left.
 *
 * Tasks with an affinity run where they may, as the defaults have it. Of scx_mitosis this
 * leaves out cells by cpuset, or as large as there is demand, borrowing of idle CPUs, and
 * the search for idle cores and LLCs within a cell.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/queues.bpf.h>
#include <scx_preload/topology.bpf.h>

char _license[] SEC("license") = "GPL";

/* CPUs of a cell, which follow each other by number. */
const volatile u32 mitosis_cpus = 2;
/* A cell without tasks for so long is given up, ns. */
const volatile u64 mitosis_keep_ns = 1000 * 1000 * 1000;

#define NR_CELLS 64
#define QUEUE(cell) PRELOAD_QUEUE('mito', cell)
PRELOAD_OWN_QUEUES(mitosis, 'mito', NR_CELLS);

static struct cell {
	u64 group; /* number of the cgroup */
	u64 seen; /* when a task of it was, ns */
} cells[NR_CELLS];

/* A function of its own, so that it is verified once. */
s32 mitosis_cell(struct task_struct *p __arg_trusted);

/* Was there a task lately? Another CPU may have seen it a moment after now. */
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

/* The cell that @p has to stay in; negative if it may not. A new cgroup gets one. */
s32 mitosis_cell(struct task_struct *p __arg_trusted)
{
	u32 nth, cell = 0, unused = 0;
	struct cgroup *top;
	u64 group;

	/* The task that runs this program cannot migrate until it ends: it counts itself. */
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
	/* Its cell may have no core that is wholly idle: then it shares the one that it has. */
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

/* On another cell's CPU a task neither goes on when nobody waits nor preempts anybody. */
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
