// SPDX-License-Identifier: GPL-2.0-only
/* Hooks that are notified and decide nothing: start, end, CPU hotplug, debug dump. */
#include "vmlinux.h"

#include "scx_preload/queues.bpf.h"

#include "lifecycle.bpf.h"

char _license[] SEC("license") = "GPL";

struct preload_exit preload_exit_info;

s32 dfl_init(void)
{
	preload_count_dfl(HOOK_INIT);
	return 0;
}

s32 __weak hook_init(void)
{
	return dfl_init();
}

void dfl_exit(struct scx_exit_info *ei __arg_trusted)
{
	preload_count_dfl(HOOK_EXIT);
}

void __weak hook_exit(struct scx_exit_info *ei __arg_trusted)
{
	dfl_exit(ei);
}

void dfl_cpu_online(s32 cpu)
{
	preload_count_dfl(HOOK_CPU_ONLINE);
}

void __weak hook_cpu_online(s32 cpu)
{
	dfl_cpu_online(cpu);
}

void dfl_cpu_offline(s32 cpu)
{
	preload_count_dfl(HOOK_CPU_OFFLINE);
}

void __weak hook_cpu_offline(s32 cpu)
{
	dfl_cpu_offline(cpu);
}

void dfl_dump(void)
{
	static char line[] = "LLC %llu: %llu CPUs, %llu queued, clock %llu ns";
	s32 llc;

	preload_count_dfl(HOOK_DUMP);
	bpf_for(llc, 0, nr_llcs()) {
		struct preload_llc *l = &preload_llcs[llc & (PRELOAD_MAX_LLCS - 1)];
		unsigned long long args[] = {
			llc,
			l->nr_cpus,
			scx_bpf_dsq_nr_queued(PRELOAD_DSQ_LLC(llc)),
			l->clock,
		};

		scx_bpf_dump_bstr(line, args, sizeof(args));
	}
}

void __weak hook_dump(void)
{
	dfl_dump();
}
