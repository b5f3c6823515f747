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

/* Not in BTF. */
#define PF_EXITING 0x00000004

extern const struct rq runqueues __ksym __weak;

/* Parts of the search: functions of their own, so that they are verified once. */
s32 pick_near(struct task_struct *p __arg_trusted, s32 prev_cpu, bool prev_idle, bool fork);
s32 pick_sync(s32 prev_cpu);

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

/* Is @cpu, which is idle, alone in its core, or are its siblings idle too? */
static bool core_is_idle(s32 cpu)
{
	const struct cpumask *cores;
	bool idle;

	if (!has_smt())
		return true;
	cores = scx_bpf_get_idle_smtmask();
	idle = bpf_cpumask_test_cpu(cpu, cores);
	scx_bpf_put_idle_cpumask(cores);
	return idle;
}

/* An idle core of @cpus, else an idle CPU, taken out of the idle masks. */
static s32 pick_idle(const struct cpumask *cpus)
{
	s32 cpu = -1;

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
__noinline s32 pick_near(struct task_struct *p __arg_trusted, s32 prev_cpu, bool prev_idle,
			 bool fork)
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
		if (hook_leave_llc(p, prev_cpu))
			goto anywhere;
	}
	if (prev_idle && scx_bpf_test_and_clear_cpu_idle(prev_cpu))
		return prev_cpu;
	cpu = scx_bpf_pick_idle_cpu(llc, 0);
anywhere:
	return cpu >= 0 ? cpu : preload_select_cpu_and(p, prev_cpu, 0, p->cpus_ptr, 0);
}

/*
 * For a wakeup whose waker is about to sleep and is the only task on this CPU: the
 * CPU itself, if it will be free before another could be woken, or an idle one of
 * the waker's LLC, where what the waker wrote is in the cache.
 */
__noinline s32 pick_sync(s32 prev_cpu)
{
	const struct cpumask *llc;
	const struct rq *rq = NULL;
	u32 waker_llc;

	if (bpf_ksym_exists(&runqueues))
		rq = bpf_this_cpu_ptr(&runqueues);
	if (!rq || rq->nr_running != 1)
		return -1;
	if (waker_yields(rq))
		return bpf_get_smp_processor_id();
	waker_llc = this_cpu_llc_id();
	if (waker_llc == cpu_llc_id(prev_cpu))
		return -1;
	llc = llc_cpumask(waker_llc);
	return llc ? pick_idle(llc) : -1;
}

/*
 * Two cases have to be fast: a machine with idle CPUs, where prev_cpu is nearly
 * always one of them, and one without any, where all that is due is a look at
 * the idle mask.
 */
s32 dfl_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	bool prev_idle, none;
	const struct cpumask *idle;
	s32 cpu;

	preload_count_dfl(HOOK_PICK_IDLE_CPU);

	idle = scx_bpf_get_idle_cpumask();
	prev_idle = bpf_cpumask_test_cpu(prev_cpu, idle);
	none = !prev_idle && bpf_cpumask_empty(idle);
	scx_bpf_put_idle_cpumask(idle);

	if (none)
		return -1;
	if (!runs_anywhere(p))
		return pick_near(p, prev_cpu, false, false);
	if (wake_flags & PRELOAD_WAKE_SYNC) {
		cpu = pick_sync(prev_cpu);
		if (cpu >= 0)
			return cpu;
	}
	if (prev_idle && core_is_idle(prev_cpu) && scx_bpf_test_and_clear_cpu_idle(prev_cpu))
		return prev_cpu;
	return pick_near(p, prev_cpu, prev_idle, wake_flags & PRELOAD_WAKE_FORK);
}

s32 __weak hook_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	return dfl_pick_idle_cpu(p, prev_cpu, wake_flags);
}

/* Ask the hook; the answer is a CPU that exists and that @p may use, or -1. */
s32 idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	s32 cpu;

	preload_count(hooks[HOOK_PICK_IDLE_CPU].calls);
	cpu = hook_pick_idle_cpu(p, prev_cpu, wake_flags);
	if (cpu < 0)
		return -1;
	if (cpu < nr_cpu_ids() && bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
		return cpu;
	preload_count_rare(hooks[HOOK_PICK_IDLE_CPU].bad);
	return -1;
}
