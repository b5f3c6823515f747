// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fill the tables of include/scx_preload/topology.bpf.h from the kernel's per-CPU data:
 * sd_llc_id, the domains from rq->sd up, the CPU's node, capacity and priority.
 */
#include "vmlinux.h"

#include "topology.bpf.h"

char _license[] SEC("license") = "GPL";

struct preload_cpu preload_cpus[PRELOAD_MAX_CPUS];
struct preload_llc preload_llcs[PRELOAD_MAX_LLCS];
struct preload_topology preload_topology;
u32 preload_near[PRELOAD_MAX_LLCS * PRELOAD_NR_NEAR];
struct preload_llc_masks preload_llc_masks SEC(".maps");

/*
 * Dense index + 1 of each LLC id that the kernel has used. Linux 7.x has dense ids itself;
 * older kernels number an LLC after its first CPU.
 */
static u16 llc_of_kernel_id[PRELOAD_MAX_CPUS];

extern const int sd_llc_id __ksym __weak;
extern const int sched_core_priority __ksym __weak;
extern const struct context_tracking context_tracking __ksym __weak;

/* Not in every configuration. */
struct context_tracking___user {
	bool active;
} __attribute__((preserve_access_index));

/* The external definition of the contract's inline function. */
extern const struct rq *cpu_rq(s32 cpu);

/* Parts of a refresh: global functions, which the verifier checks once each. */
u16 bounded_capacity(s32 cpu);
u16 bounded_priority(s32 cpu);
s32 core_of(s32 cpu);
void llc_mask_set(u32 llc, s32 cpu, bool set);
void llc_remove_cpu(s32 cpu);
void topology_reset_cpu(s32 cpu);
void topology_add_cpu(s32 cpu);
void topology_add_near(u32 llc, u32 other, u32 level);
void topology_sort_near(s32 cpu);
void topology_finish_cpu(s32 cpu);

u64 dfl_cpu_capacity(s32 cpu)
{
	preload_count_dfl(HOOK_CPU_CAPACITY);
	return scx_bpf_cpuperf_cap(cpu);
}

u64 __weak hook_cpu_capacity(s32 cpu)
{
	return dfl_cpu_capacity(cpu);
}

__noinline u16 bounded_capacity(s32 cpu)
{
	u64 capacity;

	preload_count_rare(hooks[HOOK_CPU_CAPACITY].calls);
	capacity = hook_cpu_capacity(cpu);
	if (capacity >= 1 && capacity <= 1024)
		return capacity;
	preload_count_rare(hooks[HOOK_CPU_CAPACITY].bad);
	return 1024;
}

s32 dfl_cpu_priority(s32 cpu)
{
	const int *priority = NULL;

	preload_count_dfl(HOOK_CPU_PRIORITY);
	if (bpf_ksym_exists(&sched_core_priority))
		priority = bpf_per_cpu_ptr(&sched_core_priority, cpu);
	return priority && *priority > 0 ? *priority : 0;
}

s32 __weak hook_cpu_priority(s32 cpu)
{
	return dfl_cpu_priority(cpu);
}

__noinline u16 bounded_priority(s32 cpu)
{
	s32 priority;

	preload_count_rare(hooks[HOOK_CPU_PRIORITY].calls);
	priority = hook_cpu_priority(cpu);
	if (priority >= 0 && priority <= 65535)
		return priority;
	preload_count_rare(hooks[HOOK_CPU_PRIORITY].bad);
	return 0;
}

/*
 * The index of @cpu's LLC, a new one if it has none. A kernel without scheduling domains
 * (one CPU, or very early) has one LLC.
 */
u32 llc_index(s32 cpu)
{
	const int *id_ptr = NULL;
	u32 id, index;

	if (bpf_ksym_exists(&sd_llc_id))
		id_ptr = bpf_per_cpu_ptr(&sd_llc_id, cpu);
	if (!id_ptr || *id_ptr < 0)
		return 0;
	id = *id_ptr & (PRELOAD_MAX_CPUS - 1);

	index = llc_of_kernel_id[id];
	if (index)
		return index - 1;

	/* LLCs beyond the tables' size share the last index and its DSQ. */
	index = preload_topology.nr_llcs;
	if (index >= PRELOAD_MAX_LLCS)
		index = PRELOAD_MAX_LLCS - 1;
	else
		preload_topology.nr_llcs = index + 1;
	llc_of_kernel_id[id] = index + 1;
	return index;
}

