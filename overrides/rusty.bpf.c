// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains with periodic load balancing, as in scx_rusty: a domain is an LLC, its load the
 * sum of the weights of its runnable tasks, averaged over several periods. Once per period
 * the most and the least loaded domain are determined; until the next, CPUs of the least
 * loaded take those tasks of the most loaded whose weight reduces the imbalance. All other
 * tasks stay in their domain, except that idle CPUs take waiting tasks from other domains.
 *
 * The defaults move a task whenever one in another LLC is a slice behind, which is fairer
 * in the short term but loses more cache. Not implemented of scx_rusty: its user space
 * part, more than one pair of domains per period, NUMA nodes, deadlines, placement. Load
 * is sampled and not integrated, from at most RUSTY_LOOKS waiting tasks per domain.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/queues.bpf.h>
#include <scx_preload/topology.bpf.h>

char _license[] SEC("license") = "GPL";

/* Balancing period, ns. */
const volatile u64 rusty_period_ns = 200 * 1000 * 1000;
/* Tolerated imbalance of two domains, percent of the lower load. */
const volatile u32 rusty_imbalance_percent = 5;
/* A newly idle CPU takes from domains with at least this many waiting tasks; 0: never. */
const volatile u32 rusty_greedy_threshold = 1;

#define RUSTY_LOOKS 256

/* Load of each domain, and the two to balance: the same one while loads are even. */
static s64 loads[PRELOAD_MAX_LLCS];
static u32 most_loaded, least_loaded;
static u64 looked_at;

/* For each CPU: is it looking for work because it is idle? */
static bool is_idle[PRELOAD_MAX_CPUS];

static s64 *load_of(u32 llc)
{
	return &loads[llc & (PRELOAD_MAX_LLCS - 1)];
}

/* Weight of the tasks that wait or run in @llc, scaled to a domain of average size. */
static s64 sample(u32 llc)
{
	struct task_struct *p;
	u64 sum = 0;
	u32 nr = 0, cpu;

	bpf_for_each(scx_dsq, p, PRELOAD_DSQ_LLC(llc), 0) {
		if (nr++ == RUSTY_LOOKS)
			break;
		sum += p->scx.weight;
	}
	bpf_for(cpu, 0, nr_cpu_ids()) {
		const struct rq *rq = cpu_llc_id(cpu) == llc ? cpu_rq(cpu) : NULL;

		/* Exclude the idle task and RT. */
		if (rq && rq->curr->pid && rq->curr->prio >= 100)
			sum += rq->curr->scx.weight;
	}
	nr = preload_llcs[llc & (PRELOAD_MAX_LLCS - 1)].nr_cpus ?: 1;
	return sum * preload_topology.nr_online / (nr_llcs() ?: 1) / nr;
}

static void look_at_loads(void)
{
	u32 most = 0, least = 0, llc;
	s64 now;

	bpf_for(llc, 0, nr_llcs()) {
		now = sample(llc);
		*load_of(llc) = *load_of(llc) ? (3 * *load_of(llc) + now) >> 2 : now;
		if (*load_of(llc) > *load_of(most))
			most = llc;
		if (*load_of(llc) < *load_of(least))
			least = llc;
	}
	now = *load_of(most) - *load_of(least);
	if (now * 100 <= *load_of(least) * rusty_imbalance_percent)
		least = most;
	most_loaded = most;
	least_loaded = least;
}

s32 hook_balance_llc(s32 cpu, u32 turn)
{
	u64 now = bpf_ktime_get_ns(), last = looked_at;

	if (now - last >= rusty_period_ns && __sync_bool_compare_and_swap(&looked_at, last, now))
		look_at_loads();
	is_idle[cpu & (PRELOAD_MAX_CPUS - 1)] = false;
	return cpu_llc_id(cpu) == least_loaded ? most_loaded : -1;
}

s32 hook_steal_llc(s32 cpu, u32 nth)
{
	s32 llc = rusty_greedy_threshold ? dfl_steal_llc(cpu, nth) : -1;

	is_idle[cpu & (PRELOAD_MAX_CPUS - 1)] = true;
	if (llc >= 0 && scx_bpf_dsq_nr_queued(PRELOAD_DSQ_LLC(llc)) < (s32)rusty_greedy_threshold)
		return cpu_llc_id(cpu);
	return llc;
}

bool hook_may_migrate(struct task_struct *p __arg_trusted, s32 cpu)
{
	s64 *from = load_of(cpu_llc_id(scx_bpf_task_cpu(p))), *to = load_of(cpu_llc_id(cpu));
	s64 weight = p->scx.weight;

	if (!is_idle[cpu & (PRELOAD_MAX_CPUS - 1)] && weight >= *from - *to)
		return false;
	__sync_fetch_and_sub(from, weight);
	__sync_fetch_and_add(to, weight);
	return true;
}
