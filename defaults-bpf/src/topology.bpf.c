// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fill the tables of include/scx_preload/topology.bpf.h from the kernel's per-CPU data:
 * sd_llc, the domains from rq->sd up, the CPU's node, capacity and priority.
 */
#include "vmlinux.h"

#include "topology.bpf.h"

char _license[] SEC("license") = "GPL";

struct preload_cpu preload_cpus[PRELOAD_MAX_CPUS];
struct preload_llc preload_llcs[PRELOAD_MAX_LLCS];
struct preload_topology preload_topology;
u32 preload_near[PRELOAD_MAX_LLCS * PRELOAD_NR_NEAR];
struct preload_llc_masks preload_llc_masks SEC(".maps");

u64 preload_plugged[PRELOAD_MAX_CPUS / 64];

/* A refresh that does not end before this number of others asked for it leaves it to the last. */
#define REFRESHES_MAX 16

/* How many refreshes have been asked for, and whether one is at work. */
static u32 nr_asked;
static u32 at_work;

bool preload_llcs_changed;

/* The scheduler starts: the DSQs of an earlier start are gone. */
static bool starting;

/* Has any CPU a scheduling domain? On a uniprocessor none has. */
static bool has_domains;

extern struct sched_domain *sd_llc __ksym __weak;
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
s32 first_added(const struct sched_domain *sd __arg_untrusted, s32 cpu);
s32 core_of(s32 cpu);
u32 llc_index(s32 cpu);
void llc_mask_set(u32 llc, s32 cpu, bool set);
void topology_remove_cpu(s32 cpu);
void topology_reset_cpu(s32 cpu);
void topology_add_cpu(s32 cpu);
void topology_join_llc(s32 cpu);
void topology_add_near(u32 llc, u32 other, u32 level);
void topology_sort_near(s32 cpu);
void topology_finish_cpu(s32 cpu);
void read_all(void);

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

static void set_plugged(u32 cpu, bool there)
{
	u64 bit = 1ULL << (cpu & 63);

	if (there)
		*plugged_word(cpu) |= bit;
	else
		*plugged_word(cpu) &= ~bit;
}

/* The first CPU of the domain @sd that is in the tables already; or @cpu. */
__noinline s32 first_added(const struct sched_domain *sd __arg_untrusted, s32 cpu)
{
	s32 other, first = cpu, found = cpu;
	u32 word;

	bpf_for(word, 0, (preload_topology.nr_cpu_ids + 63) / 64) {
		u64 bits = domain_span(sd, word);

		if (bits) {
			first = word * 64 + __builtin_ctzll(bits);
			break;
		}
	}
	bpf_for(other, first, nr_cpu_ids()) {
		if (preload_cpus[other & (PRELOAD_MAX_CPUS - 1)].online &&
		    domain_has_cpu(sd, other)) {
			found = other;
			break;
		}
	}
	return found;
}

/*
 * Id of the SMT core, from the span of the lowest scheduling domain: a refresh adds its first
 * CPU first. The domain is identified by name: the SD_* flags are not in BTF, and their values
 * differ between versions.
 */
__noinline s32 core_of(s32 cpu)
{
	const struct sched_domain *sd = cpu_domain(cpu);
	char name[4] = {};
	s32 first;

	if (!sd || bpf_probe_read_kernel(name, sizeof(name), sd->name) ||
	    __builtin_memcmp(name, "SMT", sizeof(name)))
		return cpu;
	first = first_added(sd, cpu);
	return first == cpu ? cpu : cpu_core_id(first);
}

/*
 * The index of @cpu's LLC: that of the other CPUs in the highest domain that shares the LLC.
 * Partitions divide an LLC, and a CPU without a domain is one by itself. So indices are dense,
 * and an LLC keeps its own as long as one of its CPUs stays.
 */
__noinline u32 llc_index(s32 cpu)
{
	struct sched_domain **slot = NULL;
	u32 llc, own = cpu_llc_id(cpu);
	s32 first = cpu;

	if (bpf_ksym_exists(&sd_llc))
		slot = bpf_per_cpu_ptr(&sd_llc, cpu);
	if (slot && *slot)
		first = first_added(bpf_core_cast(*slot, struct sched_domain), cpu);
	if (first != cpu)
		return cpu_llc_id(first);
	if (!preload_llcs[own].nr_cpus)
		return own;

	/* LLCs beyond the tables' size share the last index and its DSQ. */
	bpf_for(llc, 0, PRELOAD_MAX_LLCS - 1) {
		if (!preload_llcs[llc].nr_cpus)
			break;
	}
	return llc;
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

/* Remove @cpu from the masks. */
__noinline void topology_remove_cpu(s32 cpu)
{
	struct preload_cpu *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)];

	llc_mask_set(cpu_llc_id(cpu), cpu, false);
	llc_mask_set(MASK_FAST, cpu, false);
	llc_mask_set(MASK_BALANCED, cpu, false);
	c->online = c->fast = 0;
}

/* Reset the entry of @cpu before the tables are filled again. */
__noinline void topology_reset_cpu(s32 cpu)
{
	struct preload_cpu *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)];
	s32 node = scx_bpf_cpu_node(cpu);

	topology_remove_cpu(cpu);
	preload_llcs[cpu_llc_id(cpu)].nr_cpus = 0;
	if (starting) {
		/* There are no more LLCs than CPUs. */
		preload_llcs[cpu & (PRELOAD_MAX_LLCS - 1)].queue = 0;
		c->llc = 0;
	}
	c->core = c->smt_next = cpu;
	c->capacity = c->capacity ?: 1024;
	c->node = node < 0 ? 0 : node;
	if (cpu_domain(cpu))
		has_domains = true;
}

