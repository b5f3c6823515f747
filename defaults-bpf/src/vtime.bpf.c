// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtual times of all DSQs have one scale, so that the heads of any two can be
 * compared: a DSQ whose head is behind has tasks that have waited longer for their weight.
 *
 * Time is charged from the kernel's sum_exec_runtime when a task is queued or may continue,
 * and not in running() and stopping(): two calls fewer on each switch, and none at all for a
 * wakeup that finds an idle CPU.
 */
#include "vmlinux.h"

#include "cgroup.bpf.h"
#include "dsq.bpf.h"
#include "guard.bpf.h"
#include "rq.bpf.h"
#include "settings.bpf.h"
#include "task.bpf.h"
#include "vtime.bpf.h"

char _license[] SEC("license") = "GPL";

/*
 * How far a task that did not sleep may be from the clock, in slices. A task pinned to a CPU
 * with less to do than others gets ahead, and waits until they have caught up once they may
 * run there. Less in a crowd: hundreds take long to catch up.
 */
#define LAG_SLICES 40

/* The same for a task that slept, and in what a slice costs it for one of low weight. */
#define LAG_SLICES_MIN 2

/*
 * A CPU that more tasks are bound to than to others falls behind the clock of its LLC, for as
 * long as they are. Its own clock orders what wakes up there. As its tasks may not fall behind
 * for ever, all are shifted forward together: one by one, those of much and of little weight
 * would end up at one time.
 */
struct cpu_clock {
	u64 now; /* the latest virtual time of what the CPU chose */
	u64 chosen; /* that of what it chose last */
	u64 shift; /* by how much its tasks were shifted since the start */
	u64 behind; /* the same, forgotten within seconds */
	u64 faded_at; /* when some of @behind was last forgotten */
};

/* Less than this, ns, is forgotten at once. */
#define BEHIND_MIN_NS (1 << 20)

/*
 * Forget some of how far @c fell behind: 1/e is left after 2^30 ns. Whoever runs there since,
 * bound to it or not: as long as it seems behind, others stay away.
 */
static void fade(struct cpu_clock *c)
{
	u64 now = scx_bpf_now(), since = min(now - c->faded_at, 1ULL << 30);

	c->behind -= c->behind * (since >> 10) >> 20;
	if (c->behind < BEHIND_MIN_NS)
		c->behind = 0;
	c->faded_at = now;
}

static void fall_behind(struct cpu_clock *c, u64 by)
{
	if (!c->behind)
		c->faded_at = scx_bpf_now();
	c->shift += by;
	c->behind += by;
}

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct cpu_clock);
} preload_clocks SEC(".maps");

static struct cpu_clock *clock_of(s32 cpu)
{
	u32 zero = 0;

	return bpf_map_lookup_percpu_elem(&preload_clocks, &zero, cpu);
}

static struct preload_llc *llc_of(s32 cpu)
{
	return &preload_llcs[cpu_llc_id(cpu)];
}

/*
 * Move the clock of @llc to @vtime, but by no more than @most. Never back: of CPUs that
 * race, one wins.
 *
 * The clock should be near the vtimes of the tasks on the DSQ. The vtime of a task that a
 * busy CPU chose among several is. That of the only task for an idle CPU can be far ahead,
 * such as a task of low weight; following it at once would put every task that wakes up
 * behind all running ones.
 */
void advance_clock(u32 llc, u64 vtime, u64 most)
{
	struct preload_llc *l = &preload_llcs[llc & (PRELOAD_MAX_LLCS - 1)];
	u64 clock = l->clock;

	if (vtime_before(clock, vtime))
		l->clock = vtime - clock < most ? vtime : clock + most;
}

/*
 * The clock of a CPU whose LLC is at @clock: at most LAG_SLICES behind that, and not ahead, as
 * that of a task alone on it would be.
 */
static u64 bounded_clock(const struct cpu_clock *c, u64 clock)
{
	return vtime_before(c->now, clock) ? clock - min(clock - c->now, LAG_SLICES * slice_ns)
					   : clock;
}

/* How far @cpu has served its tasks, to be compared with other CPUs. */
u64 cpu_service(s32 cpu)
{
	u64 least = llc_of(cpu)->clock - LAG_SLICES * slice_ns;
	const struct cpu_clock *c = clock_of(cpu);

	if (!c)
		return least;
	return (vtime_before(least, c->chosen) ? c->chosen : least) - c->behind;
}

/* This CPU has chosen a task whose key is @vtime. */
void set_cpu_clock(u64 vtime)
{
	u32 zero = 0;
	struct cpu_clock *c = bpf_map_lookup_elem(&preload_clocks, &zero);

	if (!c)
		return;
	if (c->behind)
		fade(c);
	c->chosen = vtime;
	if (vtime_before(c->now, vtime))
		c->now = vtime;
}

static bool in_window(u64 vtime, u64 around)
{
	return vtime - around + PRELOAD_VTIME_WINDOW_NS <= 2 * PRELOAD_VTIME_WINDOW_NS;
}

