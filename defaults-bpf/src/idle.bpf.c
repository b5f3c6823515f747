// SPDX-License-Identifier: GPL-2.0-only
/* Idle CPU selection: where a task that wakes up can run at once, if anywhere. */
#include "vmlinux.h"

#include "balance.bpf.h"
#include "dsq.bpf.h"
#include "guard.bpf.h"
#include "idle.bpf.h"
#include "partner.bpf.h"
#include "rq.bpf.h"
#include "settings.bpf.h"
#include "topology.bpf.h"

char _license[] SEC("license") = "GPL";

/*
 * The time that an idle CPU takes to wake up: the exit latency of a shallow idle state,
 * the interrupt, and the switch.
 */
#define SHORT_TURN_NS (20 * NSEC_PER_USEC)

/* A CPU is under pressure if RT, deadline and interrupts use a quarter of it, of 1024. */
#define PRESSURE_MAX 256

/* These averages stand still while a CPU idles, and are stale after this time. */
#define PRESSURE_STALE_NS (50 * NSEC_PER_MSEC)

/* LLCs of other nodes that a wakeup searches one by one, the nearest first. */
#define NR_FAR_LLCS 8

/* Not in BTF. */
#define PF_EXITING 0x00000004

/* Parts of the search: global functions, which the verifier checks once each. */
s32 pick_near(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags);
s32 pick_sync(struct task_struct *p __arg_trusted, s32 prev_cpu);
s32 pick_far(s32 prev_cpu);
s32 pick_in_llc(u32 llc);
bool is_pressed(s32 cpu);
s32 pick_unpressed(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags, s32 pressed);

bool dfl_leave_llc(struct task_struct *p __arg_trusted, s32 prev_cpu)
{
	use_arg(p);
	use_arg(prev_cpu);
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
	const struct rq *rq = cpu_rq(cpu);

	return rq && util_of_others(rq) >= PRESSURE_MAX &&
	       scx_bpf_now() - rq->clock < PRESSURE_STALE_NS;
}

/* Did @p use more than half a slice before it slept? scx.slice is the rest. */
static bool takes_long(struct task_struct *p)
{
	return p->scx.slice < slice_ns / 2;
}

/* An idle core of @llc, else an idle CPU, removed from the idle masks. */
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
 * Will the waker sleep sooner than an idle CPU could wake up? SCX_WAKE_SYNC announces it,
 * but also for the writer of a pipe, which goes on writing. So the waker's turns have to be
 * short, on average since its fork, and so does the current one.
 */
static bool takes_short_turns(const struct task_struct *waker)
{
	return waker->se.sum_exec_runtime < waker->nvcsw * SHORT_TURN_NS &&
	       !(waker->flags & PF_EXITING);
}

static bool is_in_short_turn(const struct task_struct *waker, const struct rq *rq)
{
	/* exec_start is in rq->clock_task, which leaves out interrupts. */
	return scx_bpf_now() - rq->clock + rq->clock_task - waker->se.exec_start < SHORT_TURN_NS;
}

/* May @p run on all CPUs, so that its own mask need not be read? */
static bool runs_anywhere(struct task_struct *p)
{
	return p->nr_cpus_allowed >= preload_topology.nr_possible;
}

/*
 * If a CPU is idle: one as near to prev_cpu as possible and, within each step, an idle core
 * if possible. The last step is the kernel's search, which goes by nodes; it is not the only
 * one because it takes an idle core of another LLC before an idle sibling in this one. It
 * also combines masks, for a task with an affinity. Its WAKE_SYNC rule is left out, as it
 * queues the task behind a waker that may go on running. With PRELOAD_WAKE_CORE, it is the
 * only step, and restricted to idle cores.
 */
__noinline s32 pick_near(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	const struct cpumask *llc = llc_cpumask(cpu_llc_id(prev_cpu));
	u64 core = wake_flags & PRELOAD_WAKE_CORE ? PRELOAD_PICK_IDLE_CORE : 0;
	s32 cpu = -1;

	if (!llc || core || nr_llcs() < 2)
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
		if (wake_flags & PRELOAD_WAKE_FORK)
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
	return cpu >= 0 ? cpu : preload_select_cpu_and(p, prev_cpu, 0, searched_cpus(p), core);
}

/*
 * The kernel searches its own node, then all nodes. With more than two, LLCs of near nodes
 * come before far ones.
 */
