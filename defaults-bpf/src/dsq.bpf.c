// SPDX-License-Identifier: GPL-2.0-only
/*
 * DSQs: one for each LLC, for tasks that may run on several CPUs, and one for each CPU, for
 * tasks that may run on one only, all sorted by virtual time.
 */
#include "vmlinux.h"

#include "dsq.bpf.h"
#include "guard.bpf.h"
#include "settings.bpf.h"
#include "topology.bpf.h"

char _license[] SEC("license") = "GPL";

u64 preload_waiting __attribute__((aligned(64)));

/* Parts of create_dsqs() and task_dsq(): global functions, which the verifier checks once each. */
s32 create_cpu_dsqs(s32 cpu);
s64 hooked_dsq(struct task_struct *p __arg_trusted, s32 cpu);

/* Create the DSQs of @cpu and its LLC unless they exist. */
__noinline s32 create_cpu_dsqs(s32 cpu)
{
	s32 node = scx_bpf_cpu_node(cpu), err = scx_bpf_create_dsq(PRELOAD_DSQ_CPU(cpu), node);

	if (!err || err == -EEXIST)
		err = scx_bpf_create_dsq(PRELOAD_DSQ_LLC(llc_index(cpu)), node);
	return err == -EEXIST ? 0 : err;
}

/*
 * Create the DSQs of all online CPUs and of their LLCs: before a refresh of the topology
 * publishes an LLC, as tasks are queued there at once. Returns 0 or a negative errno.
 */
s32 create_dsqs(void)
{
	const struct cpumask *online = scx_bpf_get_online_cpumask();
	s32 cpu, err = 0;

	bpf_for(cpu, 0, scx_bpf_nr_cpu_ids()) {
		if (!bpf_cpumask_test_cpu(cpu, online))
			continue;
		err = create_cpu_dsqs(cpu);
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

/*
 * The DSQ for @p near @cpu. A task that may run on one CPU only goes to that CPU's DSQ: on
 * an LLC's DSQ, all other CPUs would have to walk past it.
 */
u64 task_dsq(struct task_struct *p __arg_trusted, s32 cpu)
{
	s64 dsq;

	if (p->nr_cpus_allowed == 1) {
		preload_count_rare(enqueue_cpu);
		preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].pinned = 1;
		return PRELOAD_DSQ_CPU(cpu);
	}
	dsq = hooked_dsq(p, cpu);
	if (dsq >= PRELOAD_QUEUE(0, 0)) {
		preload_count_rare(enqueue_own);
		return dsq;
	}
	preload_count(enqueue_llc);
	llc_set_waiting(dsq);
	return PRELOAD_DSQ_LLC(dsq);
}
