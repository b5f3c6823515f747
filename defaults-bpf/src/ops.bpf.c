// SPDX-License-Identifier: GPL-2.0-only
/* The ops table and its callbacks; the policies are on the floors below. */
#include "vmlinux.h"

#include "bypass.bpf.h"
#include "cgroup.bpf.h"
#include "dispatch.bpf.h"
#include "dsq.bpf.h"
#include "enqueue.bpf.h"
#include "guard.bpf.h"
#include "handover.bpf.h"
#include "idle.bpf.h"
#include "lifecycle.bpf.h"
#include "nohz.bpf.h"
#include "power.bpf.h"
#include "refresh.bpf.h"
#include "slice.bpf.h"
#include "ticks.bpf.h"
#include "topology.bpf.h"
#include "vtime.bpf.h"

char _license[] SEC("license") = "GPL";

s32 BPF_STRUCT_OPS(preload_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	s32 cpu = pick_idle_cpu(p, prev_cpu, wake_flags);
	bool here;

	if (cpu < 0)
		return prev_cpu;

	/*
	 * The local DSQ of the CPU returned: no enqueue, no dispatch. IMMED: if RT takes
	 * the CPU, now or later, the task is enqueued again. Not on this CPU, where it waits
	 * for its waker.
	 */
	preload_count(wakeup_idle);
	here = cpu == bpf_get_smp_processor_id();
	if (here)
		end_endless(cpu);
	preload_dsq_insert(p, PRELOAD_DSQ_LOCAL, task_slice(p, cpu), here ? 0 : PRELOAD_ENQ_IMMED);
	return cpu;
}

void BPF_STRUCT_OPS(preload_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (!is_asked(HOOK_ENQUEUE)) {
		do_enqueue(p, enq_flags);
		return;
	}
	preload_count(hooks[HOOK_ENQUEUE].calls);
	ask_override(HOOK_ENQUEUE, hook_enqueue(p, enq_flags));
}

void BPF_STRUCT_OPS(preload_dispatch, s32 cpu, struct task_struct *prev)
{
	if (is_polled())
		bypass_poll();
	if (is_watched() && dispatch_before_change(cpu))
		return;
	if (!is_asked(HOOK_DISPATCH)) {
		do_dispatch(cpu, prev);
		return;
	}
	preload_count(hooks[HOOK_DISPATCH].calls);
	ask_override(HOOK_DISPATCH, hook_dispatch(cpu, prev));
}

/* Utilization and load are sampled: accounting at each switch would cost too much. */
void BPF_STRUCT_OPS(preload_tick, struct task_struct *p)
{
	s32 cpu = scx_bpf_task_cpu(p);

	if (is_polled())
		bypass_poll();
	nohz_tick(cpu);
	cgroup_tick(p, power_tick(cpu));
}

s32 BPF_STRUCT_OPS_SLEEPABLE(preload_init_task, struct task_struct *p,
			     struct scx_init_task_args *args)
{
	p->scx.dsq_vtime = start_vtime(p);
	return 0;
}

void BPF_STRUCT_OPS_SLEEPABLE(preload_cpu_online, s32 cpu)
{
	create_dsqs();
	topology_cpu_online(cpu);
	ask_refresh();
	preload_count_rare(hooks[HOOK_CPU_ONLINE].calls);
	hook_cpu_online(cpu);
}

void BPF_STRUCT_OPS_SLEEPABLE(preload_cpu_offline, s32 cpu)
{
	topology_cpu_offline(cpu);
	ask_refresh();
	preload_count_rare(hooks[HOOK_CPU_OFFLINE].calls);
	hook_cpu_offline(cpu);
}

void BPF_STRUCT_OPS(preload_dump, struct scx_dump_ctx *dctx)
{
	preload_count_rare(hooks[HOOK_DUMP].calls);
	hook_dump();
}

/* Called for each start: a scheduler that ended can be attached again, with its maps as they were. */
s32 BPF_STRUCT_OPS_SLEEPABLE(preload_init)
{
	s32 err;

	preload_exit_info.kind = preload_exit_info.code = 0;
	preload_handover.attached = 1;
	ticks_init();
	power_init();
	err = create_dsqs() ?: create_own_dsqs();
	if (err)
		return err;
	refresh_init();
	topology_init();
	preload_count_rare(hooks[HOOK_INIT].calls);
	err = hook_init();
	if (!err && is_watched())
		err = bypass_init();
	return err > 0 ? -EINVAL : err;
}

void BPF_STRUCT_OPS_SLEEPABLE(preload_exit, struct scx_exit_info *ei)
{
	preload_exit_info.kind = ei->kind;
	preload_exit_info.code = ei->exit_code;
	preload_count_rare(hooks[HOOK_EXIT].calls);
	hook_exit(ei);
}

/*
 * timeout_ms bounds how long a stall can freeze a boot. No further callbacks: each costs a
 * call on the kernel's path, even if it does nothing.
 */
SEC(".struct_ops.link")
struct sched_ext_ops preload_ops = {
	.select_cpu = (void *)preload_select_cpu,
	.enqueue = (void *)preload_enqueue,
	.dispatch = (void *)preload_dispatch,
	.tick = (void *)preload_tick,
	.init_task = (void *)preload_init_task,
	.cpu_online = (void *)preload_cpu_online,
	.cpu_offline = (void *)preload_cpu_offline,
	.dump = (void *)preload_dump,
	.init = (void *)preload_init,
	.exit = (void *)preload_exit,
	.flags = SCX_OPS_ALLOW_QUEUED_WAKEUP | SCX_OPS_ENQ_LAST | SCX_OPS_ENQ_MIGRATION_DISABLED,
	.timeout_ms = 5000,
	.name = "preload",
};
