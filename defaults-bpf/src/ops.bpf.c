// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ops table and its callbacks: kernel → callback → hook → kernel. A
 * callback decides nothing itself. It asks hooks, through the bounded wrappers
 * of the other files, and carries out what they say.
 */
#include "vmlinux.h"

#include "internal.bpf.h"

char _license[] SEC("license") = "GPL";

/* For `status`, which sees maps and not ELF sections. */
const volatile u32 contract_version = PRELOAD_CONTRACT_VERSION;

/* Bit n: hook n is overridden. The loader knows from the symbols, and sets it. */
const volatile u64 overridden_hooks;

struct preload_exit preload_exit_info;

s32 BPF_STRUCT_OPS(preload_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	s32 cpu = idle_cpu(p, prev_cpu, wake_flags);

	if (cpu < 0)
		return prev_cpu;

	/*
	 * The local queue of the CPU returned, and thus no enqueue and no dispatch. If
	 * RT takes the CPU first, or later, the task is queued anew; not if it waits for
	 * the one that woke it up.
	 */
	preload_count(wakeup_idle);
	preload_dsq_insert(p, PRELOAD_DSQ_LOCAL, task_slice(p, cpu),
			   cpu == bpf_get_smp_processor_id() ? 0 : PRELOAD_ENQ_IMMED);
	return cpu;
}

/* What dispatch has found to be due first. */
struct next {
	u64 place; /* virtual time, if any */
	u32 llc; /* whose queue it waits in */
	bool any;
	bool pinned; /* it waits in the CPU's own queue instead */
};

/* Parts of callbacks: functions of their own, so that they are verified once. */
s32 idle_cpu_late(struct task_struct *p __arg_trusted, s32 cpu, u64 enq_flags);
bool earlier_head(u64 dsq, struct next *next __arg_nonnull);
bool earlier_in_llc(u32 llc, struct next *next __arg_nonnull);
void look_here(s32 cpu, struct next *next __arg_nonnull);
void look_elsewhere(s32 cpu, u32 turn, struct next *next __arg_nonnull);
bool keep(struct task_struct *prev __arg_trusted, s32 cpu, struct next *next __arg_nonnull);
bool take(s32 cpu, struct next *next __arg_nonnull);
void newidle(s32 cpu);

/* Has @cpu, where a task is being enqueued, no other task to run? */
static bool is_alone(s32 cpu)
{
	const struct rq *rq = rq_of(cpu);

	return rq && rq->nr_running == 1;
}

/* Did leaves_core() say so of the task that is being enqueued on @cpu? */
static bool leaves(s32 cpu)
{
	struct preload_cpu *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)];
	bool leaves = c->leaves;

	c->leaves = 0;
	return leaves;
}

/*
 * An idle CPU for a task that skipped select_cpu, or that had to give up @cpu. A
 * wakeup queued to a CPU with nothing else to do stays there.
 */
__noinline s32 idle_cpu_late(struct task_struct *p __arg_trusted, s32 cpu, u64 enq_flags)
{
	if (enq_flags & PRELOAD_ENQ_WAKEUP) {
		if (is_alone(cpu))
			return cpu;
	} else if (p->nr_cpus_allowed == 1) {
		return -1;
	}
	return idle_cpu(p, cpu,
			(enq_flags & PRELOAD_ENQ_LAST) && leaves(cpu) ? PRELOAD_WAKE_CORE : 0);
}

/*
 * If the idle CPU is not the one whose lock is held, the task goes to a queue
 * there and the CPU is woken: putting it on that CPU's local queue would take a
 * second lock. For the last one here it is worth that: in a queue, those that it
 * leaves could take it.
 */
static void enqueue(struct task_struct *p, u64 enq_flags)
{
	s32 cpu = scx_bpf_task_cpu(p), idle = -1;

	if (!(enq_flags & PRELOAD_ENQ_CPU_SELECTED))
		idle = idle_cpu_late(p, cpu, enq_flags);
	/* SCX_ENQ_LAST: nothing else is there, so that without another CPU it goes on. */
	if (idle == cpu || (idle < 0 && (enq_flags & PRELOAD_ENQ_LAST))) {
		if (enq_flags & PRELOAD_ENQ_WAKEUP)
			preload_count(wakeup_idle);
		preload_dsq_insert(p, PRELOAD_DSQ_LOCAL, task_slice(p, cpu), enq_flags);
		return;
	}
	if (enq_flags & PRELOAD_ENQ_LAST) {
		preload_count_rare(leave_core);
		preload_dsq_insert(p, PRELOAD_DSQ_LOCAL_ON | idle, task_slice(p, idle),
				   enq_flags | PRELOAD_ENQ_IMMED);
		return;
	}

	enqueue_task(p, idle >= 0 ? idle : cpu, enq_flags);
	if (idle >= 0) {
		preload_count_rare(kick_idle);
		scx_bpf_kick_cpu(idle, PRELOAD_KICK_IDLE);
	}
}

void dfl_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags)
{
	preload_count_dfl(HOOK_ENQUEUE);
	enqueue(p, enq_flags);
}

void __weak hook_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags)
{
	dfl_enqueue(p, enq_flags);
}

