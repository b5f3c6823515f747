// SPDX-License-Identifier: GPL-2.0-only
/*
 * Balance between LLCs: where a newly idle CPU looks for work, and which other DSQ a busy
 * one compares its own with.
 *
 * No task waits in one LLC for longer than a slice and a tick while another has idle CPUs:
 * a newly idle CPU checks the DSQs of all LLCs, and a task that is queued searches all LLCs
 * for an idle CPU. If both happen at once, they can miss each other. Then the next task to
 * lose its CPU finds the idle one, and the waiting task gets the CPU left behind.
 */
#include "vmlinux.h"

#include "balance.bpf.h"
#include "dsq.bpf.h"
#include "rq.bpf.h"

char _license[] SEC("license") = "GPL";

/* Dispatches of each CPU; per-CPU, as each dispatch counts. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} preload_turns SEC(".maps");

static s32 nth_other_llc(s32 cpu, u32 nth)
{
	return (cpu_llc_id(cpu) + 1 + nth) % (nr_llcs() ?: 1);
}

#define NO_LOAD (~0ULL)

/* Parts of the search: global functions, which the verifier checks once each. */
u64 near_load(u32 llc, u32 nth);
s32 busiest_near(s32 cpu);

/*
 * Sort key of the @nth LLC by distance from @llc: lower if it is nearer, then if more tasks
 * wait on its DSQ. Its index is in the low bits.
 */
__noinline u64 near_load(u32 llc, u32 nth)
{
	u64 other = llc_near(llc, nth);
	s32 queued;

	if (!llc_has_waiting(other))
		return NO_LOAD;
	queued = scx_bpf_dsq_nr_queued(PRELOAD_DSQ_LLC(other));
	return (u64)llc_near_level(llc, nth) << 48 | (u64)(~queued & 0x7fffffff) << 16 | other;
}

/*
 * Of the nearest LLCs with waiting tasks, the one with the most; negative if no LLC listed
 * by distance has any.
 */
__noinline s32 busiest_near(s32 cpu)
{
	u32 own = cpu_llc_id(cpu), nth;
	u64 least = NO_LOAD, load;

	bpf_for(nth, 0, nr_near()) {
		load = near_load(own, nth);
		if (load < least)
			least = load;
	}
	return least == NO_LOAD ? -1 : (s32)(least & 0xffff);
}

s32 dfl_steal_llc(s32 cpu, u32 nth)
{
	u32 near = nr_near();
	s32 busiest;

	preload_count_dfl(HOOK_STEAL_LLC);
	if (!nth) {
		busiest = busiest_near(cpu);
		return busiest >= 0 ? busiest : cpu_llc_id(cpu);
	}
	nth--;
	if (nth < near)
		return llc_near(cpu_llc_id(cpu), nth);
	/* If there are more LLCs than are listed: the others, in ring order. */
	return nth < nr_llcs() ? nth_other_llc(cpu, nth) : -1;
}

s32 __weak hook_steal_llc(s32 cpu, u32 nth)
{
	return dfl_steal_llc(cpu, nth);
}

s32 dfl_balance_llc(s32 cpu, u32 turn)
{
	u32 others = nr_llcs() - 1;

	preload_count_dfl(HOOK_BALANCE_LLC);
	return others ? nth_other_llc(cpu, turn % others) : -1;
}

s32 __weak hook_balance_llc(s32 cpu, u32 turn)
{
	return dfl_balance_llc(cpu, turn);
}

bool dfl_may_migrate(struct task_struct *p __arg_trusted, s32 cpu)
{
	use_arg(p);
	use_arg(cpu);
	preload_count_dfl(HOOK_MAY_MIGRATE);
	return true;
}

bool __weak hook_may_migrate(struct task_struct *p __arg_trusted, s32 cpu)
{
	return dfl_may_migrate(p, cpu);
}

/*
 * Move to @cpu the first of the next tasks on @dsq that may run there and, if it is another
 * LLC's, migrate there.
 */
__noinline bool move_first_allowed(s32 cpu, u64 dsq, u32 llc)
{
	struct task_struct *p;
	u32 looks = 0;

	use_arg(llc);
	bpf_for_each(scx_dsq, p, dsq, 0) {
		if (looks++ == PRELOAD_MIGRATE_LOOKS)
			break;
		if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr) || is_migration_disabled(p))
			continue;
		if (llc != cpu_llc_id(cpu) && !may_migrate(p, cpu))
			continue;
		if (scx_bpf_dsq_move(&___it, p, PRELOAD_DSQ_LOCAL, PRELOAD_ENQ_IMMED))
			return true;
	}
	return false;
}

/* May the head of @llc's DSQ run on @cpu? */
static bool is_head_allowed(s32 cpu, u32 llc)
{
	struct task_struct *head = scx_bpf_dsq_peek(PRELOAD_DSQ_LLC(llc));

	return head && bpf_cpumask_test_cpu(cpu, head->cpus_ptr);
}

/*
 * Move to @cpu the first task on @llc's DSQ that may migrate there. To look for it, the kernel
 * would walk past all that may not run here, with the DSQ locked: thousands, if @llc is a node
 * that they are bound to.
 */
__noinline bool move_between_llcs(s32 cpu, u32 llc)
{
	if (!is_asked(HOOK_MAY_MIGRATE) && is_head_allowed(cpu, llc))
		return move_from_llc(llc);
	return move_first_allowed(cpu, PRELOAD_DSQ_LLC(llc), llc);
}

/* The hook's result: an LLC that exists, or -1. */
s32 steal_llc(s32 cpu, u32 nth)
{
	s32 llc;

	preload_count_rare(hooks[HOOK_STEAL_LLC].calls);
	llc = ask_hook(HOOK_STEAL_LLC, hook_steal_llc(cpu, nth), dfl_steal_llc(cpu, nth));
	if (llc < 0)
		return -1;
	if (llc < nr_llcs())
		return llc;
	bad_result(HOOK_STEAL_LLC);
	return -1;
}

/*
 * Count a dispatch. Every PRELOAD_BALANCE_INTERVAL dispatches, the CPU looks beyond its own
 * DSQs: returns the number of that turn, else 0.
 */
u32 balance_turn(void)
{
	u32 zero = 0, *turns = bpf_map_lookup_elem(&preload_turns, &zero);

	if (!turns || ++*turns % PRELOAD_BALANCE_INTERVAL)
		return 0;
	return *turns / PRELOAD_BALANCE_INTERVAL;
}

/*
 * This CPU has pulled a task, and more may be behind. Make the next dispatch a turn, too:
 * otherwise tasks leave a crowded LLC only one per interval, and the first ones run alone
 * meanwhile.
 */
void balance_again(void)
{
	u32 zero = 0, *turns = bpf_map_lookup_elem(&preload_turns, &zero);

	if (turns)
		*turns += PRELOAD_BALANCE_INTERVAL - 1;
}

/* The hook's result: another LLC that exists, or -1. */
s32 balance_llc(s32 cpu, u32 turn)
{
	s32 llc;

	if (nr_llcs() < 2 || is_isolated(cpu))
		return -1;
	preload_count_rare(hooks[HOOK_BALANCE_LLC].calls);
	llc = ask_hook(HOOK_BALANCE_LLC, hook_balance_llc(cpu, turn), dfl_balance_llc(cpu, turn));
	if (llc < 0 || llc == cpu_llc_id(cpu))
		return -1;
	if (llc < nr_llcs())
		return llc;
	bad_result(HOOK_BALANCE_LLC);
	return -1;
}
