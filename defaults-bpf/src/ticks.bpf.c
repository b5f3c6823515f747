// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel notes in jiffies when a task began to wait. The length of a jiffy is not in BTF:
 * it is measured from the start on.
 */
#include "vmlinux.h"

#include "ticks.bpf.h"

char _license[] SEC("license") = "GPL";

/* The start. */
static u64 first_tick, first_ns;

void ticks_init(void)
{
	first_tick = bpf_jiffies64();
	first_ns = bpf_ktime_get_ns();
}

/* How long @p has waited for a CPU, ns; @p does wait. */
u64 waited_ns(const struct task_struct *p __arg_untrusted)
{
	u64 now = bpf_jiffies64(), since = now - first_tick, ticks = now - p->scx.runnable_at;

	/* A task that waited before the start has nearly all of the time since, or less. */
	return since ? min(ticks, since) * ((bpf_ktime_get_ns() - first_ns) / since) : 0;
}

/* Has @p waited for longer than @ns? Dispatch asks often: a task that cannot have is not measured. */
bool waited_longer(const struct task_struct *p __arg_untrusted, u64 ns)
{
	return (bpf_jiffies64() - p->scx.runnable_at) * TICK_MAX_NS > ns && waited_ns(p) > ns;
}
