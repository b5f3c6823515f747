// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues and their order: one queue an LLC for tasks with a choice, one a CPU
 * for tasks without, both sorted by virtual time. Virtual times of all queues
 * are of one scale, so that the heads of any two can be compared: a queue whose
 * head is behind is one whose tasks have waited longer for their weight.
 *
 * Time is charged from the kernel's sum_exec_runtime when a task is queued, or
 * asks to go on, and not in running() and stopping(): two calls less on each
 * switch, and none at all for a wakeup that finds an idle CPU.
 */
#include "vmlinux.h"

#include "internal.bpf.h"

char _license[] SEC("license") = "GPL";

/* Slice of a task, ns. */
const volatile u64 slice_ns = 5 * NSEC_PER_MSEC;

/*
 * How far a task that did not sleep may be from the clock, in its slices. Pinned to a CPU
 * with less to do than others it gets ahead, and once they may come it waits until they have
 * caught up.
 */
#define LAG_SLICES 40

/* Tasks that woke up only each other so many times in a row are partners. */
#define PARTNER_WAKES 8

u64 preload_waiting __attribute__((aligned(64)));

struct task_data {
	u64 vtime; /* virtual time used, ns */
	u64 charged; /* sum_exec_runtime up to which it is charged, ns */
	u64 accounted; /* what it had run and waited when its cgroup was told, ns */
	u32 wakee; /* the task that it woke up last, when it was about to sleep */
	u32 wakes; /* how many times in a row it was that one */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_data);
} preload_tasks SEC(".maps");

static struct preload_llc *llc_of(s32 cpu)
{
	return &preload_llcs[cpu_llc_id(cpu)];
}

/*
 * Move the clock of @llc to @vtime, but by no more than @most. Never back: CPUs
 * that race leave one of their times.
 *
 * The clock is meant to be where the tasks of the queue are. What a busy CPU
 * chose between is. What an idle CPU took because there was nothing else can be
 * far ahead, such as a task of low weight; following it at once would put every
 * task that wakes up behind all that run.
 */
void advance_clock(u32 llc, u64 vtime, u64 most)
{
	struct preload_llc *l = &preload_llcs[llc & (PRELOAD_MAX_LLCS - 1)];
	u64 clock = l->clock;

	if (vtime_before(clock, vtime))
		l->clock = vtime - clock < most ? vtime : clock + most;
}

static bool in_window(u64 vtime, u64 around)
{
	return vtime - around + PRELOAD_VTIME_WINDOW_NS <= 2 * PRELOAD_VTIME_WINDOW_NS;
}

s64 dfl_task_queue(struct task_struct *p __arg_trusted, s32 cpu)
{
	preload_count_dfl(HOOK_TASK_QUEUE);
	return cpu_llc_id(cpu);
}

s64 __weak hook_task_queue(struct task_struct *p __arg_trusted, s32 cpu)
{
	return dfl_task_queue(p, cpu);
}

u64 dfl_task_slice(struct task_struct *p __arg_trusted, s32 cpu)
{
	preload_count_dfl(HOOK_TASK_SLICE);
	return slice_ns;
}

u64 __weak hook_task_slice(struct task_struct *p __arg_trusted, s32 cpu)
{
	return dfl_task_slice(p, cpu);
}

u64 dfl_task_vtime(struct task_struct *p __arg_trusted, u64 vtime, u64 clock, u64 enq_flags)
{
	preload_count_dfl(HOOK_TASK_VTIME);
	if ((enq_flags & PRELOAD_ENQ_WAKEUP) && vtime_before(vtime, clock - slice_ns))
		return clock - slice_ns;
	return vtime;
}

u64 __weak hook_task_vtime(struct task_struct *p __arg_trusted, u64 vtime, u64 clock, u64 enq_flags)
{
	return dfl_task_vtime(p, vtime, clock, enq_flags);
}

u64 dfl_task_charge(struct task_struct *p __arg_trusted, s32 cpu, u64 used)
{
	u32 weight = p->scx.weight ?: 1;

	preload_count_dfl(HOOK_TASK_CHARGE);
	return used * 100 / weight * cpu_capacity(cpu) / 1024;
}