/* Make @cpu one of its LLC, which keeps up with the clock that its tasks went by. */
__noinline void topology_join_llc(s32 cpu)
{
	struct preload_cpu *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)];
	u64 clock = preload_llcs[cpu_llc_id(cpu)].clock;
	u32 llc = llc_index(cpu);
	struct preload_llc *l;

	if (c->llc != llc)
		preload_llcs_changed = true;
	c->llc = llc;
	l = &preload_llcs[cpu_llc_id(cpu)];
	if ((s64)(clock - l->clock) > 0)
		l->clock = clock;
	l->nr_cpus++;
	l->node = c->node;
	l->cpu = cpu;
	llc_mask_set(cpu_llc_id(cpu), cpu, true);
	preload_topology.nr_llcs = max(preload_topology.nr_llcs, cpu_llc_id(cpu) + 1);
}

/* Read the kernel's data of @cpu, which is plugged. */
__noinline void topology_add_cpu(s32 cpu)
{
	struct preload_topology *t = &preload_topology;
	struct preload_cpu *first, *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)];

	topology_join_llc(cpu);
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
	t->nr_online++;
	if (has_domains && !cpu_domain(cpu)) {
		c->online = PRELOAD_ISOLATED;
		t->nr_isolated++;
	} else {
		c->online = 1;
		llc_mask_set(MASK_BALANCED, cpu, true);
	}
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

	c->fast = c->online == 1 && c->capacity >= t->capacity_max - t->capacity_max / 8 &&
		  c->priority >= t->priority_max - spread / 4;
	llc_mask_set(MASK_FAST, cpu, c->fast);
	t->nr_fast += c->fast;
	if (llc_cpu(cpu_llc_id(cpu)) == cpu)
		topology_sort_near(cpu);
}

enum step {
	STEP_RESET,
	STEP_ADD,
	STEP_ADD_ISOLATED, /* last, so that they do not keep the index of the others' LLC */
	STEP_FINISH,
};

void topology_each(enum step step);

/* Perform one step of a refresh on each CPU. */
__noinline void topology_each(enum step step)
{
	s32 cpu;

	bpf_for(cpu, 0, nr_cpu_ids()) {
		if (step == STEP_RESET)
			topology_reset_cpu(cpu);
		else if (!is_plugged(cpu))
			continue;
		else if (step == STEP_FINISH)
			topology_finish_cpu(cpu);
		else if (!cpu_domain(cpu) == (step == STEP_ADD_ISOLATED))
			topology_add_cpu(cpu);
	}
}

/*
 * Read everything again. A change of one CPU can change the entries of others, as it can be
 * what names a core or holds an LLC together.
 */
__noinline void read_all(void)
{
	const struct cpumask *possible = scx_bpf_get_possible_cpumask();
	struct preload_topology *t = &preload_topology;

	t->nr_cpu_ids = scx_bpf_nr_cpu_ids();
	if (t->nr_cpu_ids > PRELOAD_MAX_CPUS)
		t->nr_cpu_ids = PRELOAD_MAX_CPUS;
	t->nr_possible = bpf_cpumask_weight(possible);
	scx_bpf_put_cpumask(possible);

	has_domains = false;
	topology_each(STEP_RESET);
	if (starting)
		t->nr_llcs = 0;
	starting = false;
	t->nr_online = t->nr_isolated = t->nr_cores = t->nr_fast = t->nr_nohz = 0;
	t->capacity_max = t->priority_max = 0;
	t->priority_min = ~0U;
	topology_each(STEP_ADD);
	topology_each(STEP_ADD_ISOLATED);
	topology_each(STEP_FINISH);
	if (t->nr_fast == t->nr_online - t->nr_isolated)
		t->nr_fast = 0;
}

/*
 * Hotplug, the start and changes of the domains can ask at once: whoever is at work reads again
 * for those that ask meanwhile.
 */
void topology_refresh(void)
{
	u32 asked;

	__sync_fetch_and_add(&nr_asked, 1);
	bpf_repeat(REFRESHES_MAX) {
		asked = nr_asked;
		if (__sync_lock_test_and_set(&at_work, 1))
			break;
		read_all();
		__sync_lock_test_and_set(&at_work, 0);
		if (asked == nr_asked)
			break;
	}
}

/* Start with the CPUs that are online. */
void topology_init(void)
{
	const struct cpumask *online = scx_bpf_get_online_cpumask();
	s32 cpu;

	bpf_for(cpu, 0, scx_bpf_nr_cpu_ids()) {
		set_plugged(cpu, bpf_cpumask_test_cpu(cpu, online));
	}
	scx_bpf_put_cpumask(online);
	starting = true;
	topology_refresh();
	preload_llcs_changed = false;
}

/* @cpu is there, and has DSQs. */
void topology_cpu_online(s32 cpu)
{
	set_plugged(cpu, true);
	topology_refresh();
}

/* @cpu goes offline: it leaves the masks. A refresh has to follow. */
void topology_cpu_offline(s32 cpu)
{
	set_plugged(cpu, false);
	topology_remove_cpu(cpu);
}
