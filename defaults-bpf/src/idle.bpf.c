// SPDX-License-Identifier: GPL-2.0-only
/* Idle CPU placement: where a task that wakes up runs at once, if anywhere. */
#include "vmlinux.h"

#include "internal.bpf.h"

char _license[] SEC("license") = "GPL";

/*
 * What an idle CPU takes to wake up: the exit latency of a shallow idle state, the
 * interrupt, and the switch.
 */
#define SHORT_TURN_NS (20 * NSEC_PER_USEC)

/* Part of a CPU that RT, deadline and interrupts use, of 1024: a quarter. */
#define PRESSURE_MAX 256

/* These averages stand still while a CPU idles; then they say nothing. */
#define PRESSURE_STALE_NS (50 * NSEC_PER_MSEC)

/* LLCs of other nodes that a wakeup looks at one by one, the nearest first. */
#define NR_FAR_LLCS 8

/* Not in BTF. */
#define PF_EXITING 0x00000004

/* Parts of the search: functions of their own, so that they are verified once. */
s32 pick_near(struct task_struct *p __arg_trusted, s32 prev_cpu, bool fork);
s32 pick_sync(struct task_struct *p __arg_trusted, s32 prev_cpu);
s32 pick_far(s32 prev_cpu);
s32 pick_in_llc(u32 llc);
bool is_pressed(s32 cpu);
s32 pick_unpressed(struct task_struct *p __arg_trusted, s32 prev_cpu, s32 pressed);

/* Not on every kernel. */
struct rq___irq {
	struct sched_avg avg_irq;
};

bool dfl_leave_llc(struct task_struct *p __arg_trusted, s32 prev_cpu)
{
	preload_count_dfl(HOOK_LEAVE_LLC);
	return false;
}

bool __weak hook_leave_llc(struct task_struct *p __arg_trusted, s32 prev_cpu)
{
	return dfl_leave_llc(p, prev_cpu);
}

static bool has_smt(void)
{
	return preload_topology.nr_cores < preload_topology.nr_online;
}

static bool none_is_idle(void)
{
	const struct cpumask *idle = scx_bpf_get_idle_cpumask();
	bool none = bpf_cpumask_empty(idle);

	scx_bpf_put_idle_cpumask(idle);
	return none;
}

/* Are @cpu and its siblings, if it has any, idle? */
static bool core_is_idle(s32 cpu)
{
	const struct cpumask *cores = scx_bpf_get_idle_smtmask();
	bool idle = bpf_cpumask_test_cpu(cpu, cores);

	scx_bpf_put_idle_cpumask(cores);
	return idle;
}

/* Would a task on @cpu, which is idle, often have to wait for RT or interrupts? */
__noinline bool is_pressed(s32 cpu)
{
	const struct rq *rq = rq_of(cpu);
	u64 used;

	if (!rq)
		return false;
	used = rq->avg_rt.util_avg + rq->avg_dl.util_avg;
	if (bpf_core_field_exists(struct rq___irq, avg_irq))
		used += ((const struct rq___irq *)rq)->avg_irq.util_avg;
	return used >= PRESSURE_MAX && scx_bpf_now() - rq->clock < PRESSURE_STALE_NS;
}

/* Did @p use more than half a slice before it slept? What it left is in its slice. */
static bool takes_long(struct task_struct *p)
{
	return p->scx.slice < slice_ns / 2;
}

/*
 * Does @p run on @cpu, which is slow, while a fast one idles? The kernel's relative is
 * update_misfit_status() in kernel/sched/fair.c.
 */
__noinline bool is_misfit(struct task_struct *p __arg_trusted, s32 cpu)
{
	const struct cpumask *fast = fast_cpumask(), *idle;
	bool misfit;

	if (!fast || p->nr_cpus_allowed == 1 || preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].fast)
		return false;
	idle = scx_bpf_get_idle_cpumask();
	misfit = bpf_cpumask_intersects(fast, idle);
	scx_bpf_put_idle_cpumask(idle);
	return misfit;
}

/* An idle core of @llc, else an idle CPU, taken out of the idle masks. */
__noinline s32 pick_in_llc(u32 llc)
{
	const struct cpumask *cpus = llc_cpumask(llc);
	s32 cpu = -1;

	if (!cpus)
		return -1;
	if (has_smt())
		cpu = scx_bpf_pick_idle_cpu(cpus, PRELOAD_PICK_IDLE_CORE);
	return cpu >= 0 ? cpu : scx_bpf_pick_idle_cpu(cpus, 0);
}