u64 __weak hook_task_charge(struct task_struct *p __arg_trusted, s32 cpu, u64 used)
{
	return dfl_task_charge(p, cpu, used);
}

u64 dfl_init_task(struct task_struct *p __arg_trusted, u64 vtime)
{
	preload_count_dfl(HOOK_INIT_TASK);
	return vtime;
}

u64 __weak hook_init_task(struct task_struct *p __arg_trusted, u64 vtime)
{
	return dfl_init_task(p, vtime);
}

/* The virtual time that @p starts with, for its account, see task_key(). */
u64 task_start(struct task_struct *p __arg_trusted)
{
	u64 clock = llc_of(scx_bpf_task_cpu(p))->clock, vtime;

	preload_count_rare(hooks[HOOK_INIT_TASK].calls);
	vtime = hook_init_task(p, clock);
	if (in_window(vtime, clock))
		return vtime;
	preload_count_rare(hooks[HOOK_INIT_TASK].bad);
	return clock;
}

u64 task_slice(struct task_struct *p __arg_trusted, s32 cpu)
{
	u64 slice;

	preload_count(hooks[HOOK_TASK_SLICE].calls);
	slice = ask_hook(HOOK_TASK_SLICE, hook_task_slice(p, cpu), dfl_task_slice(p, cpu));
	if ((slice && slice <= PRELOAD_SLICE_MAX_NS) || slice == PRELOAD_SLICE_INF)
		return slice;
	bad_result(HOOK_TASK_SLICE);
	return slice_ns;
}

/*
 * What is kept of @p, or NULL. Its account begins at the first call, when it has to
 * wait or a tick finds it in a cgroup: most tasks of a shell script never do. For
 * what it ran until then it pays up to one slice.
 */
static struct task_data *task_data(struct task_struct *p)
{
	u64 used = p->se.sum_exec_runtime;
	struct task_data *data, start = {
		.vtime = p->scx.dsq_vtime,
		.charged = used < slice_ns ? 0 : used - slice_ns,
	};

	data = bpf_task_storage_get(&preload_tasks, p, &start, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!data)
		preload_count_rare(no_storage);
	return data;
}

/*
 * Charge @p for what it has used on @cpu since the last time; in a cgroup it costs
 * @scale.
 */
static void charge(struct task_struct *p, struct task_data *data, s32 cpu, u64 scale)
{
	u64 used = p->se.sum_exec_runtime - data->charged, virtual;

	if (!used)
		return;
	data->charged += used;
	if (used > PRELOAD_SLICE_MAX_NS)
		used = PRELOAD_SLICE_MAX_NS;

	preload_count(hooks[HOOK_TASK_CHARGE].calls);
	virtual = ask_hook(HOOK_TASK_CHARGE, hook_task_charge(p, cpu, used),
			   dfl_task_charge(p, cpu, used));
	if (virtual > PRELOAD_VTIME_WINDOW_NS) {
		bad_result(HOOK_TASK_CHARGE);
		virtual = used;
	}
	data->vtime += virtual * scale / PRELOAD_CGROUP_ONE;
}

/*
 * Are @p and the current task, which wakes it up and is about to sleep, a pair? Not
 * if one of them wakes many. The kernel's relative is wake_wide() in
 * kernel/sched/fair.c.
 */
u32 task_bond(struct task_struct *p __arg_trusted)
{
	struct task_struct *waker = bpf_get_current_task_btf();
	struct task_data *of_waker, *of_wakee;

	/* Who has not slept often has not done this often, and needs no account yet. */
	if (waker->nvcsw < 4 * PARTNER_WAKES)
		return BOND_NONE;
	of_waker = task_data(waker);
	if (!of_waker)
		return BOND_NONE;
	if (of_waker->wakee != p->pid) {
		of_waker->wakee = p->pid;
		of_waker->wakes = 0;
	}
	if (of_waker->wakes < PARTNER_WAKES) {
		of_waker->wakes++;
		return BOND_NONE;
	}
	of_wakee = bpf_task_storage_get(&preload_tasks, p, NULL, 0);
	if (!of_wakee || !of_wakee->wakee)
		return BOND_ONE_WAY;
	if (of_wakee->wakes < PARTNER_WAKES)
		return BOND_NONE;
	return of_wakee->wakee == waker->pid ? BOND_MUTUAL : BOND_ONE_WAY;
}

