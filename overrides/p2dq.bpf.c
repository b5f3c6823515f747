// SPDX-License-Identifier: GPL-2.0-only
/*
 * Balance by the power of two choices, as scx_p2dq does: of two LLCs chosen at random,
 * take from the one where more tasks wait. The longest queue is found nearly as often as
 * by a look at all, and CPUs that look at the same time do not all go to one place.
 *
 * A busy CPU asks this in place of the defaults' turn through all LLCs, and leaves a queue
 * alone that is no longer than its own; one that goes idle asks it first and then looks at
 * the others, so that it does not idle while tasks wait. Of scx_p2dq this leaves out the
 * queues by length of slice, its own placement, and the load by use of CPU: what counts
 * here is how many wait.
 */
#include "vmlinux.h"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/queues.bpf.h>
#include <scx_preload/topology.bpf.h>

char _license[] SEC("license") = "GPL";

/* By how many tasks another queue has to be longer for a busy CPU to take from it. */
const volatile u32 p2dq_slack = 1;

static s32 nr_waiting(s32 llc)
{
	return scx_bpf_dsq_nr_queued(PRELOAD_DSQ_LLC(llc));
}

/* The fuller of two others of @cpu's LLC, or the only one; negative if there is none. */
static s32 pick_two(s32 cpu)
{
	u32 own = cpu_llc_id(cpu), nr = nr_llcs(), first, second;

	if (nr < 2)
		return -1;
	first = bpf_get_prandom_u32() % (nr - 1);
	/* Another one than the first, if there are two. */
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
