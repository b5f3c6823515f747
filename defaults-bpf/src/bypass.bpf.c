// SPDX-License-Identifier: GPL-2.0-only
/*
 * Soft bypass, see include/scx_preload/bypass.bpf.h: when it begins and ends, and how
 * the tasks that wait in one regime's queues get to run in the other's.
 *
 * None of this is in a scheduler without overrides: its tests are constants then,
 * which the verifier drops.
 */
#include "vmlinux.h"

#include "internal.bpf.h"

char _license[] SEC("license") = "GPL";

/* A task may be runnable this long and not run, ms; 0: no matter how long. */
const volatile u64 bypass_stall_ms = 1000;

/* Results out of range that a CPU may get within a second; 0: any number. */
const volatile u64 bypass_bad_per_s = 100;

/* Part of a CPU's time that may be spent in overrides, percent; 0: all of it. */
const volatile u64 bypass_slow_percent = 50;

/* How long the first bypass lasts, ms; each that follows four times as long. */
const volatile u64 bypass_hold_ms = 1000;

/* After so many times it lasts until the user ends it; 0: never. */
const volatile u64 bypass_max = 5;

/* One time is forgotten after so long without bypass. */
#define FORGET_NS (600 * NSEC_PER_SEC)

/* How often the watch looks for stalls, and at the user's wishes. */
#define WATCH_NS (125 * NSEC_PER_MSEC)

/* Ticks over which the time in hooks is summed up: 1 s at 250 Hz. */
#define SLOW_WINDOW 250

/* Tasks that a dispatch takes out of an override's queues. */
#define DRAIN_BATCH 16

#define NEVER (~0ULL)

struct preload_bypass preload_bypass __attribute__((aligned(64)));

enum wish {
	WISH_NONE,
	WISH_ON,
	WISH_OFF,
};

/* Its timer runs as long as user space holds a reference to it: the loader pins it. */
struct watch {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct watch);
} preload_watch SEC(".maps");

/* What `scx_preload bypass` writes: enum wish. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} preload_wishes SEC(".maps");

/* What a CPU has seen of bad and slow results. */
struct faults {
	u64 second; /* when the second began, ns */
	u64 bad; /* results out of range in it */
	u64 window; /* when the window began, jiffies */
	u64 spent; /* ticks that passed in hooks in it */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct faults);
} preload_faults SEC(".maps");

/* Parts of the watch: functions of their own, so that they are verified once. */
bool is_stalled(s32 cpu, struct bypass_change *change __arg_nonnull);
void kick_all(void);
void bypass_change(struct bypass_change *change __arg_nonnull);
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

/* Tasks wait in queues that nobody looks at any more: all CPUs have to look. */
__noinline void kick_all(void)
{
	s32 cpu;

	bpf_for(cpu, 0, nr_cpu_ids())
		scx_bpf_kick_cpu(cpu, PRELOAD_KICK_PREEMPT);
}

/*
 * Begin bypass, or end it (PRELOAD_BYPASS_NONE). Of CPUs that do so at once one does
 * it. The flag that all look at is set last: who sees it sees the rest.
 */
__noinline void bypass_change(struct bypass_change *change __arg_nonnull)
{
	struct preload_bypass *b = &preload_bypass;
	u64 hold = bypass_hold_ms * NSEC_PER_MSEC;
	u32 times;

	if (!is_watched() || !!b->on == !!change->reason ||
	    __sync_val_compare_and_swap(&b->changing, 0, 1))
		return;
	change->at = bpf_ktime_get_ns();
	b->changes[b->seq % PRELOAD_BYPASS_LOG] = *change;
	b->seq++;
	b->since = bpf_jiffies64();
	b->changed_at = change->at;
	if (change->reason == PRELOAD_BYPASS_USER) {
		b->until = NEVER;
	} else if (change->reason) {
		times = ++b->times;
		b->until = bypass_max && times >= bypass_max
				   ? NEVER
				   : change->at + (hold << min(2 * (times - 1), 20));
	}
	__sync_lock_test_and_set(&b->on, change->reason);
	kick_all();
	__sync_lock_test_and_set(&b->changing, 0);
}

void preload_bypass_ask(struct preload_bypass_why *why __arg_nonnull)
{
	struct bypass_change change = {
		.reason = PRELOAD_BYPASS_OVERRIDE,
		.why = *why,
		.cpu = bpf_get_smp_processor_id(),
	};

	bypass_change(&change);
}

/* Begin bypass because of what @hook does on this CPU. */
static void blame(u32 reason, u32 hook)
{
	struct bypass_change change = {
		.reason = reason,
		.hook = hook,
		.cpu = bpf_get_smp_processor_id(),
	};

	bypass_change(&change);
}