/*
 * A tick found @p running. Tell its cgroup what it has run and waited since it was
 * last found, or @least if that is more: a task that runs for less than a tick is
 * not found each time.
 */
void account_group(struct task_struct *p __arg_trusted, u64 least)
{
	struct task_data *data;
	u64 now, ns;

	if (!in_group(p))
		return;
	data = task_data(p);
	if (!data)
		return;
	now = p->se.sum_exec_runtime + p->sched_info.run_delay;
	ns = data->accounted ? now - data->accounted : 0;
	data->accounted = now;
	group_account(p, max(min(ns, PRELOAD_SLICE_MAX_NS), least));
}

/*
 * Charge @p and give its place in the queue near @cpu.
 *
 * Its virtual time is kept near the clock. A sleeper that ran on idle CPUs was
 * never charged; charged for all of it now, it would wait until the others have
 * caught up. A task from an LLC whose clock is far behind would run alone until
 * it had caught up itself.
 */
u64 task_key(struct task_struct *p __arg_trusted, s32 cpu, u64 slice, u64 enq_flags)
{
	u64 clock = llc_of(cpu)->clock, earliest, latest, key, scale;
	struct task_data *data = task_data(p);
	u32 weight = p->scx.weight ?: 1;

	if (!data)
		return clock;

	slice = min(slice, PRELOAD_SLICE_MAX_NS);
	scale = group_scale(p);
	charge(p, data, cpu, scale);
	earliest = clock - LAG_SLICES * slice;
	latest = clock + (enq_flags & PRELOAD_ENQ_WAKEUP ? 2 : LAG_SLICES) * slice * 100 / weight *
				 scale / PRELOAD_CGROUP_ONE;
	if (vtime_before(data->vtime, earliest))
		data->vtime = earliest;
	else if (vtime_before(latest, data->vtime))
		data->vtime = latest;

	preload_count(hooks[HOOK_TASK_VTIME].calls);
	key = ask_hook(HOOK_TASK_VTIME, hook_task_vtime(p, data->vtime, clock, enq_flags),
		       dfl_task_vtime(p, data->vtime, clock, enq_flags));
	if (!in_window(key, clock)) {
		bad_result(HOOK_TASK_VTIME);
		key = clock;
	}
	return key;
}

bool dfl_task_preempt(struct task_struct *p __arg_trusted, s32 cpu, u64 ahead)
{
	preload_count_dfl(HOOK_TASK_PREEMPT);
	return ahead >= slice_ns / 2;
}

bool __weak hook_task_preempt(struct task_struct *p __arg_trusted, s32 cpu, u64 ahead)
{
	return dfl_task_preempt(p, cpu, ahead);
}

/*
 * Should @p, whose place is @key, run before the task that runs on @cpu has used
 * up its slice? That one's place was @scx.dsq_vtime when it was chosen; what it
 * has run since brings it closer to its end, and is added.
 */
bool preempts(struct task_struct *p __arg_trusted, s32 cpu, u64 key)
{
	const struct rq *rq = rq_of(cpu);
	const struct task_struct *curr;
	u64 place, left;

	if (!rq)
		return false;
	curr = rq->curr;
	if (curr->prio < MAX_RT_PRIO || !curr->pid)
		return false;
	left = curr->scx.slice;
	place = curr->scx.dsq_vtime + (left < slice_ns ? slice_ns - left : 0);
	if (!vtime_before(key, place))
		return false;
	preload_count_rare(hooks[HOOK_TASK_PREEMPT].calls);
	return ask_hook(HOOK_TASK_PREEMPT, hook_task_preempt(p, cpu, place - key),
			dfl_task_preempt(p, cpu, place - key));
}

/*
 * The hook's choice: an LLC that @p can run in, or a queue of the override's own; else
 * the LLC of @cpu.
 */
