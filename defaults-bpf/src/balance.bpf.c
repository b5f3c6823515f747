// SPDX-License-Identifier: GPL-2.0-only
/*
 * Balance between LLCs: where a newly idle CPU looks for work, and which other
 * queue a busy one compares its own with.
 *
 * No task waits in one LLC while another has idle CPUs for longer than a slice and
 * a tick: a CPU that goes idle looks at the queues of all, and a task that is
 * queued looks for an idle CPU in all. Two that do so at the same time can miss
 * each other. Then the next task to lose its CPU finds the idle one, and the task
 * that waited gets the CPU left behind.
 */
#include "vmlinux.h"

#include "internal.bpf.h"

char _license[] SEC("license") = "GPL";

/* Dispatches of this CPU: counted on each, so in memory that is its own. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} preload_turns SEC(".maps");

static u32 llc_node(u32 llc)
{
	return preload_llcs[llc & (PRELOAD_MAX_LLCS - 1)].node;
}

static s32 nth_other_llc(s32 cpu, u32 nth)
{
	return (cpu_llc_id(cpu) + 1 + nth) % (nr_llcs() ?: 1);
}

/* First round the LLCs of the own node, then, if there are any, round the others. */
s32 dfl_steal_llc(s32 cpu, u32 nth)
{
	u32 others = nr_llcs() - 1, rounds = preload_topology.nr_nodes > 1 ? 2 : 1;
	s32 llc;

	preload_count_dfl(HOOK_STEAL_LLC);
	if (nth >= others * rounds)
		return -1;
	llc = nth_other_llc(cpu, nth % others);
	if (rounds > 1 && (nth < others) != (llc_node(llc) == cpu_node_id(cpu)))
		return cpu_llc_id(cpu);
	return llc;
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

/* Ask the hook; the answer is an LLC that exists, or -1. */
s32 steal_llc(s32 cpu, u32 nth)
{
	s32 llc;

	preload_count_rare(hooks[HOOK_STEAL_LLC].calls);
	llc = hook_steal_llc(cpu, nth);
	if (llc < 0)
		return -1;
	if (llc < nr_llcs())
		return llc;
	preload_count_rare(hooks[HOOK_STEAL_LLC].bad);
	return -1;
}

/*
 * Count a dispatch. Every PRELOAD_BALANCE_INTERVAL of them it is time to look
 * beyond the own queues: the answer is the turn's number, else 0.
 */
u32 balance_turn(void)
{
	u32 zero = 0, *turns = bpf_map_lookup_elem(&preload_turns, &zero);

	if (!turns || ++*turns % PRELOAD_BALANCE_INTERVAL)
		return 0;
	return *turns / PRELOAD_BALANCE_INTERVAL;
}

/* Ask the hook; the answer is another LLC that exists, or -1. */
s32 balance_llc(s32 cpu, u32 turn)
{
	s32 llc;

	if (nr_llcs() < 2)
		return -1;
	preload_count_rare(hooks[HOOK_BALANCE_LLC].calls);
	llc = hook_balance_llc(cpu, turn);
	if (llc < 0 || llc == cpu_llc_id(cpu))
		return -1;
	if (llc < nr_llcs())
		return llc;
	preload_count_rare(hooks[HOOK_BALANCE_LLC].bad);
	return -1;
}