static u32 bad_counter(u32 hook)
{
	return (offsetof(struct preload_stats, hooks) + hook * sizeof(struct preload_hook_stats) +
		offsetof(struct preload_hook_stats, bad)) /
	       sizeof(u64);
}

/* @hook gave a result out of range. */
void bad_result(u32 hook)
{
	u32 zero = 0;
	struct faults *faults;
	u64 now;

	preload_count_nth(bad_counter(hook));
	faults = bpf_map_lookup_elem(&preload_faults, &zero);
	if (!is_watched() || !faults || !bypass_bad_per_s || preload_bypass.on)
		return;
	now = bpf_ktime_get_ns();
	if (now - faults->second > NSEC_PER_SEC) {
		faults->second = now;
		faults->bad = 0;
	}
	if (++faults->bad > bypass_bad_per_s) {
		faults->bad = 0;
		blame(PRELOAD_BYPASS_BAD, hook);
	}
}

/*
 * A tick passed while @hook was asked, at @from. The more time it takes the more
 * often that is so: over a window the ticks add up to the time.
 */
void spent_in(u32 hook, u64 from)
{
	u32 zero = 0;
	struct faults *faults = bpf_map_lookup_elem(&preload_faults, &zero);
	u64 now = bpf_jiffies64();

	if (!faults || !bypass_slow_percent || preload_bypass.on)
		return;
	if (now - faults->window > SLOW_WINDOW) {
		faults->window = from;
		faults->spent = 0;
	}
	faults->spent += now - from;
	if (faults->spent * 100 > SLOW_WINDOW * bypass_slow_percent) {
		faults->spent = 0;
		blame(PRELOAD_BYPASS_SLOW, hook);
	}
}

/*
 * Has the task of @cpu's run queue that has waited longest waited for too long? One
 * that weighs less, or has many others beside it, may. What waits in a queue of the
 * kernel's own is none of the override's business, nor is a CPU that RT keeps.
 *
 * Looks without a lock. A task that has gone meanwhile is read as zeros or as what it
 * was, and its place in the list is looked at again.
 */
__noinline bool is_stalled(s32 cpu, struct bypass_change *change __arg_nonnull)
{
	u64 bound = bypass_stall_ms * NSEC_PER_MSEC, waited;
	const struct task_struct *oldest, *curr;
	const struct scx_dispatch_q *waits;
	const struct rq *rq = rq_of(cpu);
	u32 weight;

	if (!rq || !bound)
		return false;
	oldest = longest_waiting(rq);
	curr = rq->curr;
	if (!oldest || (curr && curr->prio < MAX_RT_PRIO))
		return false;
	waits = oldest->scx.dsq;
	if (waits && (waits->id & PRELOAD_DSQ_BUILTIN))
		return false;
	waited = (bpf_jiffies64() - oldest->scx.runnable_at) * preload_bypass.tick_ns;
	weight = oldest->scx.weight;
	if (weight && weight < 100)
		bound = bound * 100 / weight;
	bound = max(bound, 4 * rq->scx.nr_running * slice_ns);
	bound = min(bound, 4 * NSEC_PER_SEC);
	if (waited < bound || longest_waiting(rq) != oldest)
		return false;
	change->reason = PRELOAD_BYPASS_STALL;
	change->cpu = cpu;
	change->pid = oldest->pid;
	change->waited = waited;
	bpf_probe_read_kernel_str(change->why.text, sizeof(oldest->comm), oldest->comm);
	return true;
}

