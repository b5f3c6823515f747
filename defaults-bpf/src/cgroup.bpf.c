// SPDX-License-Identifier: GPL-2.0-only
/*
 * Weights of cgroups: with the cpu controller enabled, a cgroup gets a part of its parent's
 * share in proportion to its cpu.weight, however many tasks it has.
 *
 * All tasks wait on the same DSQs, sorted by virtual time, so a cgroup's share depends on
 * what its tasks are charged. The effective weight of a task is its part of the weight of
 * its cgroup:
 *
 *	weight * (cgroup's weight in its parent, likewise) / (load of the cgroup)
 *
 * where load is the sum of the weights of the runnable tasks and groups in it, averaged over
 * time: the kernel's load_avg of a task group, calc_group_shares() in kernel/sched/fair.c.
 * Tasks in the root cgroup compete with the topmost cgroups, as in the kernel.
 *
 * Nothing is counted at wakeups. The tick, which finds a task in proportion to its run
 * time, adds the time that it has run and waited since the last tick that found it.
 */
#include "vmlinux.h"

#include "cgroup.bpf.h"
#include "rq.bpf.h"
#include "task.bpf.h"

char _license[] SEC("license") = "GPL";

/* Time over which load is summed up, ns, as a power of two: 268 ms. */
#define PERIOD_SHIFT 28
#define PERIOD_NS (1ULL << PERIOD_SHIFT)

/* Ancestors further up than this get no load, and keep their last scale. */
#define DEPTH_MAX 16

/* That of hundreds of tasks in a cgroup with cpu.idle. */
#define SCALE_MAX (PRELOAD_CGROUP_ONE << 17)

/* cpu.weight of a cgroup that counts as much as a task at nice 0. */
#define CGROUP_WEIGHT_DFL 100

/* The longest time between two ticks that find a task that waits in a crowd, ns. */
#define WAIT_MAX_NS (30 * NSEC_PER_SEC)

#define MAX_GROUPS 4096

/* Indexed by css.id of the cpu controller, which is small, as the kernel reuses ids. */
struct group {
	u64 tg; /* the task_group that has this id */
	u64 period; /* number of the period that the sums cover */
	u64 runnable; /* ns that its tasks and child groups were runnable */
	u64 load; /* ns * weight of these */
	u64 load_avg; /* weight */
	u64 scale; /* see cgroup_scale() */
	u64 __pad[2];
};

static struct group groups[MAX_GROUPS];

/*
 * The root cgroup has id 1; the groups of CONFIG_SCHED_AUTOGROUP have none. Cgroups beyond
 * MAX_GROUPS have no weight.
 */
static bool is_group(u32 css_id)
{
	return css_id > 1 && css_id < MAX_GROUPS;
}

/* Is @p in a cgroup that has a weight? Not if the cpu controller is disabled. */
static bool in_group(struct task_struct *p)
{
	return bpf_core_field_exists(p->sched_task_group->scx.weight) &&
	       is_group(p->sched_task_group->css.id);
}

static struct group *group_by_id(u32 id)
{
	return &groups[id & (MAX_GROUPS - 1)];
}

static u64 scale_by_id(u32 id)
{
	return is_group(id) ? group_by_id(id)->scale ?: PRELOAD_CGROUP_ONE : PRELOAD_CGROUP_ONE;
}

static u64 parent_scale(const struct task_group *tg)
{
	return tg->parent ? scale_by_id(tg->parent->css.id) : PRELOAD_CGROUP_ONE;
}

static u64 group_weight(const struct task_group *tg)
{
	if (bpf_core_field_exists(tg->idle) && tg->idle)
		return PRELOAD_WEIGHT_IDLE;
	return max(tg->scx.weight * PRELOAD_WEIGHT_ONE / CGROUP_WEIGHT_DFL, 1);
}

/* Factor of @p's charge for the weights of its cgroups, in 1/PRELOAD_CGROUP_ONE. */
u64 cgroup_scale(struct task_struct *p __arg_trusted)
{
	return in_group(p) ? scale_by_id(p->sched_task_group->css.id) : PRELOAD_CGROUP_ONE;
}

/* Parts of cgroup_tick(): global functions, which the verifier checks once each. */
void group_renew(struct group *g __arg_nonnull, u64 gone, u64 least, u64 above, u64 weight);
u64 group_add(const struct task_group *tg __arg_untrusted, u64 ns, u64 part, u64 weight,
	      u64 period);
void group_add_task(struct task_struct *p __arg_trusted, u64 ns);

/*
 * @gone periods have passed: update the average and the scale of @g. @least is the weight
 * of a runnable member, a lower bound of the load; @above is the parent's scale, @weight
 * the group's weight there.
 */
__noinline void group_renew(struct group *g __arg_nonnull, u64 gone, u64 least, u64 above,
			    u64 weight)
{
	u64 load = g->load >> PERIOD_SHIFT;

	load = gone == 1 ? (g->load_avg + load) / 2 : load / (gone ?: 1);
	g->load = 0;
	g->runnable = 0;
	g->load_avg = load;

	load = above * max(load, least) / (weight ?: 1) + 1;
	g->scale = min(load, SCALE_MAX);
}

/*
 * Add to @tg the load of one of its tasks or child groups, of weight @weight. A task in it
 * was runnable for @ns; @part of that counts for the child, as several of its tasks can be
 * runnable at a time. Returns the part that counts for @tg.
 */
__noinline u64 group_add(const struct task_group *tg __arg_untrusted, u64 ns, u64 part, u64 weight,
			 u64 period)
{
	struct group *g = group_by_id(tg->css.id);
	u64 old, before;

	if (g->tg != (u64)tg) {
		g->tg = (u64)tg;
		g->load = g->load_avg = 0;
		g->period = period;
		group_renew(g, 1, weight, parent_scale(tg), group_weight(tg));
	}
	old = g->period;
	/* One CPU updates it; concurrent additions of others can get lost. */
	if (old < period && __sync_bool_compare_and_swap(&g->period, old, period))
		group_renew(g, period - old, weight, parent_scale(tg), group_weight(tg));

	__sync_fetch_and_add(&g->load, part * weight);
	before = __sync_fetch_and_add(&g->runnable, ns);
	return min(before + ns, PERIOD_NS) - min(before, PERIOD_NS);
}

/*
 * @p has run and waited for @ns. Add it to its cgroup, the cgroup's part of it to the
 * parent, and so on: a group counts with its own weight there, however many of its tasks
 * are runnable at a time.
 */
__noinline void group_add_task(struct task_struct *p __arg_trusted, u64 ns)
{
	const struct task_group *tg = p->sched_task_group;
	u64 period = scx_bpf_now() >> PERIOD_SHIFT, part = ns, weight = task_weight(p);
	u32 depth;

	bpf_for(depth, 0, DEPTH_MAX) {
		if (!tg || !is_group(tg->css.id))
			break;
		part = group_add(tg, ns, part, weight, period);
		weight = group_weight(tg);
		tg = tg->parent;
	}
}

/*
 * A tick found @p running. Add to its cgroup's load the time that it has run and waited
 * since a tick last found it, or @least if that is more: a task that runs for less than a
 * tick is not found each time.
 */
void cgroup_tick(struct task_struct *p __arg_trusted, u64 least)
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
	group_add_task(p, max(min(ns, WAIT_MAX_NS), least));
}