/* Is @cpu one of nohz_full=? There, and only there, the kernel tracks user space. */
static bool is_nohz_full(s32 cpu)
{
	const struct context_tracking *tracking = NULL;

	if (bpf_ksym_exists(&context_tracking))
		tracking = bpf_per_cpu_ptr(&context_tracking, cpu);
	return tracking && bpf_core_field_exists(struct context_tracking___user, active) &&
	       ((const struct context_tracking___user *)tracking)->active;
}

static s32 llc_cpu(u32 llc)
{
	return preload_llcs[llc & (PRELOAD_MAX_LLCS - 1)].cpu;
}

/*
 * First CPU of the SMT core, from the span of the lowest scheduling domain. The domain
 * is identified by name: the SD_* flags are not in BTF, and their values differ between
 * versions.
 */
s32 core_of(s32 cpu)
{
	const struct sched_domain *sd = cpu_domain(cpu);
	char name[4] = {};
	u32 word;

	if (!sd || bpf_probe_read_kernel(name, sizeof(name), sd->name) ||
	    __builtin_memcmp(name, "SMT", sizeof(name)))
		return cpu;

	bpf_for(word, 0, (preload_topology.nr_cpu_ids + 63) / 64) {
		u64 bits = domain_span(sd, word);

		if (bits)
			return word * 64 + __builtin_ctzll(bits);
	}
	return cpu;
}

/* Set or clear @cpu in the mask of @llc. */
void llc_mask_set(u32 llc, s32 cpu, bool set)
{
	struct preload_llc_mask *slot;
	struct bpf_cpumask *mask;

	slot = bpf_map_lookup_elem(&preload_llc_masks, &llc);
	if (!slot)
		return;
	if (!slot->cpus) {
		mask = bpf_cpumask_create();
		if (!mask)
			return;
		mask = bpf_kptr_xchg(&slot->cpus, mask);
		if (mask)
			bpf_cpumask_release(mask);
	}

	bpf_rcu_read_lock();
	mask = slot->cpus;
	if (mask && set)
		bpf_cpumask_set_cpu(cpu, mask);
	else if (mask)
		bpf_cpumask_clear_cpu(cpu, mask);
	bpf_rcu_read_unlock();
}

/* Remove @cpu, which goes offline, from its LLC; the mask is valid at any time. */
__noinline void llc_remove_cpu(s32 cpu)
{
	struct preload_cpu *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)];

	if (!c->online)
		return;
	c->online = 0;
	preload_topology.nr_online--;
	preload_llcs[cpu_llc_id(cpu)].nr_cpus--;
	llc_mask_set(cpu_llc_id(cpu), cpu, false);
	if (c->fast)
		llc_mask_set(PRELOAD_MAX_LLCS, cpu, false);
	c->fast = 0;
}

/*
 * Drop @cpu, which goes offline: close the ring of its core and name the core after
 * another of its CPUs.
 */
void topology_cpu_offline(s32 cpu)
{
	u32 i, next = cpu_smt_next(cpu), other = cpu;

	llc_remove_cpu(cpu);
	if (next == cpu)
		preload_topology.nr_cores--;
	bpf_for(i, 0, SMT_MAX) {
		other = cpu_smt_next(other);
		if (cpu_core_id(cpu) == cpu)
			preload_cpus[other & (PRELOAD_MAX_CPUS - 1)].core = next;
		if (cpu_smt_next(other) == cpu)
			break;
	}
	preload_cpus[other & (PRELOAD_MAX_CPUS - 1)].smt_next = next;
	preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].smt_next = cpu;
	preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].core = cpu;
}

/* Reset the entry of @cpu before the tables are filled again. */
__noinline void topology_reset_cpu(s32 cpu)
{
	struct preload_cpu *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)];
	s32 node = scx_bpf_cpu_node(cpu);

	llc_remove_cpu(cpu);
	c->core = c->smt_next = cpu;
	c->capacity = c->capacity ?: 1024;
	c->node = node < 0 ? 0 : node;
}

/* Read the kernel's data of @cpu, which is online. */
__noinline void topology_add_cpu(s32 cpu)
{
	struct preload_topology *t = &preload_topology;
	struct preload_cpu *first, *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)];
	struct preload_llc *l;

	c->llc = llc_index(cpu);
	c->capacity = bounded_capacity(cpu);
	c->priority = bounded_priority(cpu);
	c->nohz = is_nohz_full(cpu);
	t->nr_nohz += c->nohz;
	c->core = core_of(cpu);
	first = &preload_cpus[c->core & (PRELOAD_MAX_CPUS - 1)];
	if (first != c) {
		c->smt_next = first->smt_next;
		first->smt_next = cpu;
	} else {
		t->nr_cores++;
	}
	t->nr_nodes = max(t->nr_nodes, c->node + 1);
	t->capacity_max = max(t->capacity_max, c->capacity);
	t->priority_max = max(t->priority_max, c->priority);
	t->priority_min = min(t->priority_min, c->priority);
	l = &preload_llcs[cpu_llc_id(cpu)];
	l->nr_cpus++;
	l->node = c->node;
	l->cpu = cpu;
	l->queue = 0;
	llc_mask_set(cpu_llc_id(cpu), cpu, true);
	c->online = 1;
	t->nr_online++;
}