/*
 * Will the waker sleep sooner than an idle CPU could wake up? SCX_WAKE_SYNC says
 * that it is about to, but the writer of a pipe says so too and writes on. So it
 * has to be known for short turns, on average since its fork, and to be in one.
 */
static bool waker_yields(const struct rq *rq)
{
	const struct task_struct *waker = bpf_get_current_task_btf();
	/* exec_start is in the clock that leaves out interrupts. */
	u64 now = scx_bpf_now() - rq->clock + rq->clock_task;

	return !(waker->flags & PF_EXITING) && now - waker->se.exec_start < SHORT_TURN_NS &&
	       waker->se.sum_exec_runtime < waker->nvcsw * SHORT_TURN_NS;
}

/* May @p run on any CPU, so that its own mask need not be looked at? */
static bool runs_anywhere(struct task_struct *p)
{
	return p->nr_cpus_allowed >= preload_topology.nr_possible;
}

/*
 * While some CPU is idle: as near to prev_cpu as possible, and as alone as possible
 * within each step. The last step is the kernel's search, which goes by nodes; it
 * is not the only one because it takes an idle core of another LLC before an idle
 * sibling in this one. It also combines masks, for a task with an affinity. Its
 * WAKE_SYNC rule is left out, as that puts the task behind a waker of any length.
 */
__noinline s32 pick_near(struct task_struct *p __arg_trusted, s32 prev_cpu, bool fork)
{
	const struct cpumask *llc = llc_cpumask(cpu_llc_id(prev_cpu));
	s32 cpu = -1;

	if (!llc || nr_llcs() < 2)
		goto anywhere;
	if (!runs_anywhere(p)) {
		cpu = preload_select_cpu_and(p, prev_cpu, 0, llc, 0);
		goto anywhere;
	}
	if (has_smt()) {
		cpu = scx_bpf_pick_idle_cpu(llc, PRELOAD_PICK_IDLE_CORE);
		if (cpu >= 0)
			return cpu;
		/* A new task has no cache to leave behind. */
		if (fork)
			goto anywhere;
		preload_count_rare(hooks[HOOK_LEAVE_LLC].calls);
		if (ask_hook(HOOK_LEAVE_LLC, hook_leave_llc(p, prev_cpu),
			     dfl_leave_llc(p, prev_cpu)))
			goto anywhere;
	}
	if (scx_bpf_test_and_clear_cpu_idle(prev_cpu))
		return prev_cpu;
	cpu = scx_bpf_pick_idle_cpu(llc, 0);
	if (cpu < 0 && preload_topology.nr_nodes > 2)
		cpu = pick_far(prev_cpu);
anywhere:
	return cpu >= 0 ? cpu : preload_select_cpu_and(p, prev_cpu, 0, p->cpus_ptr, 0);
}

/*
 * The kernel's search knows one node and all nodes. Where there are more than two,
 * LLCs of near nodes come before far ones.
 */
__noinline s32 pick_far(s32 prev_cpu)
{
	u32 nth, nr = nr_near(), own = cpu_llc_id(prev_cpu);
	s32 cpu = -1;

	bpf_for(nth, 0, min(nr, NR_FAR_LLCS)) {
		cpu = pick_in_llc(llc_near(own, nth));
		if (cpu >= 0)
			break;
	}
	return cpu;
}

/*
 * Another idle CPU than @pressed, if there is one, which then goes back to those
 * that are idle.
 */
__noinline s32 pick_unpressed(struct task_struct *p __arg_trusted, s32 prev_cpu, s32 pressed)
{
	s32 cpu = pick_near(p, prev_cpu, false);

	if (cpu < 0)
		return pressed;
	if (is_pressed(cpu)) {
		scx_bpf_kick_cpu(cpu, PRELOAD_KICK_IDLE);
		return pressed;
	}
	scx_bpf_kick_cpu(pressed, PRELOAD_KICK_IDLE);
	preload_count_rare(leave_pressed);
	return cpu;
}

/*
 * For a wakeup whose waker is about to sleep and is the only task on this CPU: the
 * CPU itself, if it will be free before another could be woken and these two wake
 * each other only, or an idle one of the waker's LLC, where what the waker wrote is
 * in the cache, if it wakes this task only. One that many wake would be drawn from
 * CPU to CPU, and would itself be in the way of those that it wakes.
 */
