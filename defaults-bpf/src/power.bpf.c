// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPU frequency. The governor schedutil asks the scheduler how busy a CPU is, and always
 * runs it at the highest frequency if a sched_ext scheduler sets no target.
 *
 * PELT of the fair class stands still under sched_ext. The tick finds a CPU busy in
 * proportion to its busy time, and the kernel accounts idle time at ticks; the rest is the
 * utilization, averaged like PELT with a half-life of 32 ms, without work at switches. The
 * share of RT, deadline and interrupts is left out: schedutil adds it.
 *
 * An idle CPU has no tick. A timer lowers its target, as it holds up the frequency of all that
 * share its clock. The kernel's counterpart is the update of blocked load by idle balancing,
 * nohz_balancer_kick() in kernel/sched/fair.c.
 */
#include "vmlinux.h"

#include "lifecycle.bpf.h"
#include "power.bpf.h"
#include "rq.bpf.h"
#include "ticks.bpf.h"

char _license[] SEC("license") = "GPL";

/* 32 ms / ln 2 */
#define TAU_NS (46 * NSEC_PER_MSEC)

/* The average of a CPU starts over after this time without a tick of a sched_ext task. */
#define TICK_UNUSED_NS (1000 * NSEC_PER_MSEC)

/* After this time without our tasks, a CPU's target falls; the timer's period. */
#define LOWER_NS (100 * NSEC_PER_MSEC)

/* Smaller changes of the target are not worth a call. */
#define STEP (1024 / 32)

struct cpu_load {
	u64 at; /* time of the last tick, ns */
	u64 idle; /* idle_time() at that tick */
	u64 util; /* 0..1024 */
	bool lowered; /* the target is for an idle CPU, or the governor does not ask */
};

/* The timer runs as long as user space holds a reference to the map: the loader pins it. */
struct lowering {
	struct bpf_timer timer;
	bool armed;
	bool all; /* the scheduler starts: the kernel has set the highest target everywhere */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct cpu_load);
} preload_loads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct lowering);
} preload_lowering SEC(".maps");

extern const struct kernel_cpustat kernel_cpustat __ksym __weak;
extern struct cpufreq_policy *cpufreq_cpu_data __ksym __weak;

/* Does @cpu's governor follow the scheduler's target? */
static bool governor_asks(s32 cpu)
{
	struct cpufreq_policy **slot = NULL, *policy;
	char name[9] = {};

	if (bpf_ksym_exists(&cpufreq_cpu_data))
		slot = bpf_per_cpu_ptr(&cpufreq_cpu_data, cpu);
	if (!slot || !*slot)
		return false;
	policy = bpf_rdonly_cast(*slot, bpf_core_type_id_kernel(struct cpufreq_policy));
	return !bpf_probe_read_kernel(name, sizeof(name), policy->governor->name) &&
	       !__builtin_memcmp(name, "schedutil", sizeof(name));
}

u32 dfl_cpu_perf(s32 cpu, u32 util)
{
	preload_count_dfl(HOOK_CPU_PERF);
	return governor_asks(cpu) ? util ?: 1 : 0;
}

u32 __weak hook_cpu_perf(s32 cpu, u32 util)
{
	return dfl_cpu_perf(cpu, util);
}

bool set_perf(s32 cpu, u32 util);
bool lower_perf(s32 cpu, bool even_if_lowered);

/* Call the hook, and apply its result. Returns whether there was any. */
__noinline bool set_perf(s32 cpu, u32 util)
{
	const struct rq *rq;
	u32 target, now;

	preload_count_rare(hooks[HOOK_CPU_PERF].calls);
	target = hook_cpu_perf(cpu, util);
	if (!target)
		return false;
	if (target > 1024) {
		preload_count_rare(hooks[HOOK_CPU_PERF].bad);
		target = 1024;
	}
	rq = cpu_rq(cpu);
	if (!rq)
		return true;
	now = rq->scx.cpuperf_target;
	if (target == now || (target < 1024 && target + STEP > now && now + STEP > target))
		return true;
	preload_count_rare(cpuperf_set);
	scx_bpf_cpuperf_set(cpu, target);
	return true;
}

