// SPDX-License-Identifier: GPL-2.0-only
/*
 * Weights of cgroups: with the cpu controller on, a cgroup gets what its
 * cpu.weight makes of its parent's share, however many tasks are in it.
 *
 * All tasks wait in the same queues, sorted by virtual time, so a cgroup's share is
 * made by what its tasks are charged: the weight of a task counts for the part of
 * its cgroup's weight that it has among the tasks there,
 *
 *	weight * (cgroup's weight in its parent, likewise) / (load of the cgroup)
 *
 * where load is the sum of the weights of what is runnable in it, averaged over
 * time: the kernel's load_avg of a task group, calc_group_shares() in
 * kernel/sched/fair.c. Tasks outside of cgroups stand beside the topmost cgroups,
 * as they do there.
 *
 * Nothing is counted at wakeups. The tick, which finds a task in proportion to the
 * time that it runs, adds what the task has run and waited since it was last found.
 */
#include "vmlinux.h"

#include "internal.bpf.h"

char _license[] SEC("license") = "GPL";

/* Time over which load is summed up, ns, as a power of two: 268 ms. */
#define PERIOD_SHIFT 28
#define PERIOD_NS (1ULL << PERIOD_SHIFT)

/* Deeper ones share with their ancestor of this depth. */
#define DEPTH_MAX 16

#define SCALE_MAX (PRELOAD_CGROUP_ONE << 13)

/* By css.id of the cpu controller, which is small: freed ones are used again. */
struct group {
	u64 tg; /* the task_group that has the number */
	u64 period; /* that the sums are of */
	u64 runnable; /* ns that its tasks and child groups were runnable */
	u64 load; /* ns * weight of these */
	u64 load_avg; /* weight */
	u64 scale; /* see group_scale() */
	u64 __pad[2];
};

static struct group groups[PRELOAD_MAX_GROUPS];

static struct group *group_by_id(u32 id)
{
	return &groups[id & (PRELOAD_MAX_GROUPS - 1)];
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
		return 1;
	return tg->scx.weight ?: 1;
}

/*
 * By how much more than its weight says @p is charged, in 1/PRELOAD_CGROUP_ONE.
 */
u64 group_scale(struct task_struct *p __arg_trusted)
{
	return in_group(p) ? scale_by_id(p->sched_task_group->css.id) : PRELOAD_CGROUP_ONE;
}

/* Parts of the account: functions of their own, so that they are verified once. */
void group_renew(struct group *g __arg_nonnull, u64 gone, u64 least, u64 above, u64 weight);
u64 group_add(const struct task_group *tg __arg_untrusted, u64 ns, u64 part, u64 weight,
	      u64 period);

/*
 * Periods are over: renew the average and the scale of @g. @least is the weight of
 * one that is runnable now, and so the least load while it runs; @above is the
 * parent's scale, @weight the group's there.
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
 * Add to @tg what one of its tasks or child groups, of this @weight, is: runnable
 * for @part of the @ns for which something in it was. Returns the part for which
 * @tg itself was.
 */
__noinline u64 group_add(const struct task_group *tg __arg_untrusted, u64 ns, u64 part, u64 weight,
			 u64 period)
{
	struct group *g = group_by_id(tg->css.id);
	u64 old, before;

	if (g->tg != (u64)tg) {
		g->tg = (u64)tg;
		g->load = g->load_avg = 0;
		g->scale = PRELOAD_CGROUP_ONE;
	}
	old = g->period;
	/* One CPU renews it; what others add meanwhile can get lost. */
	if (old < period && __sync_bool_compare_and_swap(&g->period, old, period))
		group_renew(g, period - old, weight, parent_scale(tg), group_weight(tg));

	__sync_fetch_and_add(&g->load, part * weight);
	before = __sync_fetch_and_add(&g->runnable, ns);
	return min(before + ns, PERIOD_NS) - min(before, PERIOD_NS);
}

/*
 * @p has run and waited for @ns. Add it to its cgroup, and what that makes of the
 * cgroup to the parent, and so on: a group counts with its own weight there, no
 * matter how many of its tasks are runnable at a time.
 */
__noinline void group_account(struct task_struct *p __arg_trusted, u64 ns)
{
	const struct task_group *tg = p->sched_task_group;
	u64 period = scx_bpf_now() >> PERIOD_SHIFT, part = ns, weight = p->scx.weight;
	u32 depth;

	bpf_for(depth, 0, DEPTH_MAX) {
		if (!tg || !is_group(tg->css.id))
			break;
		part = group_add(tg, ns, part, weight, period);
		weight = group_weight(tg);
		tg = tg->parent;
	}
}
