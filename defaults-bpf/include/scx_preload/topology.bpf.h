/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPU topology, in the kernel's vocabulary.
 *
 * The tables are filled from the kernel's own per-CPU data when the scheduler is loaded,
 * and again on every CPU hotplug event and soon after the kernel has built new scheduling
 * domains (src/topology.bpf.c, src/refresh.bpf.c), without user space. All accessors may be
 * called from every callback. They are bounded: a CPU or LLC out of range yields the result
 * for number 0.
 *
 * A reader can see a table in the middle of a refresh. Each entry is valid by itself at
 * any time: at worst, one task is queued or one CPU searched by the previous topology.
 */
#ifndef SCX_PRELOAD_TOPOLOGY_BPF_H
#define SCX_PRELOAD_TOPOLOGY_BPF_H

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* Powers of two: the verifier understands an index that is bounded by a mask. */
#define PRELOAD_MAX_CPUS 8192
#define PRELOAD_MAX_LLCS 1024
/* For each LLC, this many others are kept in order of distance. */
#define PRELOAD_NR_NEAR 32
/* More than any system has: SMT, cluster, LLC, package, a few for NUMA. */
#define PRELOAD_MAX_DOMAINS 16

/* preload_cpu.online of a CPU without a scheduling domain, while others have one. */
#define PRELOAD_ISOLATED 2

struct preload_cpu {
	u16 llc; /* dense index of the LLC, from sd_llc */
	u16 core; /* id of the SMT core: its first CPU, from the lowest rq->sd */
	u16 smt_next; /* next CPU of the core in a ring; itself without SMT */
	u16 node; /* NUMA node */
	u16 capacity; /* hook_cpu_capacity(): 1..1024 */
	u16 priority; /* hook_cpu_priority() */
	u16 fast; /* one of fast_cpumask() */
	u16 online; /* 1, or PRELOAD_ISOLATED */
	u16 nohz; /* of nohz_full=: its tick stops while one task runs with an infinite slice */
	u16 pinned; /* its DSQ for pinned tasks may have some; written under its rq's lock */
	u16 affine; /* its DSQ for tasks with an affinity has been used */
	u16 settled; /* the last change of soft bypass whose earlier tasks have all run */
	u16 leaving; /* its running task is to leave the core; written as pinned */
	u16 restart; /* its running task is to be chosen anew; written as pinned */
	u32 left_at; /* when a running task last left the core with this id */
};

struct preload_llc {
	u64 clock; /* virtual time of the DSQ, see dfl_task_vtime() */
	u32 nr_cpus; /* online CPUs */
	u32 node;
	u32 cpu; /* one of its online CPUs */
	u32 nr_near; /* entries filled for near_entry() */
	u64 queue; /* kernel address of its DSQ, once known */
	u32 __pad[8]; /* a cache line each: only its own CPUs write the clock */
};

struct preload_topology {
	u32 nr_cpu_ids; /* one more than the highest possible CPU number */
	u32 nr_llcs; /* LLC indices are below this */
	u32 nr_nodes;
	u32 nr_cores; /* online */
	u32 nr_online;
	u32 nr_isolated; /* of these */
	u32 nr_possible;
	u32 nr_nohz; /* online CPUs of nohz_full= */
	u32 nr_fast; /* CPUs of fast_cpumask(); 0 if all CPUs are alike */
	u32 capacity_max; /* of online CPUs, as are the priorities */
	u32 priority_max;
	u32 priority_min;
};

/* Indices of preload_llc_masks after those of the LLCs. */
#define MASK_FAST PRELOAD_MAX_LLCS
#define MASK_BALANCED (PRELOAD_MAX_LLCS + 1)

struct preload_llc_mask {
	struct bpf_cpumask __kptr *cpus;
};

struct preload_llc_masks {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PRELOAD_MAX_LLCS + 2); /* the last are fast_ and balanced_cpumask() */
	__type(key, u32);
	__type(value, struct preload_llc_mask);
};

extern struct preload_cpu preload_cpus[PRELOAD_MAX_CPUS];
extern struct preload_llc preload_llcs[PRELOAD_MAX_LLCS];
extern struct preload_topology preload_topology;
extern u32 preload_near[PRELOAD_MAX_LLCS * PRELOAD_NR_NEAR];
extern struct preload_llc_masks preload_llc_masks SEC(".maps");

/*
 * Index of the LLC of @cpu, as the domain sd_llc in kernel/sched/topology.c spans it: cpuset
 * partitions divide an LLC, and an isolated CPU is one by itself.
 */
static __always_inline u32 cpu_llc_id(s32 cpu)
{
	return preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].llc & (PRELOAD_MAX_LLCS - 1);
}

static __always_inline u32 this_cpu_llc_id(void)
{
	return cpu_llc_id(bpf_get_smp_processor_id());
}

/*
 * Has @cpu no scheduling domain, as in an isolated cpuset partition? Then no task is balanced to
 * it or from it, and only tasks that may run nowhere else are placed there.
 */
static __always_inline bool is_isolated(s32 cpu)
{
	return preload_topology.nr_isolated &&
	       preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].online == PRELOAD_ISOLATED;
}

/* Number of online CPUs in the LLC of @cpu, as the kernel's sd_llc_size. */
static __always_inline u32 cpu_llc_size(s32 cpu)
{
	return preload_llcs[cpu_llc_id(cpu)].nr_cpus;
}

/* Id of @cpu's SMT core: one of its CPUs, the first when loaded. */
static __always_inline s32 cpu_core_id(s32 cpu)
{
	return preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].core;
}

