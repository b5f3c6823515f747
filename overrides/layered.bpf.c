// SPDX-License-Identifier: GPL-2.0-only
/*
 * Layers, the idea of scx_layered: tasks are classified by rules, and each layer of tasks
 * has its own CPUs and its own DSQ. Edit the table to define yours.
 *
 * Layers are "confined" in scx_layered's terms: their tasks stay on their CPUs. Tasks
 * without a layer run everywhere and share a layer's CPUs by virtual time. All other
 * decisions remain open: the order within a layer is that of the defaults or of another
 * override. Not implemented: layers that grow and shrink with their load, that preempt or
 * that have exclusive CPUs, other match rules, CPUs numbered 64 and above.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/queues.bpf.h>
#include <scx_preload/topology.bpf.h>

char _license[] SEC("license") = "GPL";

/* A task is in the first layer that it matches. No two layers may share a CPU. */
static const struct layer {
	char comm[16]; /* prefix of the task's name */
	s32 nice; /* minimum */
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

/* Index of the layer of @p; -1 if it has none or its affinity excludes some of the CPUs. */
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
	/* Layers consist of CPUs and not of cores: tasks do not move to be alone on a core. */
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
	 * It joins the layer from another CPU and might stay there while the layer is busy:
	 * make it next on a CPU of the layer whose local DSQ is empty.
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

	/* It joined its layer while running on another CPU: do not let it continue here. */
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
