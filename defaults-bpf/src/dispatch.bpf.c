// SPDX-License-Identifier: GPL-2.0-only
/*
 * The policy of ops.dispatch(): of the heads of several DSQs and the running task, the one
 * with the lowest virtual time runs next.
 */
#include "vmlinux.h"

#include "active_balance.bpf.h"
#include "affinity.bpf.h"
#include "balance.bpf.h"
#include "dispatch.bpf.h"
#include "dsq.bpf.h"
#include "nohz.bpf.h"
#include "overdue.bpf.h"
#include "settings.bpf.h"
#include "slice.bpf.h"
#include "vtime.bpf.h"

char _license[] SEC("license") = "GPL";

/* The head to run next, among the DSQs read so far. */
struct candidate {
	u64 vtime; /* valid if any, as is the DSQ that it waits on */
	u64 dsq;
	bool any;
};

/* Parts of do_dispatch(): global functions, which the verifier checks once each. */
void consider_head(u64 dsq, struct candidate *next __arg_nonnull);
bool consider_llc(u32 llc, struct candidate *next __arg_nonnull);
void consider_near(s32 cpu, struct candidate *next __arg_nonnull);
void consider_elsewhere(s32 cpu, u32 turn, struct candidate *next __arg_nonnull);
bool keep_running(struct task_struct *prev __arg_trusted, s32 cpu,
		  struct candidate *next __arg_nonnull);
bool move_candidate(s32 cpu, struct candidate *next __arg_nonnull);
void newidle_balance(s32 cpu);

/* Make @head of @dsq the candidate if its vtime is lower. Returns whether it was. */
static bool consider(const struct task_struct *head, u64 dsq, struct candidate *next)
{
	u64 vtime;

	if (!head)
		return false;
	vtime = head->scx.dsq_vtime;
	if (next->any && !vtime_before(vtime, next->vtime))
		return false;
	next->vtime = vtime;
	next->dsq = dsq;
	next->any = true;
	return true;
}

__noinline void consider_head(u64 dsq, struct candidate *next __arg_nonnull)
{
	consider(scx_bpf_dsq_peek(dsq), dsq, next);
}

/*
 * The head of @llc's DSQ. Each dispatch reads it, so the kernel looks the DSQ up by its ID
 * only until a waiting task has revealed the DSQ's address.
 */
__noinline bool consider_llc(u32 llc, struct candidate *next __arg_nonnull)
{
	struct preload_llc *l = &preload_llcs[llc & (PRELOAD_MAX_LLCS - 1)];
	const struct scx_dispatch_q *dsq = (void *)l->queue;
	struct task_struct *head;

	if (dsq) {
		dsq = bpf_rdonly_cast(dsq, bpf_core_type_id_kernel(struct scx_dispatch_q));
		return consider(dsq->first_task, PRELOAD_DSQ_LLC(llc), next);
	}
	head = scx_bpf_dsq_peek(PRELOAD_DSQ_LLC(llc));
	if (head) {
		dsq = head->scx.dsq;
		if (dsq && dsq->id == PRELOAD_DSQ_LLC(llc))
			l->queue = (u64)dsq;
	}
	return consider(head, PRELOAD_DSQ_LLC(llc), next);
}

/* The DSQs that @cpu normally runs tasks from. */
__noinline void consider_near(s32 cpu, struct candidate *next __arg_nonnull)
{
	u32 llc = cpu_llc_id(cpu);

	next->any = false;
	if (!consider_llc(llc, next))
		llc_clear_waiting(llc);
	if (has_pinned(cpu))
		consider_head(PRELOAD_DSQ_CPU(cpu), next);
	if (has_affine(cpu))
		consider_head(PRELOAD_DSQ_AFFINE(cpu), next);
}

/*
 * Another LLC's DSQ. Its head has to be a slice behind, as a task that moves loses its
 * cache.
 */
__noinline void consider_elsewhere(s32 cpu, u32 turn, struct candidate *next __arg_nonnull)
{
	struct candidate behind = *next;
	s32 llc = balance_llc(cpu, turn);

	if (llc < 0)
		return;
	/*
	 * Nobody waits by the LLC's clock: keep up with the other. If all are bound to CPUs, the
	 * clocks are compared when they are placed.
	 */
	if (!llc_has_waiting(cpu_llc_id(cpu)))
		advance_clock(cpu_llc_id(cpu), preload_llcs[llc & (PRELOAD_MAX_LLCS - 1)].clock,
			      PRELOAD_VTIME_WINDOW_NS);
	behind.vtime -= slice_ns;
	if (consider_llc(llc, &behind))
		*next = behind;
}

