// SPDX-License-Identifier: GPL-2.0-only
/*
 * Soft bypass, see include/scx_preload/bypass.bpf.h: the watch that ends it and looks for
 * stalls, and how tasks that were queued before a change get to run after it. guard.bpf.c
 * begins it.
 *
 * Without overrides, the conditions are constants and the verifier drops all of this code.
 */
#include "vmlinux.h"

#include "bypass.bpf.h"
#include "dsq.bpf.h"
#include "enqueue.bpf.h"
#include "guard.bpf.h"
#include "idle.bpf.h"
#include "lifecycle.bpf.h"
#include "overdue.bpf.h"
#include "rq.bpf.h"
#include "settings.bpf.h"
#include "topology.bpf.h"
#include "vtime.bpf.h"

char _license[] SEC("license") = "GPL";

/* A soft bypass is forgotten after this time without another one. */
#define FORGET_NS (600 * NSEC_PER_SEC)

/* How often the watch checks for stalls and for requests of the user. */
#define WATCH_NS (125 * NSEC_PER_MSEC)

/* Most tasks that one dispatch takes from the override. */
#define DRAIN_BATCH 16

enum wish {
	WISH_NONE,
	WISH_ON,
	WISH_OFF,
};

/* The timer runs as long as user space holds a reference to the map: the loader pins it. */
struct watch {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct watch);
} preload_watch SEC(".maps");

/* Written by `scx_preload bypass`: enum wish. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} preload_wishes SEC(".maps");

/* Parts of the watch and of a drain: global functions, which the verifier checks once each. */
void find_stall(void);
void kick_waiting(void);
void watch_once(u32 wish);
void drain(s32 cpu);

void dfl_bypass(u32 reason)
{
	preload_count_dfl(HOOK_BYPASS);
}

void __weak hook_bypass(u32 reason)
{
	dfl_bypass(reason);
}

__noinline void find_stall(void)
{
	struct bypass_change change = {};
	s32 cpu;

	bpf_for(cpu, 0, nr_cpu_ids()) {
		if (is_stalled(cpu, &change)) {
			bypass_change(&change);
			return;
		}
	}
}

/* An idle CPU whose run queue has tasks that an override keeps has to dispatch. */
__noinline void kick_waiting(void)
{
	s32 cpu;

	bpf_for(cpu, 0, nr_cpu_ids()) {
		const struct rq *rq = cpu_rq(cpu);

		if (rq && longest_waiting(rq))
			scx_bpf_kick_cpu(cpu, PRELOAD_KICK_IDLE);
	}
}

__noinline void watch_once(u32 wish)
{
	struct preload_bypass *b = &preload_bypass;
	struct bypass_change change = { .cpu = bpf_get_smp_processor_id() };
	u64 now = bpf_ktime_get_ns();

	if (wish == WISH_ON) {
		change.reason = PRELOAD_BYPASS_USER;
		/* Also extends a bypass that began for another reason. */
		b->until = BYPASS_FOREVER;
		bypass_change(&change);
	} else if (wish == WISH_OFF || (b->on && now >= b->until)) {
		if (wish)
			b->times = 0;
		bypass_change(&change);
	} else if (b->on) {
		kick_waiting();
	} else {
		find_stall();
		if (b->times && now - b->changed_at > FORGET_NS) {
			b->times--;
			b->changed_at = now;
		}
	}
	if (b->told != b->seq) {
		b->told = b->seq;
		preload_count_rare(hooks[HOOK_BYPASS].calls);
		hook_bypass(b->on);
	}
}

/* When the watch last looked; without timers only. */
static u64 watched_at;

static void watch_now(void)
{
	u32 zero = 0, *wish = bpf_map_lookup_elem(&preload_wishes, &zero);

	watch_once(wish ? __sync_lock_test_and_set(wish, WISH_NONE) : WISH_NONE);
}

static int watch(void *map, u32 *key, struct watch *w)
{
	/* The scheduler has ended: waiting tasks are not ours. ops.init() restarts the timer. */
	if (preload_exit_info.kind)
		return 0;
	watch_now();
	bpf_timer_start(&w->timer, WATCH_NS, 0);
	return 0;
}

/*
 * Without timers, the watch is part of ticks and dispatches. If no CPU has either, the kernel's
 * own watchdog, a workqueue's task, wakes up twice within the time that it allows.
 */