void BPF_STRUCT_OPS(preload_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (!is_asked(HOOK_ENQUEUE)) {
		enqueue(p, enq_flags);
		return;
	}
	preload_count(hooks[HOOK_ENQUEUE].calls);
	ask_override(HOOK_ENQUEUE, hook_enqueue(p, enq_flags));
}

static bool move_from_cpu(s32 cpu)
{
	if (!preload_dsq_move_to_local(PRELOAD_DSQ_CPU(cpu), 0))
		return false;
	preload_count_rare(dispatch_cpu);
	return true;
}

/* Is @head due before what @next says? Then it says that. */
static bool is_earlier(const struct task_struct *head, struct next *next)
{
	u64 place;

	if (!head)
		return false;
	place = head->scx.dsq_vtime;
	if (next->any && !vtime_before(place, next->place))
		return false;
	next->place = place;
	next->any = true;
	return true;
}

/* The same of the first task of @dsq. */
__noinline bool earlier_head(u64 dsq, struct next *next __arg_nonnull)
{
	return is_earlier(scx_bpf_dsq_peek(dsq), next);
}

/*
 * The same of the first task of @llc's queue. Each dispatch looks at it, so the kernel is
 * asked to find the queue only until a task that waits there has told where it is.
 */
__noinline bool earlier_in_llc(u32 llc, struct next *next __arg_nonnull)
{
	struct preload_llc *l = &preload_llcs[llc & (PRELOAD_MAX_LLCS - 1)];
	const struct scx_dispatch_q *queue = (void *)l->queue;
	struct task_struct *head;

	if (queue) {
		queue = bpf_rdonly_cast(queue, bpf_core_type_id_kernel(struct scx_dispatch_q));
		return is_earlier(queue->first_task, next);
	}
	head = scx_bpf_dsq_peek(PRELOAD_DSQ_LLC(llc));
	if (head) {
		queue = head->scx.dsq;
		if (queue && queue->id == PRELOAD_DSQ_LLC(llc))
			l->queue = (u64)queue;
	}
	return is_earlier(head, next);
}

/* Look at the queues that @cpu runs from. */
__noinline void look_here(s32 cpu, struct next *next __arg_nonnull)
{
	u32 llc = cpu_llc_id(cpu);

	next->llc = llc;
	next->any = next->pinned = false;
	if (!earlier_in_llc(llc, next) && llc_has_waiting(llc))
		__sync_fetch_and_and(&preload_waiting, ~llc_bit(llc));
	if (has_pinned(cpu) && earlier_head(PRELOAD_DSQ_CPU(cpu), next))
		next->pinned = true;
}

/*
 * Look at another LLC's queue. Its first task has to be a slice behind: moving
 * one costs it its cache.
 */
__noinline void look_elsewhere(s32 cpu, u32 turn, struct next *next __arg_nonnull)
{
	struct next behind = *next;
	s32 llc = balance_llc(cpu, turn);

	if (llc < 0)
		return;
	/* An LLC without waiting tasks has no time of its own: keep up. */
	if (!next->any)
		advance_clock(cpu_llc_id(cpu), preload_llcs[llc & (PRELOAD_MAX_LLCS - 1)].clock,
			      PRELOAD_VTIME_WINDOW_NS);
	behind.place -= slice_ns;
	if (earlier_in_llc(llc, &behind)) {
		next->place = behind.place;
		next->llc = llc;
		next->any = true;
		next->pinned = false;
	}
}

/*
 * Let @prev go on unless what waits is due before it, or unless it is better off on
 * another core, which enqueue then finds. Returns whether it goes on.
 */
__noinline bool keep(struct task_struct *prev __arg_trusted, s32 cpu,
		     struct next *next __arg_nonnull)
{
	u64 slice = task_slice(prev, cpu), key = task_key(prev, cpu, slice, 0);

	if (next->any) {
		if (!vtime_before(key, next->place))
			return false;
		advance_clock(cpu_llc_id(cpu), key, PRELOAD_VTIME_WINDOW_NS);
	}
	prev->scx.dsq_vtime = key;
	if (!next->any && leaves_core(prev, cpu))
		return false;
	prev->scx.slice = slice;
	preload_count(dispatch_keep);
	return true;
}

/*
 * Take what @next says. Heads are looked at without a lock; if one has gone by
 * now, the next of its queue or another will do.
 */
__noinline bool take(s32 cpu, struct next *next __arg_nonnull)
{
	u32 own = cpu_llc_id(cpu);

	if (next->llc != own && move_between_llcs(cpu, next->llc)) {
		preload_count_rare(balance_pull);
		balance_again();
		return true;
	}
	if (next->pinned && move_from_cpu(cpu))
		return true;
	if (move_from_llc(own)) {
		preload_count(dispatch_llc);
		return true;
	}
	return !next->pinned && has_pinned(cpu) && move_from_cpu(cpu);
}

