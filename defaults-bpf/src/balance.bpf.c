// SPDX-License-Identifier: GPL-2.0-only
/*
 * Balance between LLCs: where a newly idle CPU looks for work, and which other
 * DSQ a busy one compares its own with.
 *
 * No task waits in one LLC while another has idle CPUs for longer than a slice and
 * a tick: a CPU that goes idle looks at the DSQs of all LLCs, and a task that is
 * queued looks for an idle CPU in all LLCs. When both happen at once they can miss
 * each other. Then the next task to lose its CPU finds the idle one, and the waiting
 * task gets the CPU left behind.
 */
#include "vmlinux.h"

#include "balance.bpf.h"
#include "dsq.bpf.h"
#include "rq.bpf.h"

char _license[] SEC("license") = "GPL";

/* Dispatches of this CPU: counted on each, so in memory that is its own. */
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
 * A number that is the lower, the nearer the LLC in @nth place from @llc is and the more
 * tasks wait in its DSQ; its index is in the low bits.
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
 * The LLC with the most waiting tasks, of the nearest that have any; negative if none of
 * the LLCs listed by distance has.
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
	/* A machine with more LLCs than are listed: the others in a ring. */
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
	preload_count_dfl(HOOK_MAY_MIGRATE);
	return true;
}

bool __weak hook_may_migrate(struct task_struct *p __arg_trusted, s32 cpu)
{
	return dfl_may_migrate(p, cpu);
}

/* Move the first task of another LLC's DSQ that @cpu may run, and that may migrate, here. */
__noinline bool move_between_llcs(s32 cpu, u32 llc)
{
	struct task_struct *p;
	u32 looks = 0;

	if (!is_asked(HOOK_MAY_MIGRATE))
		return move_from_llc(llc);
	bpf_for_each(scx_dsq, p, PRELOAD_DSQ_LLC(llc), 0) {
		if (looks++ == PRELOAD_MIGRATE_LOOKS)
			break;
		if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr) || is_migration_disabled(p))
			continue;
		if (may_migrate(p, cpu) &&
		    scx_bpf_dsq_move(&___it, p, PRELOAD_DSQ_LOCAL, PRELOAD_ENQ_IMMED))
			return true;
	}
	return false;
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
 * Count a dispatch. Every PRELOAD_BALANCE_INTERVAL dispatches it is time to look beyond
 * the DSQs of this CPU: returns the number of that turn, else 0.
 */
u32 balance_turn(void)
{
	u32 zero = 0, *turns = bpf_map_lookup_elem(&preload_turns, &zero);

	if (!turns || ++*turns % PRELOAD_BALANCE_INTERVAL)
		return 0;
	return *turns / PRELOAD_BALANCE_INTERVAL;
}

/*
 * This CPU has pulled a task: where one was behind, more may be. Make the next dispatch a
 * turn again, or the surplus of a crowded LLC would leave it one by one, and the first
 * tasks to leave would run alone meanwhile.
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

	if (nr_llcs() < 2)
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