u64 dfl_task_vtime(struct task_struct *p __arg_trusted, u64 vtime, u64 clock, u64 enq_flags)
{
	use_arg(p);
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
	preload_count_dfl(HOOK_TASK_CHARGE);
	return used * PRELOAD_WEIGHT_ONE / task_weight(p) * cpu_capacity(cpu) / 1024;
}

u64 __weak hook_task_charge(struct task_struct *p __arg_trusted, s32 cpu, u64 used)
{
	return dfl_task_charge(p, cpu, used);
}

u64 dfl_init_task(struct task_struct *p __arg_trusted, u64 vtime)
{
	use_arg(p);
	preload_count_dfl(HOOK_INIT_TASK);
	return vtime;
}

u64 __weak hook_init_task(struct task_struct *p __arg_trusted, u64 vtime)
{
	return dfl_init_task(p, vtime);
}

/* The hook's result for a new task, bounded. update_vtime() charges from there on. */
u64 start_vtime(struct task_struct *p __arg_trusted)
{
	u64 clock = llc_of(scx_bpf_task_cpu(p))->clock, vtime;

	preload_count_rare(hooks[HOOK_INIT_TASK].calls);
	vtime = hook_init_task(p, clock);
	if (in_window(vtime, clock))
		return vtime;
	preload_count_rare(hooks[HOOK_INIT_TASK].bad);
	return clock;
}

/* @virtual ns times @scale, of which both can be large. */
static u64 scaled(u64 virtual, u64 scale)
{
	if (scale <= 64 * PRELOAD_CGROUP_ONE)
		return virtual * scale / PRELOAD_CGROUP_ONE;
	virtual = min(virtual, PRELOAD_VTIME_WINDOW_NS / 64);
	return virtual * (scale / 64) / (PRELOAD_CGROUP_ONE / 64);
}

/* Charge @p for its run time on @cpu since the last charge, scaled by its cgroup's @scale. */
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
	data->vtime += scaled(virtual, scale);
}

/*
 * Charge @p and return its key near @cpu, the vtime to insert it into @dsq with; for a task
 * that may continue, @dsq is that of the CPU, PRELOAD_DSQ_LOCAL.
 *
 * Its virtual time is kept near the clock. A sleeper that ran on idle CPUs was never
 * charged; charged for all its run time at once, it would wait until the others have caught
 * up. A task from an LLC whose clock is far behind would run alone until it had caught up,
 * and so would hundreds that wake up at once: what wakes up after them would starve.
 */
u64 update_vtime(struct task_struct *p __arg_trusted, s32 cpu, u64 slice, u64 enq_flags, u64 dsq)
{
	u64 clock = llc_of(cpu)->clock, near = clock, cost, earliest, late, key, scale;
	struct task_data *data = task_data(p);
	struct cpu_clock *bound = NULL;
	bool stays;

	if (!data)
		return clock;

	scale = cgroup_scale(p);
	charge(p, data, dsq == PRELOAD_DSQ_LOCAL ? cpu : scx_bpf_task_cpu(p), scale);
	stays = data->bound_to == cpu + 1;
	if (is_cpu_dsq(dsq) || (stays && dsq == PRELOAD_DSQ_LOCAL))
		bound = clock_of(cpu);
	if (bound)
		near = bounded_clock(bound, clock);
	if (bound && stays)
		data->vtime += bound->shift - data->shift;

	slice = max(min(slice, PRELOAD_SLICE_MAX_NS), slice_ns);
	cost = scaled(slice * PRELOAD_WEIGHT_ONE / task_weight(p), scale);
	late = LAG_SLICES_MIN * cost;
	if (enq_flags & PRELOAD_ENQ_WAKEUP) {
		earliest = near - slice;
	} else {
		earliest = clock - LAG_SLICES * slice;
		/* Others would wait long while a task that comes to a crowd catches up. */
		if (bound && !stays && is_crowded(cpu_rq(cpu)))
			earliest = near - slice;
		late = min(max(late, per_crowd(LAG_SLICES * slice, cpu_rq(cpu))),
			   LAG_SLICES * cost);
	}
	late = min(late, PRELOAD_VTIME_WINDOW_NS);
	if (vtime_before(data->vtime, earliest)) {
		if (bound && stays && !(enq_flags & PRELOAD_ENQ_WAKEUP))
			fall_behind(bound, earliest - data->vtime);
		data->vtime = earliest;
	} else if (vtime_before(near + late, data->vtime)) {
		data->vtime = near + late;
	}
	data->bound_to = bound ? cpu + 1 : 0;
	data->shift = bound ? bound->shift : 0;

	preload_count(hooks[HOOK_TASK_VTIME].calls);
	key = ask_hook(HOOK_TASK_VTIME, hook_task_vtime(p, data->vtime, near, enq_flags),
		       dfl_task_vtime(p, data->vtime, near, enq_flags));
	if (!in_window(key, near)) {
		bad_result(HOOK_TASK_VTIME);
		key = near;
	}
	return key;
}