/*
 * The CPU after @cpu in the ring of its SMT siblings, the members of cpu_smt_mask().
 * Follow the ring until it returns to @cpu; without SMT it does so at once.
 */
static __always_inline s32 cpu_smt_next(s32 cpu)
{
	return preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].smt_next;
}

static __always_inline u32 cpu_node_id(s32 cpu)
{
	return preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].node;
}

/* Capacity relative to the largest CPU, 1..1024, see hook_cpu_capacity(). */
static __always_inline u32 cpu_capacity(s32 cpu)
{
	return preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].capacity;
}

/* Rank among CPUs of one capacity, see hook_cpu_priority(). */
static __always_inline u32 cpu_priority(s32 cpu)
{
	return preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].priority;
}

static __always_inline u32 nr_llcs(void)
{
	return preload_topology.nr_llcs;
}

static __always_inline u32 nr_cpu_ids(void)
{
	return preload_topology.nr_cpu_ids;
}

/* Online CPUs of @llc; NULL if it never had any. RCU-protected. */
static __always_inline const struct cpumask *llc_cpumask(u32 llc)
{
	struct preload_llc_mask *mask = bpf_map_lookup_elem(&preload_llc_masks, &llc);

	return mask && mask->cpus ? (const struct cpumask *)mask->cpus : NULL;
}

/*
 * The best CPUs for a task with much to do: those with at least 7/8 of the greatest
 * capacity and, of these, those in the upper quarter of the priorities. NULL if all CPUs
 * are alike. RCU-protected.
 */
static __always_inline const struct cpumask *fast_cpumask(void)
{
	return preload_topology.nr_fast ? llc_cpumask(MASK_FAST) : NULL;
}

/* The online CPUs that are not isolated; NULL if none is isolated. RCU-protected. */
static __always_inline const struct cpumask *balanced_cpumask(void)
{
	return preload_topology.nr_isolated ? llc_cpumask(MASK_BALANCED) : NULL;
}

/* Number of entries that llc_near() has. */
static __always_inline u32 nr_near(void)
{
	u32 others = nr_llcs() - 1;

	return others < PRELOAD_NR_NEAR ? others : PRELOAD_NR_NEAR;
}

/* Entry of the @nth nearest LLC of @llc, 0..nr_near()-1. */
static __always_inline u32 *near_entry(u32 llc, u32 nth)
{
	return &preload_near[(llc * PRELOAD_NR_NEAR + nth) &
			     (PRELOAD_MAX_LLCS * PRELOAD_NR_NEAR - 1)];
}

/* The index of that LLC. */
static __always_inline u32 llc_near(u32 llc, u32 nth)
{
	return *near_entry(llc, nth) & (PRELOAD_MAX_LLCS - 1);
}

/* Its distance: cpu_distance() of their CPUs. */
static __always_inline u32 llc_near_level(u32 llc, u32 nth)
{
	return *near_entry(llc, nth) >> 16;
}

/*
 * The run queue of @cpu, as cpu_rq() in kernel/sched/sched.h; NULL for an impossible CPU.
 * Do not declare runqueues yourself: static linking needs the same struct rq in all
 * objects, and your vmlinux.h may be from another kernel.
 */
#ifdef PRELOAD_DEFAULTS
extern const struct rq runqueues __ksym __weak;

/* Inline in the defaults; topology.bpf.c has the definition that overrides call. */
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wstatic-in-inline" /* helpers are static in libbpf */
inline __attribute__((always_inline)) __hidden const struct rq *cpu_rq(s32 cpu)
{
	return bpf_ksym_exists(&runqueues) ? bpf_per_cpu_ptr(&runqueues, cpu) : NULL;
}
#pragma clang diagnostic pop
#else
const struct rq *cpu_rq(s32 cpu) __hidden;
#endif

/* The lowest scheduling domain of @cpu; NULL on a uniprocessor. */
static __always_inline const struct sched_domain *cpu_domain(s32 cpu)
{
	const struct rq *rq = cpu_rq(cpu);

	return rq ? rq->sd : NULL;
}

/*
 * As for_each_domain() in kernel/sched/sched.h: iterates over the scheduling domains of
 * @cpu from the lowest up, with the variable const struct sched_domain *@sd. Hotplug and
 * cpusets replace the domains, so do not keep pointers.
 */
#define for_each_domain(cpu, sd)                                                                   \
	for (u32 __level = ((sd) = cpu_domain(cpu), 0); (sd) && __level < PRELOAD_MAX_DOMAINS;     \
	     (sd) = (sd)->parent, __level++)

/*
 * 64 CPUs of sched_domain_span(): bit n is CPU 64 * @word + n. Not all kernels have a
 * member for the mask in BTF, but it always follows the struct.
 */
static __always_inline u64 domain_span(const struct sched_domain *sd, u32 word)
{
	u64 bits = 0;

	bpf_probe_read_kernel(&bits, sizeof(bits),
			      (void *)sd + bpf_core_type_size(struct sched_domain) +
				      word * sizeof(bits));
	return bits;
}

static __always_inline bool domain_has_cpu(const struct sched_domain *sd, u32 cpu)
{
	return domain_span(sd, cpu / 64) & (1ULL << (cpu % 64));
}

/*
 * Distance of @other from @cpu: the level of the lowest scheduling domain of @cpu that
 * includes @other. 0 is a sibling with SMT, else the nearest group; nodes are ordered by
 * their distance. Walks the domains: too slow for each wakeup.
 */
u32 cpu_distance(s32 cpu, u32 other);

#endif