/* For dispatch_overdue(), which helps such a task before the watch has seen it. */
void report_stall(s32 cpu)
{
	struct bypass_change change = {};

	if (!preload_bypass.on && is_stalled(cpu, &change))
		bypass_change(&change);
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

/* An idle CPU whose run queue has tasks, as an override kept them, has to look. */
__noinline void kick_waiting(void)
{
	s32 cpu;

	bpf_for(cpu, 0, nr_cpu_ids()) {
		const struct rq *rq = rq_of(cpu);

		if (rq && longest_waiting(rq))
			scx_bpf_kick_cpu(cpu, PRELOAD_KICK_IDLE);
	}
}

__noinline void watch_once(u32 wish)
{
	struct preload_bypass *b = &preload_bypass;
	struct bypass_change change = { .cpu = bpf_get_smp_processor_id() };
	u64 now = bpf_ktime_get_ns(), ticks = bpf_jiffies64() - b->first_tick;

	if (ticks)
		b->tick_ns = (now - b->first_ns) / ticks;
	if (wish == WISH_ON) {
		change.reason = PRELOAD_BYPASS_USER;
		/* Also one that is on for another reason. */
		b->until = NEVER;
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

static int watch(void *map, u32 *key, struct watch *w)
{
	u32 zero = 0, *wish = bpf_map_lookup_elem(&preload_wishes, &zero);

	/* What waits now is not ours; the next start is the timer's, too. */
	if (preload_exit_info.kind)
		return 0;
	watch_once(wish ? __sync_lock_test_and_set(wish, WISH_NONE) : WISH_NONE);
	bpf_timer_start(&w->timer, WATCH_NS, 0);
	return 0;
}

s32 bypass_init(void)
{
	u32 zero = 0;
	struct watch *w = bpf_map_lookup_elem(&preload_watch, &zero);
	s32 err;

	if (!w)
		return -EINVAL;
	preload_bypass.first_tick = bpf_jiffies64();
	preload_bypass.first_ns = bpf_ktime_get_ns();
	preload_bypass.since = preload_bypass.first_tick;
	err = bpf_timer_init(&w->timer, &preload_watch, CLOCK_MONOTONIC);
	/* There is one since an earlier start. */
	if (!err || err == -EBUSY)
		err = bpf_timer_set_callback(&w->timer, watch);
	return err ?: bpf_timer_start(&w->timer, WATCH_NS, 0);
}

/* Has @p waited since the last change of bypass only? */
static bool is_of_this_regime(const struct task_struct *p)
{
	return (s64)(p->scx.runnable_at - preload_bypass.since) > 0;
}

/* Is the queue one of ours? */
static bool is_own_queue(u64 dsq)
{
	return dsq < PRELOAD_MAX_LLCS || dsq >> 32 == PRELOAD_DSQ_CPU(0) >> 32;
}

/*
 * Move @p from where the override has it, its own queue @foreign or (0) nowhere that the
 * kernel knows, to the default's queue, and wake an idle CPU for it.
 */
static void rescue(struct task_struct *p, s32 cpu, u64 foreign)
{
	s32 idle = p->nr_cpus_allowed == 1 ? -1 : idle_cpu_near(p, cpu);
	struct bpf_iter_scx_dsq it;

	preload_count_rare(bypass_rescue);
	if (!foreign) {
		enqueue_task(p, idle >= 0 ? idle : cpu, 0);
	} else {
		u64 slice = slice_ns, key = task_key(p, cpu, slice, 0);
		u64 dsq = task_queue(p, idle >= 0 ? idle : cpu);

		if (!bpf_iter_scx_dsq_new(&it, foreign, 0)) {
			scx_bpf_dsq_move_set_slice(&it, slice);
			scx_bpf_dsq_move_set_vtime(&it, key);
			scx_bpf_dsq_move_vtime(&it, p, dsq, 0);
		}
		bpf_iter_scx_dsq_destroy(&it);
	}
	if (idle >= 0)
		scx_bpf_kick_cpu(idle, PRELOAD_KICK_IDLE);
}

/*
 * Bypass began: take what waits on @cpu's run queue out of the hands of the override.
 * The list has those that wait longest first; those of this regime end the walk.
 */
__noinline void drain(s32 cpu)
{
	const struct rq *rq = rq_of(cpu);
	const struct list_head *at;
	u32 n;

	if (!rq)
		return;
	at = rq->scx.runnable_list.next;
	bpf_for(n, 0, DRAIN_BATCH) {
		const struct task_struct *task = runnable_task(at);
		const struct scx_dispatch_q *waits;
		struct task_struct *p;

		if (at == &rq->scx.runnable_list || is_of_this_regime(task))
			return;
		at = task->scx.runnable_node.next;
		waits = task->scx.dsq;
		if (waits && ((waits->id & PRELOAD_DSQ_BUILTIN) || is_own_queue(waits->id)))
			continue;
		p = bpf_task_from_pid(task->pid);
		if (!p)
			continue;
		rescue(p, cpu, waits ? waits->id : 0);
		bpf_task_release(p);
	}
}

/*
 * After bypass began or ended, until all that waited then has run: the first of those
 * runs next on @cpu. Returns whether there was one.
 */
bool dispatch_before_change(s32 cpu)
{
	struct preload_cpu *c = &preload_cpus[cpu & (PRELOAD_MAX_CPUS - 1)];
	const struct task_struct *oldest;
	u16 seq = preload_bypass.seq;
	const struct rq *rq;

	if (c->settled == seq)
		return false;
	rq = rq_of(cpu);
	if (!rq)
		return false;
	if (preload_bypass.on)
		drain(cpu);
	oldest = longest_waiting(rq);
	if (oldest && !is_of_this_regime(oldest))
		return dispatch_oldest(cpu);
	c->settled = seq;
	return false;
}
