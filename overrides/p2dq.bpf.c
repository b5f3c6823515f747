// SPDX-License-Identifier: GPL-2.0-only
/*
 * Balance by the power of two choices, as scx_p2dq does: of two LLCs chosen at random,
 * take a task from the one with more waiting tasks. That finds the longest DSQ nearly as
 * often as a scan of all does, and CPUs that balance at the same time do not all pick the
 * same one.
 *
 * A busy CPU does this in place of the defaults' round robin and skips a DSQ that is not
 * longer than its own. A newly idle CPU tries it first and then the other LLCs, so that it
 * does not idle while tasks wait. Not implemented of scx_p2dq: DSQs by slice length, its
 * placement, load by CPU utilization: here the number of waiting tasks counts.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/queues.bpf.h>
#include <scx_preload/topology.bpf.h>

char _license[] SEC("license") = "GPL";

/* A busy CPU takes a task from a DSQ that is longer than its own by at least this. */
const volatile u32 p2dq_slack = 1;

static s32 nr_waiting(s32 llc)
{
	return scx_bpf_dsq_nr_queued(PRELOAD_DSQ_LLC(llc));
}

/* The busier of two LLCs other than @cpu's, or the only one; negative if there is none. */
static s32 pick_two(s32 cpu)
{
	u32 own = cpu_llc_id(cpu), nr = nr_llcs(), first, second;

	if (nr < 2)
		return -1;
	first = bpf_get_prandom_u32() % (nr - 1);
	/* Distinct from the first if there are two. */
	second = nr > 2 ? bpf_get_prandom_u32() % (nr - 2) : first;
	if (nr > 2 && second >= first)
		second++;

	first = (own + 1 + first) % nr;
	second = (own + 1 + second) % nr;
	return nr_waiting(second) > nr_waiting(first) ? second : first;
}

s32 hook_steal_llc(s32 cpu, u32 nth)
{
	return nth ? dfl_steal_llc(cpu, nth) : pick_two(cpu);
}

s32 hook_balance_llc(s32 cpu, u32 turn)
{
	s32 llc = pick_two(cpu);

	if (llc >= 0 && nr_waiting(llc) < nr_waiting(cpu_llc_id(cpu)) + (s32)p2dq_slack)
		return -1;
	return llc;
}