/* Nothing waits near @cpu: take what waits elsewhere, or go idle. */
__noinline void newidle(s32 cpu)
{
	u64 others = preload_waiting & ~llc_bit(cpu_llc_id(cpu));
	s32 llc;
	u32 nth;

	/* Mostly it is one LLC that has any: the default's answer, without a search for it. */
	if (!is_asked(HOOK_STEAL_LLC) && nr_llcs() <= 64 && !(others & (others - 1))) {
		if (!others)
			return;
		preload_count_rare(hooks[HOOK_STEAL_LLC].calls);
		if (move_between_llcs(cpu, __builtin_ctzll(others)))
			preload_count_rare(newidle_steal);
		return;
	}
	bpf_for(nth, 0, 2 * nr_llcs()) {
		llc = steal_llc(cpu, nth);
		if (llc < 0)
			return;
		if (llc_has_waiting(llc) && move_between_llcs(cpu, llc)) {
			preload_count_rare(newidle_steal);
			return;
		}
	}
}

/*
 * Who runs next on @cpu: the first of its own queue, of its LLC's, of another
 * LLC's where tasks have waited longer, or the running task, whichever is
 * earliest.
 */
static void dispatch(s32 cpu, struct task_struct *prev)
{
	bool runnable = prev && (prev->scx.flags & PRELOAD_TASK_QUEUED);
	struct next next = {};
	u32 turn;

	look_here(cpu, &next);
	if (!runnable && !next.any) {
		if (preload_waiting & ~llc_bit(cpu_llc_id(cpu)))
			newidle(cpu);
		return;
	}
	turn = balance_turn();
	if (turn) {
		if (dispatch_overdue(cpu))
			return;
		look_elsewhere(cpu, turn, &next);
	}

	if (runnable && keep(prev, cpu, &next))
		return;
	if (next.any) {
		advance_clock(cpu_llc_id(cpu), next.place,
			      runnable ? PRELOAD_VTIME_WINDOW_NS : slice_ns);
		if (take(cpu, &next))
			return;
	}
	if (!runnable)
		newidle(cpu);
}

void dfl_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable)
{
	preload_count_dfl(HOOK_DISPATCH);
	dispatch(cpu, prev);
}

void dfl_dispatch_with(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable, u64 dsq)
{
	bool runnable = prev && (prev->scx.flags & PRELOAD_TASK_QUEUED);
	struct next next = {};

	look_here(cpu, &next);
	if (earlier_head(dsq, &next)) {
		if (balance_turn() && dispatch_overdue(cpu))
			return;
		if (runnable && keep(prev, cpu, &next))
			return;
		advance_clock(cpu_llc_id(cpu), next.place,
			      runnable ? PRELOAD_VTIME_WINDOW_NS : slice_ns);
		if (preload_dsq_move_to_local(dsq, PRELOAD_ENQ_IMMED))
			return;
	}
	dfl_dispatch(cpu, prev);
}

void __weak hook_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable)
{
	dfl_dispatch(cpu, prev);
}

void BPF_STRUCT_OPS(preload_dispatch, s32 cpu, struct task_struct *prev)
{
	if (is_watched() && dispatch_before_change(cpu))
		return;
	if (!is_asked(HOOK_DISPATCH)) {
		dispatch(cpu, prev);
		return;
	}
	preload_count(hooks[HOOK_DISPATCH].calls);
	ask_override(HOOK_DISPATCH, hook_dispatch(cpu, prev));
}

/* What has to be known of a CPU or a cgroup and is not worth a look at each switch. */
void BPF_STRUCT_OPS(preload_tick, struct task_struct *p)
{
	account_group(p, power_tick(scx_bpf_task_cpu(p)));
}

s32 BPF_STRUCT_OPS_SLEEPABLE(preload_init_task, struct task_struct *p,
			     struct scx_init_task_args *args)
{
	p->scx.dsq_vtime = task_start(p);
	return 0;
}

void BPF_STRUCT_OPS_SLEEPABLE(preload_cpu_online, s32 cpu)
{
	topology_refresh();
	preload_count_rare(hooks[HOOK_CPU_ONLINE].calls);
	hook_cpu_online(cpu);
}

void BPF_STRUCT_OPS_SLEEPABLE(preload_cpu_offline, s32 cpu)
{
	topology_cpu_offline(cpu);
	preload_count_rare(hooks[HOOK_CPU_OFFLINE].calls);
	hook_cpu_offline(cpu);
}

void BPF_STRUCT_OPS(preload_dump, struct scx_dump_ctx *dctx)
{
	preload_count_rare(hooks[HOOK_DUMP].calls);
	hook_dump();
}

/* Called for each start: what ended or gave way can be attached again, with its maps as they were. */
s32 BPF_STRUCT_OPS_SLEEPABLE(preload_init)
{
	s32 err;

	preload_exit_info.kind = preload_exit_info.code = 0;
	preload_handover.attached = 1;
	err = topology_refresh();
	if (!err)
		err = create_own_queues();
	if (err)
		return err;
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
 * The time-out bounds how long a stall can freeze a boot, so it is short. No
 * callback beyond these: each costs time whether or not it has something to do.
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
	.flags = SCX_OPS_ALLOW_QUEUED_WAKEUP | SCX_OPS_ENQ_LAST,
	.timeout_ms = 5000,
	.name = "preload",
};
