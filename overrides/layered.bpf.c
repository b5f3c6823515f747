// SPDX-License-Identifier: GPL-2.0-only
/*
 * The idea of scx_layered: tasks are told apart by what they are, and each layer of them
 * has CPUs and a queue of its own. Edit the table to have yours.
 *
 * Layers are confined, as it is called there: their tasks stay on their CPUs. Tasks of no
 * layer run everywhere, and share a layer's CPUs with it by virtual time. What else a
 * scheduler decides is open: the order within a layer is the defaults' or that of another
 * override. Not covered: layers that grow and shrink with their load, layers that
 * preempt or have CPUs to themselves, rules beyond these two, and CPUs from number 64 on.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/queues.bpf.h>
#include <scx_preload/topology.bpf.h>

char _license[] SEC("license") = "GPL";

/* The first that a task matches is its layer. No two of them may share a CPU. */
static const struct layer {
	char comm[16]; /* the name begins with it */
	s32 nice; /* at least */
	u64 cpus;
} layers[] = {
	{ "render", -20, 0x0c },
	{ "", 10, 0xc0 },
};

#define NR_LAYERS (sizeof(layers) / sizeof(layers[0]))
PRELOAD_OWN_QUEUES(layered, 'layr', NR_LAYERS);

static bool has_cpu(const struct layer *layer, s32 cpu)
{
	return cpu < 64 && (layer->cpus & (1ULL << cpu));
}

static bool begins_with(const char *name, const char *prefix)
{
	for (int i = 0; i < 16 && prefix[i]; i++) {
		if (name[i] != prefix[i])
			return false;
	}
	return true;
}

/* Number of the layer of @p, -1 if it has none or its affinity keeps it out. */
static s32 layer_of(struct task_struct *p)
{
	for (u32 i = 0; i < NR_LAYERS; i++) {
		if (p->static_prio - 120 >= layers[i].nice && begins_with(p->comm, layers[i].comm))
			return (p->cpus_ptr->bits[0] & layers[i].cpus) == layers[i].cpus ? i : -1;
	}
	return -1;
}

s32 hook_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	s32 nth = layer_of(p), cpu;
	const struct layer *layer;

	if (nth < 0 || nth >= NR_LAYERS)
		return dfl_pick_idle_cpu(p, prev_cpu, wake_flags);
	layer = &layers[nth];
	/* A layer has CPUs and no cores: its tasks share them as they come. */
	if ((wake_flags & PRELOAD_WAKE_CORE) && has_cpu(layer, prev_cpu))
		return -1;
	if (has_cpu(layer, prev_cpu) && scx_bpf_test_and_clear_cpu_idle(prev_cpu))
		return prev_cpu;
	bpf_for(cpu, 0, 64) {
		if (has_cpu(layer, cpu) && scx_bpf_test_and_clear_cpu_idle(cpu))
			return cpu;
	}
	if (has_cpu(layer, prev_cpu))
		return -1;
	/*
	 * It comes to its layer from elsewhere, and might stay there as long as the layer
	 * is busy: it is next on a CPU where nobody else is.
	 */
	bpf_for(cpu, 0, 64) {
		if (has_cpu(layer, cpu) && preload_cpus[cpu].online &&
		    !scx_bpf_dsq_nr_queued(PRELOAD_DSQ_LOCAL_ON | cpu))
			return cpu;
	}
	return -1;
}

s64 hook_task_queue(struct task_struct *p __arg_trusted, s32 cpu)
{
	s32 nth = layer_of(p);

	return nth < 0 ? dfl_task_queue(p, cpu) : PRELOAD_QUEUE('layr', nth);
}

void hook_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable)
{
	s32 nth = prev ? layer_of(prev) : -1;

	/* It was elsewhere when it became one of its layer: do not let it go on here. */
	if (nth >= 0 && nth < NR_LAYERS && !has_cpu(&layers[nth], cpu))
		prev = NULL;
	for (u32 i = 0; i < NR_LAYERS; i++) {
		if (has_cpu(&layers[i], cpu)) {
			dfl_dispatch_with(cpu, prev, PRELOAD_QUEUE('layr', i));
			return;
		}
	}
	dfl_dispatch(cpu, prev);
}