/* Lower @cpu's target if it has no task of ours. Returns whether it has, and may need it later. */
__noinline bool lower_perf(s32 cpu, bool even_if_lowered)
{
	u32 zero = 0;
	struct cpu_load *load = bpf_map_lookup_percpu_elem(&preload_loads, &zero, cpu);
	const struct rq *rq = cpu_rq(cpu);

	if (!load || !rq || (load->lowered && !even_if_lowered))
		return false;
	if (rq->scx.nr_running || scx_bpf_now() - load->at < LOWER_NS)
		return true;
	load->lowered = true;
	set_perf(cpu, 0);
	return false;
}

static void start_lowering(struct lowering *l)
{
	l->armed = true;
	bpf_timer_start(&l->timer, LOWER_NS, 0);
}

static int lower_idle(void *map, u32 *key, struct lowering *l)
{
	bool all = l->all, again = false;
	s32 cpu;

	/* The scheduler has ended; ops.init() starts the timer. */
	if (preload_exit_info.kind)
		return 0;
	l->armed = l->all = false;
	bpf_for(cpu, 0, nr_cpu_ids()) {
		if (lower_perf(cpu, all))
			again = true;
	}
	if (again)
		start_lowering(l);
	return 0;
}

static struct lowering *the_lowering(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&preload_lowering, &zero);
}

/* Called for each start: it is no error that an earlier one has initialized the timer. */
void power_init(void)
{
	struct lowering *l = the_lowering();

	if (!l || !has_timers())
		return;
	bpf_timer_init(&l->timer, &preload_lowering, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&l->timer, lower_idle);
	l->all = true;
	start_lowering(l);
}

/* Tell the governor of @cpu's utilization. */
static void set_busy(s32 cpu, struct cpu_load *load)
{
	const struct rq *rq = cpu_rq(cpu);
	u64 others = rq ? util_of_others(rq) : 0;
	struct lowering *l;

	load->lowered = !set_perf(cpu, load->util > others ? load->util - others : 0);
	if (load->lowered || !has_timers())
		return;
	l = the_lowering();
	if (l && !l->armed)
		start_lowering(l);
}

/* Idle time of @cpu since boot, ns, as of its last tick. */
static u64 idle_time(s32 cpu)
{
	const struct kernel_cpustat *stat = NULL;

	if (bpf_ksym_exists(&kernel_cpustat))
		stat = bpf_per_cpu_ptr(&kernel_cpustat, cpu);
	return stat ? stat->cpustat[CPUTIME_IDLE] + stat->cpustat[CPUTIME_IOWAIT] : 0;
}

/* The average @util after @time at a utilization of @now. */
static u64 averaged(u64 util, u64 now, u64 time)
{
	time = min(time, TAU_NS);
	return util - util * time / TAU_NS + now * time / TAU_NS;
}

/* A tick found @cpu busy. Returns its busy time since the last such tick, ns. */
__noinline u64 power_tick(s32 cpu)
{
	u32 zero = 0;
	struct cpu_load *load = bpf_map_lookup_elem(&preload_loads, &zero);
	u64 now = scx_bpf_now(), idle_now = idle_time(cpu), busy, idle, util;

	if (!load)
		return 0;
	idle = min(idle_now - load->idle, TICK_UNUSED_NS);
	busy = min(now - load->at, TICK_UNUSED_NS);
	busy = busy > idle ? busy - idle : 0;
	load->at = now;
	load->idle = idle_now;
	util = averaged(load->util, 0, idle);
	util = averaged(util, scx_bpf_cpuperf_cur(cpu), busy);
	load->util = min(util, 1024);
	set_busy(cpu, load);
	return min(busy, TICK_MAX_NS);
}