__noinline s32 pick_sync(struct task_struct *p __arg_trusted, s32 prev_cpu)
{
	const struct rq *rq = rq_of(bpf_get_smp_processor_id());
	u32 waker_llc = this_cpu_llc_id(), bond;
	bool yields, elsewhere;

	if (!rq || rq->nr_running != 1)
		return -1;
	yields = waker_yields(rq);
	elsewhere = waker_llc != cpu_llc_id(prev_cpu);
	if (!yields && !elsewhere)
		return -1;
	bond = task_bond(p);
	if (yields && bond == BOND_MUTUAL)
		return bpf_get_smp_processor_id();
	if (!elsewhere || bond == BOND_NONE)
		return -1;
	return pick_in_llc(waker_llc);
}

/*
 * Two cases have to be fast: a machine with idle CPUs, where prev_cpu is nearly
 * always one of them, and one without any, where tasks wait already and all that is
 * due is a look at the idle mask.
 */
s32 dfl_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	bool core_idle, anywhere = runs_anywhere(p);
	s32 cpu;

	preload_count_dfl(HOOK_PICK_IDLE_CPU);

	/* Where tasks wait already it is not worth a look at prev_cpu. */
	core_idle = !llc_has_waiting(cpu_llc_id(prev_cpu)) && core_is_idle(prev_cpu);
	if (!core_idle && none_is_idle())
		return -1;
	if (anywhere && (wake_flags & PRELOAD_WAKE_SYNC)) {
		cpu = pick_sync(p, prev_cpu);
		if (cpu >= 0)
			return cpu;
	}
	if (preload_topology.nr_fast && (wake_flags & PRELOAD_WAKE_FORK || takes_long(p))) {
		const struct cpumask *fast = fast_cpumask();

		cpu = fast ? preload_select_cpu_and(p, prev_cpu, 0, fast, 0) : -1;
		if (cpu >= 0)
			return cpu;
	}
	if (anywhere && core_idle && scx_bpf_test_and_clear_cpu_idle(prev_cpu))
		cpu = prev_cpu;
	else
		cpu = pick_near(p, prev_cpu, wake_flags & PRELOAD_WAKE_FORK);
	return cpu >= 0 && is_pressed(cpu) ? pick_unpressed(p, prev_cpu, cpu) : cpu;
}

s32 __weak hook_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	return dfl_pick_idle_cpu(p, prev_cpu, wake_flags);
}

/* An idle CPU for @p, near @cpu if that may be, from a callback without select_cpu_and(). */
s32 idle_cpu_near(struct task_struct *p __arg_trusted, s32 cpu)
{
	s32 idle = runs_anywhere(p) ? pick_in_llc(cpu_llc_id(cpu)) : -1;

	return idle >= 0 ? idle : scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
}

/*
 * Can a task run on @cpu, which an override gave, soon? Not if others wait there already:
 * then it was not idle, or they were given it, too. One that idles still has just been
 * woken for them, by a kernel thread of its own for example.
 */
static bool is_free(s32 cpu)
{
	const struct rq *rq;

	if (!preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].online)
		return false;
	if (!scx_bpf_dsq_nr_queued(PRELOAD_DSQ_LOCAL_ON | cpu))
		return true;
	rq = rq_of(cpu);
	return rq && !rq->curr->pid;
}

/* Ask the hook; the answer is a CPU that exists and that @p may use, or -1. */
s32 idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	s32 cpu;

	if (is_migration_disabled(p))
		return -1;
	preload_count(hooks[HOOK_PICK_IDLE_CPU].calls);
	cpu = ask_hook(HOOK_PICK_IDLE_CPU, hook_pick_idle_cpu(p, prev_cpu, wake_flags),
		       dfl_pick_idle_cpu(p, prev_cpu, wake_flags));
	if (cpu < 0)
		return -1;
	if (cpu < nr_cpu_ids() && bpf_cpumask_test_cpu(cpu, p->cpus_ptr) &&
	    (!(overridden_hooks & (1ULL << HOOK_PICK_IDLE_CPU)) || is_free(cpu)))
		return cpu;
	bad_result(HOOK_PICK_IDLE_CPU);
	return -1;
}