void bypass_poll(void)
{
	u64 now = scx_bpf_now(), last = watched_at;

	if ((s64)(now - last) < (s64)WATCH_NS ||
	    __sync_val_compare_and_swap(&watched_at, last, now) != last)
		return;
	watch_now();
}

static s32 start_timer(void)
{
	u32 zero = 0;
	struct watch *w = bpf_map_lookup_elem(&preload_watch, &zero);
	s32 err;

	if (!w)
		return -EINVAL;
	err = bpf_timer_init(&w->timer, &preload_watch, CLOCK_MONOTONIC);
	/* EBUSY: an earlier start has initialized it. */
	if (!err || err == -EBUSY)
		err = bpf_timer_set_callback(&w->timer, watch);
	return err ?: bpf_timer_start(&w->timer, WATCH_NS, 0);
}

s32 bypass_init(void)
{
	preload_bypass.since = bpf_jiffies64();
	return is_polled() ? 0 : start_timer();
}

/* Did @p begin to wait after the last change of the bypass state? */
static bool waits_since_change(const struct task_struct *p)
{
	return (s64)(p->scx.runnable_at - preload_bypass.since) > 0;
}

/*
 * Move @p from the override's DSQ @foreign (0: not on any DSQ, the override holds it itself)
 * to the defaults' DSQ, and wake an idle CPU for it.
 */
static void rescue(struct task_struct *p, s32 cpu, u64 foreign)
{
	s32 idle = p->nr_cpus_allowed == 1 ? -1 : pick_idle_cpu_near(p, cpu);
	s32 near = idle >= 0 ? idle : cpu;
	struct bpf_iter_scx_dsq it;

	preload_count_rare(bypass_rescue);
	if (!foreign) {
		enqueue_near(p, near, 0);
	} else if (is_plugged(near)) {
		u64 slice = slice_ns, dsq = task_dsq(p, near);
		u64 vtime = update_vtime(p, near, slice, 0, dsq);

		note_waiting(dsq);
		if (!bpf_iter_scx_dsq_new(&it, foreign, 0)) {
			scx_bpf_dsq_move_set_slice(&it, slice);
			scx_bpf_dsq_move_set_vtime(&it, vtime);
			scx_bpf_dsq_move_vtime(&it, p, dsq, 0);
		}
		bpf_iter_scx_dsq_destroy(&it);
	}
	if (idle >= 0)
		scx_bpf_kick_cpu(idle, PRELOAD_KICK_IDLE);
}

/*
 * Soft bypass began: take the waiting tasks of @cpu's run queue from the override. The list
 * has the longest waiting first; the first task that began to wait after the change ends the
 * walk.
 */
__noinline void drain(s32 cpu)
{
	const struct rq *rq = cpu_rq(cpu);
	const struct list_head *at;
	u32 n;

	if (!rq)
		return;
	at = rq->scx.runnable_list.next;
	bpf_for(n, 0, DRAIN_BATCH) {
		const struct task_struct *task = runnable_task(at);
		const struct scx_dispatch_q *dsq;
		struct task_struct *p;

		if (at == &rq->scx.runnable_list || waits_since_change(task))
			return;
		at = task->scx.runnable_node.next;
		dsq = task->scx.dsq;
		if (dsq && ((dsq->id & PRELOAD_DSQ_BUILTIN) || is_default_dsq(dsq->id)))
			continue;
		p = bpf_task_from_pid(task->pid);
		if (!p)
			continue;
		rescue(p, cpu, dsq ? dsq->id : 0);
		bpf_task_release(p);
	}
}

/*
 * After soft bypass has begun or ended, until the tasks that waited then have run: move the
 * longest waiting one to @cpu's local DSQ. Returns whether it did.
 */
bool dispatch_before_change(s32 cpu)
{
	struct preload_cpu *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)];
	const struct task_struct *oldest;
	u16 seq = preload_bypass.seq;
	const struct rq *rq;

	if (c->settled == seq)
		return false;
	rq = cpu_rq(cpu);
	if (!rq)
		return false;
	if (preload_bypass.on)
		drain(cpu);
	oldest = longest_waiting(rq);
	if (oldest && !waits_since_change(oldest))
		return dispatch_oldest(cpu);
	c->settled = seq;
	return false;
}