s64 asked_queue(struct task_struct *p __arg_trusted, s32 cpu)
{
	const struct cpumask *cpus;
	s64 queue;

	preload_count(hooks[HOOK_TASK_QUEUE].calls);
	queue = ask_hook(HOOK_TASK_QUEUE, hook_task_queue(p, cpu), dfl_task_queue(p, cpu));
	if (queue == cpu_llc_id(cpu))
		return queue;
	if (queue >= 0 && queue < nr_llcs()) {
		cpus = llc_cpumask(queue);
		if (cpus && bpf_cpumask_intersects(cpus, p->cpus_ptr))
			return queue;
	} else if (queue >= PRELOAD_QUEUE(0, 0) && scx_bpf_dsq_nr_queued(queue) >= 0) {
		return queue;
	}
	bad_result(HOOK_TASK_QUEUE);
	return cpu_llc_id(cpu);
}

/*
 * May @cpu's own queue have tasks? Most never have any, and a look at a queue
 * costs a search for it. Both the flag and the queue are filled, and the flag is
 * cleared, under the lock of @cpu's run queue.
 */
bool has_pinned(s32 cpu)
{
	struct preload_cpu *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)];

	if (c->pinned && !scx_bpf_dsq_nr_queued(PRELOAD_DSQ_CPU(cpu)))
		c->pinned = 0;
	return c->pinned;
}

/*
 * The queue that @p is to wait in near @cpu. Tasks without a choice get one of their
 * CPU's own: in an LLC's every other CPU would have to walk past them.
 */
u64 task_queue(struct task_struct *p __arg_trusted, s32 cpu)
{
	s64 queue;

	if (p->nr_cpus_allowed == 1) {
		preload_count_rare(enqueue_cpu);
		preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].pinned = 1;
		return PRELOAD_DSQ_CPU(cpu);
	}
	queue = asked_queue(p, cpu);
	if (queue >= PRELOAD_QUEUE(0, 0)) {
		preload_count_rare(enqueue_own);
		return queue;
	}
	preload_count(enqueue_llc);
	if (!llc_has_waiting(queue))
		__sync_fetch_and_or(&preload_waiting, llc_bit(queue));
	return PRELOAD_DSQ_LLC(queue);
}

/* Queue @p near @cpu. */
void enqueue_task(struct task_struct *p __arg_trusted, s32 cpu, u64 enq_flags)
{
	u64 slice = task_slice(p, cpu), key = task_key(p, cpu, slice, enq_flags);

	if ((enq_flags & PRELOAD_ENQ_WAKEUP) && cpu == scx_bpf_task_cpu(p) &&
	    preempts(p, cpu, key)) {
		preload_count_rare(wakeup_preempt);
		p->scx.dsq_vtime = key;
		preload_dsq_insert(p, PRELOAD_DSQ_LOCAL, slice, enq_flags | PRELOAD_ENQ_PREEMPT);
		return;
	}
	preload_dsq_insert_vtime(p, task_queue(p, cpu), slice, key, enq_flags);
}

/* Make the queues that tasks of @cpu wait in; those that exist stay. */
s32 create_queues(s32 cpu)
{
	s32 err = scx_bpf_create_dsq(PRELOAD_DSQ_CPU(cpu), cpu_node_id(cpu));

	if (!err || err == -EEXIST)
		err = scx_bpf_create_dsq(PRELOAD_DSQ_LLC(cpu_llc_id(cpu)), cpu_node_id(cpu));
	return err == -EEXIST ? 0 : err;
}

/* What PRELOAD_OWN_QUEUES() asks for: read from the object when it is loaded. */
const volatile struct preload_own_queues own_queues[PRELOAD_OWN_QUEUES_DECLS];

/* Returns a negative errno; -EEXIST if two overrides use one space. */
s32 create_own_queues(void)
{
	u32 i, nth;
	s32 err;

	for (i = 0; i < PRELOAD_OWN_QUEUES_DECLS && own_queues[i].count; i++) {
		bpf_for(nth, 0, own_queues[i].count) {
			err = scx_bpf_create_dsq(own_queues[i].first + nth, -1);
			if (err)
				return err;
		}
	}
	return 0;
}
