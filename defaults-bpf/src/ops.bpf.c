// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ops table and its callbacks: kernel → callback → hook → kernel. A
 * callback decides nothing itself. It asks hooks, through the bounded wrappers
 * of the other files, and carries out what they say.
 *
 * Callbacks are weak, for authors who want to replace a whole one.
 */
#include "vmlinux.h"

#include "internal.bpf.h"

char _license[] SEC("license") = "GPL";

/* For `status`, which sees maps and not ELF sections. */
const volatile u32 contract_version = PRELOAD_CONTRACT_VERSION;

/* Bit n: hook n is overridden. The loader knows from the symbols, and sets it. */
const volatile u64 overridden_hooks;

/* Why the scheduler ended; all 0 while it runs. */
struct preload_exit {
	u64 kind; /* enum scx_exit_kind */
	s64 code;
} preload_exit_info;

s32 __weak BPF_STRUCT_OPS(preload_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	s32 cpu = idle_cpu(p, prev_cpu, wake_flags);

	if (cpu < 0)
		return prev_cpu;

	/* The local queue of the CPU returned, and thus no enqueue and no dispatch. */
	preload_count(wakeup_idle);
	preload_dsq_insert(p, PRELOAD_DSQ_LOCAL, task_slice(p, cpu), 0);
	return cpu;
}

/*
 * A task that skipped select_cpu, or that had to give up its CPU, looks for an
 * idle one here. If that is not the one whose lock is held, the task goes to a
 * queue there and the CPU is woken: putting it on that CPU's local queue would
 * take a second lock.
 */
void __weak BPF_STRUCT_OPS(preload_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 cpu = scx_bpf_task_cpu(p), idle = -1;

	if (!(enq_flags & PRELOAD_ENQ_CPU_SELECTED) &&
	    (p->nr_cpus_allowed > 1 || (enq_flags & PRELOAD_ENQ_WAKEUP)))
		idle = idle_cpu(p, cpu, 0);

	if (idle == cpu) {
		preload_count(wakeup_idle);
		preload_dsq_insert(p, PRELOAD_DSQ_LOCAL, task_slice(p, cpu), enq_flags);
		return;
	}

	enqueue_task(p, idle >= 0 ? idle : cpu, enq_flags);
	if (idle >= 0) {
		preload_count(kick_idle);
		scx_bpf_kick_cpu(idle, PRELOAD_KICK_IDLE);
	}
}

static bool move_from_llc(u32 llc)
{
	return preload_dsq_move_to_local(PRELOAD_DSQ_LLC(llc));
}

static bool move_from_cpu(s32 cpu)
{
	if (!preload_dsq_move_to_local(PRELOAD_DSQ_CPU(cpu)))
		return false;
	preload_count(dispatch_cpu);
	return true;
}

/* The virtual time of @dsq's first task, if that is before *@first. */
static bool earlier_head(u64 dsq, bool any, u64 *first)
{
	struct task_struct *head = scx_bpf_dsq_peek(dsq);

	if (!head || (any && !vtime_before(head->scx.dsq_vtime, *first)))
		return false;
	*first = head->scx.dsq_vtime;
	return true;
}

/*
 * Who runs next on @cpu: the first of its own queue, of its LLC's, of another
 * LLC's where tasks have waited longer, or the running task, whichever is
 * earliest. Heads are peeked at without a lock; if one has gone by the time
 * that it is taken, the next of its queue is as good.
 */
