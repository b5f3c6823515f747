// SPDX-License-Identifier: GPL-2.0-only
/*
 * DSQs, all sorted by virtual time: one for each LLC, for tasks that may run on all of its
 * CPUs, and two for each CPU, for tasks that may run there only and for those that may run
 * on some other CPUs. So whoever looks at a head can run it.
 */
#include "vmlinux.h"

#include "dsq.bpf.h"
#include "guard.bpf.h"
#include "rq.bpf.h"
#include "settings.bpf.h"
#include "topology.bpf.h"

char _license[] SEC("license") = "GPL";

u64 preload_waiting __attribute__((aligned(64)));

/*
 * CPUs whose DSQ for tasks with an affinity may have some, a bit each: read by newly idle
 * CPUs. Only they clear a bit, so a task that comes and goes on a busy CPU writes nothing.
 */
static u64 affine_waiting[PRELOAD_MAX_CPUS / 64] __attribute__((aligned(64)));
bool preload_affine_used;

static u64 *affine_word(u32 cpu)
{
	return &affine_waiting[cpu / 64 & (PRELOAD_MAX_CPUS / 64 - 1)];
}

/* Parts of create_dsqs() and task_dsq(): global functions, which the verifier checks once each. */
s32 create_cpu_dsqs(s32 cpu, u32 nth);
s64 hooked_dsq(struct task_struct *p __arg_trusted, s32 cpu);

/* Create the DSQs of @cpu, and the @nth of the LLCs', unless they exist. */
__noinline s32 create_cpu_dsqs(s32 cpu, u32 nth)
{
	s32 node = scx_bpf_cpu_node(cpu), err = scx_bpf_create_dsq(PRELOAD_DSQ_CPU(cpu), node);

	if (!err || err == -EEXIST)
		err = scx_bpf_create_dsq(PRELOAD_DSQ_AFFINE(cpu), node);
	if ((!err || err == -EEXIST) && nth < PRELOAD_MAX_LLCS)
		err = scx_bpf_create_dsq(PRELOAD_DSQ_LLC(nth), node);
	return err == -EEXIST ? 0 : err;
}

/*
 * Create the DSQs of all online CPUs and of as many LLCs as there can be of them: each CPU may
 * become one by itself when there is no time to create a DSQ. Returns 0 or a negative errno.
 */
s32 create_dsqs(void)
{
	const struct cpumask *online = scx_bpf_get_online_cpumask();
	s32 cpu, err = 0;
	u32 nth = 0;

	bpf_for(cpu, 0, scx_bpf_nr_cpu_ids()) {
		if (!bpf_cpumask_test_cpu(cpu, online))
			continue;
		err = create_cpu_dsqs(cpu, nth++);
		if (err)
			break;
	}
	scx_bpf_put_cpumask(online);
	return err;
}

/* Returns 0 or a negative errno; -EEXIST if two overrides use the same space. */
s32 create_own_dsqs(void)
{
	u32 i, nth;
	s32 err;

	for (i = 0; i < PRELOAD_OWN_QUEUES_DECLS && own_queues[i].count; i++) {
		bpf_for(nth, 0, own_queues[i].count) {
			err = scx_bpf_create_dsq(own_queues[i].first + nth, -1);
			if (err)
				return err;
		}
	}
	return 0;
}

/*
 * May @cpu's DSQ have tasks? Most never have any: the flag saves the kernel's lookup by ID.
 * It is set and cleared, and tasks are inserted, under the lock of @cpu's run queue.
 */
bool has_pinned(s32 cpu)
{
	struct preload_cpu *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)];

	if (c->pinned && !scx_bpf_dsq_nr_queued(PRELOAD_DSQ_CPU(cpu)))
		c->pinned = 0;
	return c->pinned;
}

s64 dfl_task_queue(struct task_struct *p __arg_trusted, s32 cpu)
{
	use_arg(p);
	preload_count_dfl(HOOK_TASK_QUEUE);
	return cpu_llc_id(cpu);
}

