// SPDX-License-Identifier: GPL-2.0-only
/*
 * Balance of tasks that may not run on all CPUs of an LLC. They wait on the DSQ of one CPU:
 * when a task is queued, it goes where tasks get more for their weight, and a newly idle CPU
 * takes one that waits elsewhere.
 */
#include "vmlinux.h"

#include "affinity.bpf.h"
#include "balance.bpf.h"
#include "dsq.bpf.h"
#include "nohz.bpf.h"
#include "rq.bpf.h"
#include "settings.bpf.h"
#include "vtime.bpf.h"

char _license[] SEC("license") = "GPL";

/* In slices, what CPUs' service has to differ by to outweigh the length of their DSQs. */
#define CLEARLY_SLICES 20

/* In slices, by how much more it has to differ for each task more that would wait there. */
#define LONGER_SLICES 4

/* Of other CPUs' DSQs, how many a newly idle CPU looks at. */
#define NR_VICTIMS 8

/* A part of the choices: a global function, which the verifier checks once. */
bool is_better(s32 from, s32 to, u32 slices);

/* How many tasks wait on @cpu's own DSQs. */
static u32 nr_waiting(s32 cpu)
{
	return scx_bpf_dsq_nr_queued(PRELOAD_DSQ_AFFINE(cpu)) +
	       scx_bpf_dsq_nr_queued(PRELOAD_DSQ_CPU(cpu));
}

/*
 * Should a task that waits for @from rather wait for @to? Yes if @to is ahead by @slices in
 * serving its tasks: that takes weights and whatever else runs there into account. If more
 * would then wait there than here, it has to be further ahead: where all are equal, chance
 * would move tasks to and fro. In a crowd, where a task gets a turn in a second, this shows
 * too late: there the shorter DSQ is better, unless service clearly says otherwise.
 */
__noinline bool is_better(s32 from, s32 to, u32 slices)
{
	s64 ahead = cpu_service(to) - cpu_service(from), much = CLEARLY_SLICES * slice_ns;
	u32 here, there;

	/* Alone, the task there gets all of its CPU. */
	if (is_endless(to))
		return true;
	if (!is_crowded(cpu_rq(from))) {
		if (ahead <= (s64)(slices * slice_ns))
			return false;
		here = nr_waiting(from);
		there = nr_waiting(to) + 1;
		if (there > here)
			slices += LONGER_SLICES * (there - here);
		return ahead > (s64)(slices * slice_ns);
	}
	if (ahead > much || ahead < -much)
		return ahead > 0;
	here = nr_waiting(from);
	there = nr_waiting(to);
	return here > there + there / 8 + 1;
}

/*
 * The CPU on whose DSQ @p should wait: @cpu, or a better one of those that it may run on.
 * Two choices do nearly as well as all would. An idle CPU would have been found before.
 */
s32 pick_affine_cpu(struct task_struct *p __arg_trusted, s32 cpu)
{
	s32 other = bpf_cpumask_any_distribute(p->cpus_ptr);

	if (other == cpu)
		other = bpf_cpumask_any_distribute(p->cpus_ptr);
	if (other == cpu || preload_cpus[other & (PRELOAD_MAX_CPUS - 1)].online != 1)
		return cpu;
	return is_better(cpu, other, 1) ? other : cpu;
}

/* Move to @cpu a task that may run there from @victim's DSQ. */
static bool take_from(s32 victim, s32 cpu)
{
	return move_first_allowed(cpu, PRELOAD_DSQ_AFFINE(victim), cpu_llc_id(victim));
}

/*
 * Nothing waits near @cpu: take a task that may run here from another CPU's DSQ, next CPUs
 * first. At most NR_VICTIMS * PRELOAD_MIGRATE_LOOKS tasks are looked at.
 */
bool steal_affine(s32 cpu)
{
	s32 victim = cpu;
	bool moved = false;
	u32 n;

	bpf_for(n, 0, NR_VICTIMS) {
		victim = next_affine(victim);
		if (victim < 0 || victim == cpu)
			break;
		if (!scx_bpf_dsq_nr_queued(PRELOAD_DSQ_AFFINE(victim))) {
			forget_affine(victim);
			continue;
		}
		moved = take_from(victim, cpu);
		if (moved)
			break;
	}
	return moved;
}

/*
 * At balancing turn @turn of @cpu, which is busy: take a task that may run here from another
 * CPU's DSQ, if it is better off here. Where hundreds wait, a task is queued again, and could
 * go elsewhere, only once in a second. Returns whether it did.
 */
bool pull_affine(s32 cpu, u32 turn)
{
	s32 victim = next_affine((cpu + turn) % (nr_cpu_ids() ?: 1));

	if (victim < 0 || victim == cpu || !is_better(victim, cpu, 2) || !take_from(victim, cpu))
		return false;
	preload_count_rare(balance_pull);
	balance_again();
	return true;
}