void __weak BPF_STRUCT_OPS(preload_dispatch, s32 cpu, struct task_struct *prev)
{
	bool runnable = prev && (prev->scx.flags & PRELOAD_TASK_QUEUED);
	u32 own = cpu_llc_id(cpu), llc = own, turn, nth;
	bool any = false, pinned = false;
	u64 first = 0, slice, key;
	s32 other = -1;

	if (earlier_head(PRELOAD_DSQ_LLC(own), false, &first))
		any = true;
	if (earlier_head(PRELOAD_DSQ_CPU(cpu), any, &first))
		any = pinned = true;

	turn = balance_turn();
	if (turn) {
		if (dispatch_overdue(cpu)) {
			preload_count(dispatch_overdue);
			return;
		}
		other = balance_llc(cpu, turn);
	}
	if (other >= 0) {
		u64 behind = first - slice_ns;

		/* An LLC without waiting tasks has no time of its own: keep up. */
		if (!any)
			advance_clock(own, preload_llcs[other & (PRELOAD_MAX_LLCS - 1)].clock,
				      PRELOAD_VTIME_WINDOW_NS);
		if (earlier_head(PRELOAD_DSQ_LLC(other), any, &behind)) {
			first = behind;
			llc = other;
			any = true;
			pinned = false;
		}
	}

	if (runnable) {
		slice = task_slice(prev, cpu);
		key = task_key(prev, cpu, slice, 0);
		if (!any || vtime_before(key, first)) {
			if (any)
				advance_clock(own, key, PRELOAD_VTIME_WINDOW_NS);
			prev->scx.slice = slice;
			preload_count(dispatch_keep);
			return;
		}
	}

	if (any) {
		advance_clock(own, first, runnable ? PRELOAD_VTIME_WINDOW_NS : slice_ns);
		if (llc != own && move_from_llc(llc)) {
			preload_count(balance_pull);
			return;
		}
		if (pinned && move_from_cpu(cpu))
			return;
		if (move_from_llc(own)) {
			preload_count(dispatch_llc);
			return;
		}
		if (!pinned && move_from_cpu(cpu))
			return;
	}
	if (runnable)
		return;

	bpf_for(nth, 0, nr_llcs()) {
		other = steal_llc(cpu, nth);
		if (other < 0)
			return;
		if (move_from_llc(other)) {
			preload_count(newidle_steal);
			return;
		}
	}
}

s32 __weak BPF_STRUCT_OPS_SLEEPABLE(preload_init_task, struct task_struct *p,
				    struct scx_init_task_args *args)
{
	task_start(p);
	return 0;
}

void __weak BPF_STRUCT_OPS_SLEEPABLE(preload_cpu_online, s32 cpu)
{
	topology_refresh();
	create_queues();
	preload_count(hooks[HOOK_CPU_ONLINE].calls);
	hook_cpu_online(cpu);
}

void __weak BPF_STRUCT_OPS_SLEEPABLE(preload_cpu_offline, s32 cpu)
{
	topology_cpu_offline(cpu);
	preload_count(hooks[HOOK_CPU_OFFLINE].calls);
	hook_cpu_offline(cpu);
}

void __weak BPF_STRUCT_OPS(preload_dump, struct scx_dump_ctx *dctx)
{
	preload_count(hooks[HOOK_DUMP].calls);
	hook_dump();
}

s32 __weak BPF_STRUCT_OPS_SLEEPABLE(preload_init)
{
	s32 err;

	topology_refresh();
	err = create_queues();
	if (err)
		return err;
	preload_count(hooks[HOOK_INIT].calls);
	err = hook_init();
	return err > 0 ? -EINVAL : err;
}

void __weak BPF_STRUCT_OPS_SLEEPABLE(preload_exit, struct scx_exit_info *ei)
{
	preload_exit_info.kind = ei->kind;
	preload_exit_info.code = ei->exit_code;
	preload_count(hooks[HOOK_EXIT].calls);
	hook_exit(ei);
}

/*
 * The time-out bounds how long a stall can freeze a boot, so it is short. No
 * callback beyond these: each costs time whether or not it has something to do.
 */
SEC(".struct_ops.link")
struct sched_ext_ops preload_ops = {
	.select_cpu = (void *)preload_select_cpu,
	.enqueue = (void *)preload_enqueue,
	.dispatch = (void *)preload_dispatch,
	.init_task = (void *)preload_init_task,
	.cpu_online = (void *)preload_cpu_online,
	.cpu_offline = (void *)preload_cpu_offline,
	.dump = (void *)preload_dump,
	.init = (void *)preload_init,
	.exit = (void *)preload_exit,
	.flags = SCX_OPS_ALLOW_QUEUED_WAKEUP,
	.timeout_ms = 5000,
	.name = "preload",
};
