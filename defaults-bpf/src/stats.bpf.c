// SPDX-License-Identifier: GPL-2.0-only
/* The counters that include/scx_preload/stats.bpf.h describes. */
#include "vmlinux.h"

#include "scx_preload/stats.bpf.h"

char _license[] SEC("license") = "GPL";

struct preload_stats_map preload_stats SEC(".maps");

void preload_count_nth(u32 nth)
{
	struct preload_stats *stats = this_cpu_stats();

	if (stats && nth < sizeof(*stats) / sizeof(u64))
		((u64 *)stats)[nth]++;
}
