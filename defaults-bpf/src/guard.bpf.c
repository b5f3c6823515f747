// SPDX-License-Identifier: GPL-2.0-only
/*
 * The causes of soft bypass: results out of range, time spent in overrides, tasks that wait
 * too long, a request of the override. bypass.bpf.c ends it and moves the waiting tasks.
 *
 * Without overrides, the conditions are constants and the verifier drops all of this code.
 */
#include "vmlinux.h"

#include "guard.bpf.h"
#include "rq.bpf.h"
#include "settings.bpf.h"
#include "ticks.bpf.h"

char _license[] SEC("license") = "GPL";

/* Ticks over which the time in hooks is summed up: 1 s at 250 Hz. */
#define SLOW_WINDOW 250

/* How long calls are timed on a suspicion, ns: with it, slow comes before a stall does. */
#define TIMED_WINDOW (NSEC_PER_SEC / 2)

struct preload_bypass preload_bypass __attribute__((aligned(64)));

/* Bad and slow results on a CPU. */
struct faults {
	u64 second; /* start of the second, ns */
	u64 bad; /* results out of range in it */
	u64 window; /* start of the window, jiffies */
	u64 ticks; /* that passed in hooks in it */
	u64 whole; /* those of them that a call took whole */
	u64 hook; /* of the last such call */
	u64 timed_from; /* since when calls are timed, ns */
	u64 spent; /* time that they took, ns */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct faults);
} preload_faults SEC(".maps");

void kick_all(void);

/* After a change, tasks may wait on DSQs that no CPU reads: all CPUs have to dispatch. */
__noinline void kick_all(void)
{
	s32 cpu;

	bpf_for(cpu, 0, nr_cpu_ids())
		scx_bpf_kick_cpu(cpu, PRELOAD_KICK_PREEMPT);
}

/*
 * Begin soft bypass, or end it (PRELOAD_BYPASS_NONE). If several CPUs try, one succeeds.
 * The flag is set last: a CPU that sees it sees the rest.
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
		b->until = BYPASS_FOREVER;
	} else if (change->reason) {
		times = ++b->times;
		b->until = bypass_max && times >= bypass_max
				   ? BYPASS_FOREVER
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

/* Begin soft bypass because of @hook on this CPU. */
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

/* The result of @hook was out of range. */
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
 * A tick passed during a call of @hook that began at @from, jiffies. The more time the calls
 * take, the more often that happens: over a window, the ticks add up to the time spent. But
 * tasks often lose their CPU at a tick, just before another CPU advances jiffies: only the
 * ticks after a call's first are certain. The others are a suspicion, which timing all calls
 * confirms or not.
 */
void tick_in(u32 hook, u64 from)
{
	u32 zero = 0;
	struct faults *faults = bpf_map_lookup_elem(&preload_faults, &zero);
	u64 now = bpf_jiffies64();

	if (!faults || !bypass_slow_percent || preload_bypass.on)
		return;
	if (now - faults->window > SLOW_WINDOW) {
		faults->window = from;
		faults->ticks = 0;
		faults->whole = 0;
	}
	faults->ticks += now - from;
	faults->whole += now - from - 1;
	faults->hook = hook;
	if (faults->whole * 100 > SLOW_WINDOW * bypass_slow_percent) {
		faults->whole = 0;
		blame(PRELOAD_BYPASS_SLOW, hook);
	} else if (faults->ticks * 100 > SLOW_WINDOW * bypass_slow_percent) {
		faults->ticks = 0;
		preload_bypass.timed = 1;
	}
}

/* A call of @hook began at @from_ns and has ended. */
void spent_in(u32 hook, u64 from_ns)
{
	u32 zero = 0;
	struct faults *faults = bpf_map_lookup_elem(&preload_faults, &zero);
	u64 now = bpf_ktime_get_ns();

	if (!faults || preload_bypass.on)
		return;
	if (now - faults->timed_from > 2 * TIMED_WINDOW) {
		faults->timed_from = from_ns;
		faults->spent = 0;
	}
	faults->spent += now - from_ns;
	if (faults->spent * 100 > TIMED_WINDOW * bypass_slow_percent) {
		preload_bypass.timed = 0;
		faults->spent = 0;
		blame(PRELOAD_BYPASS_SLOW, hook);
	} else if (now - faults->timed_from > TIMED_WINDOW) {
		preload_bypass.timed = 0;
		faults->timed_from = 0;
	}
}

/*
 * Do calls explain that a task waits on @cpu? They would be found slow soon, and to say so
 * helps more than the name of the first task that they held up.
 */
static bool is_slow(s32 cpu, struct bypass_change *change)
{
	u32 zero = 0;
	const struct faults *faults = bpf_map_lookup_percpu_elem(&preload_faults, &zero, cpu);
	u64 age;

	if (!faults || !bypass_slow_percent)
		return false;
	age = bpf_jiffies64() - faults->window;
	if (age > SLOW_WINDOW || faults->whole < SLOW_WINDOW / 10 ||
	    faults->whole * 100 < age * bypass_slow_percent)
		return false;
	change->reason = PRELOAD_BYPASS_SLOW;
	change->cpu = cpu;
	change->hook = faults->hook;
	return true;
}

/*
 * Has the longest waiting task of @cpu's run queue waited for too long? A task of low weight
 * or beside many others may wait longer. A task on a built-in DSQ of the kernel is not the
 * override's fault, nor is a CPU that RT keeps busy.
 *
 * Reads without a lock. A task that has exited meanwhile reads as zeros or stale values; the
 * list is read again at the end.
 */
__noinline bool is_stalled(s32 cpu, struct bypass_change *change __arg_nonnull)
{
	u64 bound = bypass_stall_ms * NSEC_PER_MSEC, waited;
	const struct task_struct *oldest, *curr;
	const struct scx_dispatch_q *dsq;
	const struct rq *rq = cpu_rq(cpu);
	u32 weight;

	if (!rq || !bound)
		return false;
	oldest = longest_waiting(rq);
	curr = rq->curr;
	if (!oldest || (curr && curr->prio < MAX_RT_PRIO))
		return false;
	dsq = oldest->scx.dsq;
	if (dsq && (dsq->id & PRELOAD_DSQ_BUILTIN))
		return false;
	waited = waited_ns(oldest);
	weight = task_weight(oldest);
	if (weight < PRELOAD_WEIGHT_ONE)
		bound = bound * PRELOAD_WEIGHT_ONE / weight;
	bound = max(bound, 4 * rq->scx.nr_running * slice_ns);
	bound = min(bound, 4 * NSEC_PER_SEC);
	if (waited < bound || longest_waiting(rq) != oldest)
		return false;
	if (is_slow(cpu, change))
		return true;
	change->reason = PRELOAD_BYPASS_STALL;
	change->cpu = cpu;
	change->pid = oldest->pid;
	change->waited = waited;
	bpf_probe_read_kernel_str(change->why.text, sizeof(oldest->comm), oldest->comm);
	return true;
}

/* For a dispatch that is about to run a stalled task before the watch has seen it. */
void report_stall(s32 cpu)
{
	struct bypass_change change = {};

	if (!preload_bypass.on && is_stalled(cpu, &change))
		bypass_change(&change);
}
