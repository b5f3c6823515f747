// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUs of nohz_full=. The kernel stops their tick while a task with an infinite slice runs,
 * and looks for one only when it switches tasks. So a task that is found alone at the end of
 * its slice is taken off the CPU once, with SCX_ENQ_LAST, and chosen again. Whoever has to
 * wait for such a CPU ends the infinite slice.
 *
 * The kernel's counterparts are sched_can_stop_tick() and sched_update_tick_dependency() in
 * kernel/sched.
 */
#include "vmlinux.h"

#include "dsq.bpf.h"
#include "nohz.bpf.h"
#include "rq.bpf.h"

char _license[] SEC("license") = "GPL";

/* Does nothing wait that @cpu, which runs @p, could run instead? */
bool is_alone(struct task_struct *p __arg_trusted, s32 cpu)
{
	const struct rq *rq = cpu_rq(cpu);

	return rq && rq->curr->pid == p->pid && rq->nr_running == 1 &&
	       !llc_has_waiting(cpu_llc_id(cpu)) &&
	       (!has_affine(cpu) || !scx_bpf_dsq_nr_queued(PRELOAD_DSQ_AFFINE(cpu)));
}

/*
 * @p may continue on @cpu with @slice, and nothing waits: should it be chosen anew, so that
 * the tick stops?
 */
bool start_endless(struct task_struct *p __arg_trusted, s32 cpu, u64 slice)
{
	if (!is_nohz(cpu) || slice != PRELOAD_SLICE_INF || p->scx.slice == slice)
		return false;
	preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)].restart = 1;
	return true;
}

/*
 * If @cpu is on its way from one choice to the next, it may have chosen a task with an
 * infinite slice already.
 */
void kick_endless(s32 cpu)
{
	const struct rq *rq = cpu_rq(cpu);

	if (rq && (!rq->curr->pid || runs_endless(rq)))
		scx_bpf_kick_cpu(cpu, PRELOAD_KICK_PREEMPT);
}

/* Once in a second, another CPU calls this for @cpu: for who has come at that moment. */
void kick_endless_late(s32 cpu)
{
	const struct rq *rq = cpu_rq(cpu);

	if (rq && rq->nr_running > 1 && runs_endless(rq))
		scx_bpf_kick_cpu(cpu, PRELOAD_KICK_PREEMPT);
}