__noinline u32 cpu_distance(s32 cpu, u32 other)
{
	const struct sched_domain *sd = cpu_domain(cpu);
	u32 level;

	bpf_for(level, 0, PRELOAD_MAX_DOMAINS) {
		if (!sd || domain_has_cpu(sd, other))
			return level;
		sd = sd->parent;
	}
	return level;
}

/* Append @other, at distance @level, to the LLCs near @llc. */
__noinline void topology_add_near(u32 llc, u32 other, u32 level)
{
	struct preload_llc *l = &preload_llcs[llc & (PRELOAD_MAX_LLCS - 1)];

	if (l->nr_near < PRELOAD_NR_NEAR)
		*near_entry(llc, l->nr_near) = level << 16 | other;
	l->nr_near++;
}

/* List the other LLCs by distance from that of @cpu, LLCs at one distance in ring order. */
__noinline void topology_sort_near(s32 cpu)
{
	u32 level, nth, llc = cpu_llc_id(cpu);

	preload_llcs[llc].nr_near = 0;
	bpf_for(level, 0, PRELOAD_MAX_DOMAINS + 1) {
		bpf_for(nth, 1, nr_llcs()) {
			u32 other = (llc + nth) % (nr_llcs() ?: 1);

			if (cpu_distance(cpu, llc_cpu(other)) == level)
				topology_add_near(llc, other, level);
		}
		if (preload_llcs[llc].nr_near >= nr_near())
			break;
	}
}

/* Set what depends on all CPUs: whether @cpu is fast, and which LLCs are near its own. */
__noinline void topology_finish_cpu(s32 cpu)
{
	struct preload_topology *t = &preload_topology;
	struct preload_cpu *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)];
	u32 spread = t->priority_max - t->priority_min;

	c->fast = c->capacity >= t->capacity_max - t->capacity_max / 8 &&
		  c->priority >= t->priority_max - spread / 4;
	llc_mask_set(PRELOAD_MAX_LLCS, cpu, c->fast);
	t->nr_fast += c->fast;
	if (llc_cpu(cpu_llc_id(cpu)) == cpu)
		topology_sort_near(cpu);
}

enum step {
	STEP_RESET,
	STEP_ADD,
	STEP_FINISH,
};

void topology_each(enum step step);

/* Perform one step of a refresh on each CPU. */
__noinline void topology_each(enum step step)
{
	const struct cpumask *online = scx_bpf_get_online_cpumask();
	s32 cpu;

	bpf_for(cpu, 0, nr_cpu_ids()) {
		if (step == STEP_RESET)
			topology_reset_cpu(cpu);
		else if (!bpf_cpumask_test_cpu(cpu, online))
			continue;
		else if (step == STEP_ADD)
			topology_add_cpu(cpu);
		else
			topology_finish_cpu(cpu);
	}
	scx_bpf_put_cpumask(online);
}

/*
 * Read everything again. Hotplug renumbers LLCs on older kernels and gives a freed number to
 * another LLC on newer ones, so that a change of one CPU can change the entries of others.
 */
void topology_refresh(void)
{
	const struct cpumask *possible = scx_bpf_get_possible_cpumask();
	struct preload_topology *t = &preload_topology;

	t->nr_cpu_ids = scx_bpf_nr_cpu_ids();
	if (t->nr_cpu_ids > PRELOAD_MAX_CPUS)
		t->nr_cpu_ids = PRELOAD_MAX_CPUS;
	t->nr_possible = bpf_cpumask_weight(possible);
	scx_bpf_put_cpumask(possible);

	topology_each(STEP_RESET);
	t->nr_cores = t->nr_fast = t->nr_nohz = 0;
	t->capacity_max = t->priority_max = 0;
	t->priority_min = ~0U;
	topology_each(STEP_ADD);
	if (!t->nr_llcs)
		t->nr_llcs = 1;
	topology_each(STEP_FINISH);
	if (t->nr_fast == t->nr_online)
		t->nr_fast = 0;
}