s64 __weak hook_task_queue(struct task_struct *p __arg_trusted, s32 cpu)
{
	return dfl_task_queue(p, cpu);
}

/*
 * The hook's result: an LLC that @p may run in, or an own DSQ of the override; else the LLC
 * of @cpu.
 */
s64 hooked_dsq(struct task_struct *p __arg_trusted, s32 cpu)
{
	const struct cpumask *cpus;
	s64 dsq;

	preload_count(hooks[HOOK_TASK_QUEUE].calls);
	dsq = ask_hook(HOOK_TASK_QUEUE, hook_task_queue(p, cpu), dfl_task_queue(p, cpu));
	if (dsq == cpu_llc_id(cpu))
		return dsq;
	if (dsq >= 0 && dsq < nr_llcs()) {
		cpus = llc_cpumask(dsq);
		if (cpus && bpf_cpumask_intersects(cpus, p->cpus_ptr))
			return dsq;
	} else if (dsq >= PRELOAD_QUEUE(0, 0) && scx_bpf_dsq_nr_queued(dsq) >= 0) {
		return dsq;
	}
	bad_result(HOOK_TASK_QUEUE);
	return cpu_llc_id(cpu);
}

/* May @p run on some CPUs of @cpu's LLC only? */
bool is_affine(struct task_struct *p __arg_trusted, s32 cpu)
{
	const struct cpumask *cpus;

	if (p->nr_cpus_allowed >= preload_topology.nr_possible)
		return false;
	cpus = llc_cpumask(cpu_llc_id(cpu));
	return cpus && !bpf_cpumask_subset(cpus, p->cpus_ptr);
}

/*
 * The DSQ for @p near @cpu. The head of a DSQ has to be able to run on all CPUs that look at
 * it, or they would have to walk past it: a task that may not run on all CPUs of its LLC
 * goes to a DSQ of @cpu. An override's own DSQ is the override's concern.
 */
u64 task_dsq(struct task_struct *p __arg_trusted, s32 cpu)
{
	s64 dsq;

	if (p->nr_cpus_allowed == 1 || is_migration_disabled(p))
		return PRELOAD_DSQ_CPU(cpu);
	dsq = hooked_dsq(p, cpu);
	return dsq == cpu_llc_id(cpu) && is_affine(p, cpu) ? PRELOAD_DSQ_AFFINE(cpu) : dsq;
}

/* Mark @dsq, which is not an LLC's. */
void note_waiting_elsewhere(u64 dsq)
{
	struct preload_cpu *c = &preload_cpus[dsq & (PRELOAD_MAX_CPUS - 1)];
	u64 *word, bit;

	if (is_affine_dsq(dsq)) {
		preload_count_rare(enqueue_affine);
		if (!c->affine)
			c->affine = 1;
		if (!preload_affine_used)
			preload_affine_used = true;
		word = affine_word(dsq);
		bit = 1ULL << (dsq & 63);
		if (!(*word & bit))
			__sync_fetch_and_or(word, bit);
	} else if (is_cpu_dsq(dsq)) {
		preload_count_rare(enqueue_cpu);
		if (!c->pinned)
			c->pinned = 1;
	} else {
		preload_count_rare(enqueue_own);
	}
}

/* The next CPU after @after, in a ring, whose DSQ may have tasks with an affinity; or -1. */
s32 next_affine(s32 after)
{
	u32 n, nr = (nr_cpu_ids() + 63) / 64, from = after + 1;
	s32 cpu = -1;

	bpf_for(n, 0, nr + 1) {
		u32 word = (from / 64 + n) % (nr ?: 1);
		u64 bits = *affine_word(word * 64);

		if (!n)
			bits &= ~0ULL << (from & 63);
		if (bits) {
			cpu = word * 64 + __builtin_ctzll(bits);
			break;
		}
	}
	return cpu;
}

/* @cpu's DSQ for tasks with an affinity was empty. A task inserted meanwhile is @cpu's alone. */
void forget_affine(s32 cpu)
{
	__sync_fetch_and_and(affine_word(cpu), ~(1ULL << (cpu & 63)));
}