/*
 * Let @prev continue unless the candidate is due before it, or a better core idles for it:
 * see active_balance.bpf.c. Returns whether it continues.
 */
__noinline bool keep_running(struct task_struct *prev __arg_trusted, s32 cpu,
			     struct candidate *next __arg_nonnull)
{
	u64 slice = task_slice(prev, cpu);
	u64 vtime = update_vtime(prev, cpu, slice, 0, PRELOAD_DSQ_LOCAL);

	if (next->any) {
		if (!vtime_before(vtime, next->vtime))
			return false;
		advance_clock(cpu_llc_id(cpu), vtime, PRELOAD_VTIME_WINDOW_NS);
	}
	set_cpu_clock(vtime);
	prev->scx.dsq_vtime = vtime;
	if (!next->any && (start_leaving(prev, cpu) || start_endless(prev, cpu, slice)))
		return false;
	prev->scx.slice = slice;
	preload_count(dispatch_keep);
	return true;
}

/*
 * Move the candidate to the local DSQ. Heads are read without a lock: if it is gone, the
 * next task of its DSQ or of another one will do.
 */
__noinline bool move_candidate(s32 cpu, struct candidate *next __arg_nonnull)
{
	u32 own = cpu_llc_id(cpu);

	if (is_cpu_dsq(next->dsq)) {
		if (move_from_cpu(next->dsq))
			return true;
	} else if (is_llc_dsq(next->dsq) && next->dsq != PRELOAD_DSQ_LLC(own) &&
		   move_between_llcs(cpu, next->dsq)) {
		preload_count_rare(balance_pull);
		balance_again();
		return true;
	}
	if (move_from_llc(own)) {
		preload_count(dispatch_llc);
		return true;
	}
	if (has_pinned(cpu) && move_from_cpu(PRELOAD_DSQ_CPU(cpu)))
		return true;
	return has_affine(cpu) && move_from_cpu(PRELOAD_DSQ_AFFINE(cpu));
}

/* Nothing waits near @cpu: take a task that waits elsewhere, or go idle. */
__noinline void newidle_balance(s32 cpu)
{
	u64 others = preload_waiting & ~llc_bit(cpu_llc_id(cpu));
	s32 llc;
	u32 nth;

	if (is_isolated(cpu))
		return;
	if (preload_affine_used && steal_affine(cpu)) {
		preload_count_rare(newidle_steal);
		return;
	}
	if (!others)
		return;
	/* Usually at most one LLC has waiting tasks: the default's result, without a search. */
	if (!is_asked(HOOK_STEAL_LLC) && nr_llcs() <= 64 && !(others & (others - 1))) {
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

/* Not a DSQ of an override: the kernel reserves SCX_DSQ_FLAG_BUILTIN. */
#define NO_DSQ (~0ULL)

/* For the defaults, @own is the constant NO_DSQ, and the code for it costs nothing. */
static __always_inline void dispatch_with(s32 cpu, struct task_struct *prev, u64 own)
{
	bool runnable = prev && (prev->scx.flags & PRELOAD_TASK_QUEUED);
	struct candidate next = {};
	u32 turn;

	consider_near(cpu, &next);
	if (own != NO_DSQ)
		consider_head(own, &next);
	if (!runnable && !next.any) {
		if (preload_affine_used || (preload_waiting & ~llc_bit(cpu_llc_id(cpu))))
			newidle_balance(cpu);
		return;
	}
	turn = balance_turn();
	if (turn) {
		if (dispatch_overdue(cpu, turn))
			return;
		if (preload_affine_used && !is_isolated(cpu) && pull_affine(cpu, turn))
			return;
		consider_elsewhere(cpu, turn, &next);
	}

	if (runnable && keep_running(prev, cpu, &next))
		return;
	if (next.any) {
		advance_clock(cpu_llc_id(cpu), next.vtime,
			      runnable ? PRELOAD_VTIME_WINDOW_NS : slice_ns);
		set_cpu_clock(next.vtime);
		if (own != NO_DSQ && next.dsq == own &&
		    preload_dsq_move_to_local(own, PRELOAD_ENQ_IMMED))
			return;
		if (move_candidate(cpu, &next))
			return;
	}
	if (!runnable)
		newidle_balance(cpu);
}

void do_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable)
{
	dispatch_with(cpu, prev, NO_DSQ);
}

void dfl_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable)
{
	preload_count_dfl(HOOK_DISPATCH);
	do_dispatch(cpu, prev);
}

void dfl_dispatch_with(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable, u64 dsq)
{
	preload_count_dfl(HOOK_DISPATCH);
	dispatch_with(cpu, prev, dsq);
}

void __weak hook_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable)
{
	dfl_dispatch(cpu, prev);
}