__noinline s32 pick_far(s32 prev_cpu)
{
	u32 nth, nr = nr_near(), own = cpu_llc_id(prev_cpu);
	s32 cpu = -1;

	bpf_for(nth, 0, min(nr, NR_FAR_LLCS)) {
		u32 llc = llc_near(own, nth);

		if (!is_isolated(preload_llcs[llc].cpu))
			cpu = pick_in_llc(llc);
		if (cpu >= 0)
			break;
	}
	return cpu;
}

/* Another idle CPU than @pressed, which is then returned to the idle masks; else @pressed. */
__noinline s32 pick_unpressed(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags,
			      s32 pressed)
{
	s32 cpu = pick_near(p, prev_cpu, wake_flags & ~PRELOAD_WAKE_FORK);

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
 * For a wakeup whose waker is about to sleep and is the only task on this CPU: the CPU
 * itself, if it will be free before another could wake up and the two wake only each other;
 * or an idle CPU of the waker's LLC, whose cache has the waker's data, if the waker wakes
 * only this task. A task with many wakers would be drawn from CPU to CPU, and would delay
 * the tasks that it wakes itself.
 */
__noinline s32 pick_sync(struct task_struct *p __arg_trusted, s32 prev_cpu)
{
	const struct task_struct *waker = bpf_get_current_task_btf();
	u32 waker_llc = this_cpu_llc_id(), bond;
	bool yields = takes_short_turns(waker), elsewhere = waker_llc != cpu_llc_id(prev_cpu);
	const struct rq *rq;

	/* Usually neither is true, and nothing else need be read. */
	if (!yields && !elsewhere)
		return -1;
	rq = cpu_rq(bpf_get_smp_processor_id());
	if (!rq || rq->nr_running != 1)
		return -1;
	yields = yields && is_in_short_turn(waker, rq);
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
 * Two cases have to be fast: a system with idle CPUs, where prev_cpu is nearly always one
 * of them, and one without any, where tasks wait already and reading the idle mask is
 * enough.
 */
s32 dfl_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	bool core_idle, anywhere = runs_anywhere(p);
	s32 cpu;

	preload_count_dfl(HOOK_PICK_IDLE_CPU);

	/* Where tasks wait already, prev_cpu is hardly ever idle. */
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

		cpu = fast ? preload_select_cpu_and(p, prev_cpu, 0, fast, PRELOAD_PICK_IDLE_CORE)
			   : -1;
		if (cpu >= 0)
			return cpu;
	}
	if (anywhere && core_idle && scx_bpf_test_and_clear_cpu_idle(prev_cpu))
		cpu = prev_cpu;
	else
		cpu = pick_near(p, prev_cpu, wake_flags);
	if (cpu >= 0 && is_pressed(cpu))
		cpu = pick_unpressed(p, prev_cpu, wake_flags, cpu);
	/* is_asked() first: constant without an override, so the verifier drops the rest. */
	if (is_asked(HOOK_MAY_MIGRATE) && (wake_flags & PRELOAD_WAKE_CORE) && cpu >= 0 &&
	    cpu_llc_id(cpu) != cpu_llc_id(prev_cpu) && !may_migrate(p, cpu)) {
		scx_bpf_kick_cpu(cpu, PRELOAD_KICK_IDLE);
		cpu = -1;
	}
	return cpu;
}

s32 __weak hook_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	return dfl_pick_idle_cpu(p, prev_cpu, wake_flags);
}

/* An idle CPU for @p, near @cpu if possible, for callbacks without select_cpu_and(). */
s32 pick_idle_cpu_near(struct task_struct *p __arg_trusted, s32 cpu)
{
	bool anywhere = runs_anywhere(p);
	s32 idle = anywhere ? pick_in_llc(cpu_llc_id(cpu)) : -1;

	if (idle >= 0)
		return idle;
	return scx_bpf_pick_idle_cpu(anywhere ? searched_cpus(p) : p->cpus_ptr, 0);
}

/*
 * Can a task soon run on @cpu, which an override returned? Not if others wait there already:
 * then it was not idle, or was returned for them, too. If it still idles, it has just been
 * woken for them, by a kernel thread of its own for example.
 */
static bool is_free(s32 cpu)
{
	const struct rq *rq;

	if (!is_plugged(cpu))
		return false;
	if (!scx_bpf_dsq_nr_queued(PRELOAD_DSQ_LOCAL_ON | cpu))
		return true;
	rq = cpu_rq(cpu);
	return rq && !rq->curr->pid;
}

/* The hook's result: a CPU that exists and that @p may use, or -1. */
s32 pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
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
	    (!(PRELOAD_OVERRIDDEN & (1ULL << HOOK_PICK_IDLE_CPU)) || is_free(cpu)))
		return cpu;
	bad_result(HOOK_PICK_IDLE_CPU);
	return -1;
}
