// SPDX-License-Identifier: GPL-2.0-only
/*
 * When the tables of the topology are filled again. Whatever changes it without hotplug, such as
 * cpuset partitions, capacities or preferred cores, makes the kernel build new scheduling
 * domains, with partition_sched_domains() in kernel/sched/topology.c. A program beside the
 * scheduler notices that, and a workqueue does the work: hooks are called meanwhile.
 */
#include "vmlinux.h"

#include "dsq.bpf.h"
#include "lifecycle.bpf.h"
#include "refresh.bpf.h"
#include "topology.bpf.h"

char _license[] SEC("license") = "GPL";

/* The kernel does the work while user space holds a reference to the map: the loader pins it. */
struct refresh {
	struct bpf_wq work;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct refresh);
} preload_refresh SEC(".maps");

/* A part of the work: a global function, which the verifier checks once. */
void follow_cpus(u32 llc);

static struct refresh *the_refresh(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&preload_refresh, &zero);
}

/*
 * Tasks on @llc's DSQ whose CPU is of another LLC now wait where nobody may look for them: move
 * them. Their virtual time may be by another clock.
 */
__noinline void follow_cpus(u32 llc)
{
	struct task_struct *p;

	bpf_rcu_read_lock();
	bpf_for_each(scx_dsq, p, PRELOAD_DSQ_LLC(llc), 0) {
		s32 cpu = scx_bpf_task_cpu(p);
		u64 dsq = PRELOAD_DSQ_LLC(cpu_llc_id(cpu));

		if (dsq == PRELOAD_DSQ_LLC(llc) || !is_plugged(cpu))
			continue;
		scx_bpf_dsq_move_set_vtime(&___it, preload_llcs[cpu_llc_id(cpu)].clock);
		if (p->nr_cpus_allowed < preload_topology.nr_possible)
			dsq = PRELOAD_DSQ_AFFINE(cpu);
		note_waiting(dsq);
		if (scx_bpf_dsq_move_vtime(&___it, p, dsq, 0))
			scx_bpf_kick_cpu(cpu, PRELOAD_KICK_IDLE);
	}
	bpf_rcu_read_unlock();
}

static int refresh(void *map, int *key, void *value)
{
	u32 llc;

	/* The scheduler has ended: ops.init() reads everything. */
	if (preload_exit_info.kind)
		return 0;
	topology_refresh();
	if (!preload_llcs_changed)
		return 0;
	preload_llcs_changed = false;
	bpf_for(llc, 0, nr_llcs()) {
		if (llc_has_waiting(llc))
			follow_cpus(llc);
	}
	return 0;
}

/* Called for each start: it is no error that an earlier one has initialized the work. */
void refresh_init(void)
{
	struct refresh *r = the_refresh();

	if (!r)
		return;
	bpf_wq_init(&r->work, &preload_refresh, 0);
	bpf_wq_set_callback(&r->work, refresh, 0);
}

/* Fill the tables again, soon. */
void ask_refresh(void)
{
	struct refresh *r = the_refresh();

	if (r)
		bpf_wq_start(&r->work, 0);
}

SEC("fexit/partition_sched_domains")
int BPF_PROG(preload_domains)
{
	ask_refresh();
	return 0;
}
