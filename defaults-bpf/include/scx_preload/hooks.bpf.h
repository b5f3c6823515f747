/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The hooks of scx_preload: the decisions of a scheduler, one function each.
 *
 * hook_<what>() is weak in the defaults. Define it in your own object, link
 * that with the defaults (`scx_preload link`), and yours is called instead. The
 * default decision stays available to you as dfl_<what>(), so that an override
 * can handle its own case and leave the rest:
 *
 *	s32 hook_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
 *	{
 *		return mine(p) ? my_cpu(p) : dfl_pick_idle_cpu(p, prev_cpu, wake_flags);
 *	}
 *
 * Include vmlinux.h before this file. Do not declare hooks yourself, do not
 * make yours weak or static, and do not call a hook from a hook: call dfl_*().
 *
 * Every hook runs in the BPF program of the callback that asks it. Unless its
 * text says "may sleep" that is with a run queue lock or a task's pi_lock held
 * and preemption off. "May call" names the kfuncs beyond those that any
 * callback may call (scx_bpf_task_*(), scx_bpf_dsq_nr_queued(),
 * scx_bpf_dsq_peek(), scx_bpf_kick_cpu(), scx_bpf_now(), scx_bpf_cpuperf_*(),
 * idle masks and bpf_cpumask_*()).
 *
 * A result out of range never reaches the kernel: it is counted under the
 * hook's name (`scx_preload status`, column BAD) and replaced as the hook's
 * text says. Too many of them, and the hook is not asked for some time: see
 * bypass.bpf.h.
 *
 * Virtual time is in nanoseconds of CPU time at the default weight of 100.
 */
#ifndef SCX_PRELOAD_HOOKS_BPF_H
#define SCX_PRELOAD_HOOKS_BPF_H

#include <bpf/bpf_helpers.h>

#include "contract.bpf.h"

/* libbpf before 1.4 does not have them. */
#ifndef __arg_trusted
#define __arg_trusted __attribute__((btf_decl_tag("arg:trusted")))
#endif
#ifndef __arg_untrusted
#define __arg_untrusted __attribute__((btf_decl_tag("arg:untrusted")))
#endif
#ifndef __arg_nullable
#define __arg_nullable __attribute__((btf_decl_tag("arg:nullable")))
#endif
#ifndef __arg_nonnull
#define __arg_nonnull __attribute__((btf_decl_tag("arg:nonnull")))
#endif

/*
 * A declaration decides the binding of the definition that follows it. The
 * defaults' definitions, and their calls before linking, have to be weak; an
 * author's have to be strong.
 */
#ifdef PRELOAD_DEFAULTS
#define __preload_hook __weak
#else
#define __preload_hook
#endif

/* Index of each hook's counters; the enumerators are the hooks' names. */
enum preload_hook {
	HOOK_PICK_IDLE_CPU,
	HOOK_LEAVE_LLC,
	HOOK_TASK_QUEUE,
	HOOK_TASK_SLICE,
	HOOK_TASK_VTIME,
	HOOK_TASK_CHARGE,
	HOOK_TASK_PREEMPT,
	HOOK_STEAL_LLC,
	HOOK_BALANCE_LLC,
	HOOK_CPU_CAPACITY,
	HOOK_CPU_PRIORITY,
	HOOK_CPU_PERF,
	HOOK_INIT,
	HOOK_EXIT,
	HOOK_INIT_TASK,
	HOOK_CPU_ONLINE,
	HOOK_CPU_OFFLINE,
	HOOK_DUMP,
	HOOK_ENQUEUE,
	HOOK_DISPATCH,
	HOOK_BYPASS,
	HOOK_MAY_MIGRATE,
	PRELOAD_NR_HOOKS,
};

/**
 * hook_pick_idle_cpu() - find an idle CPU for a task that wakes up
 * @p: the task
 * @prev_cpu: the CPU that it ran on last; may be one that it may no longer use
 * @wake_flags: SCX_WAKE_*. When asked from enqueue 0, or PRELOAD_WAKE_CORE: @p runs on
 *	@prev_cpu alone, but a core that is better for it idles; without a CPU it goes on
 *
 * When: from ops.select_cpu() on each wakeup, fork and exec of a task that may
 * use more than one CPU; from ops.enqueue() for a wakeup that skipped
 * select_cpu (a queued remote wakeup, a task allowed on one CPU only) and for a
 * task that could run elsewhere when its slice is over or RT takes its CPU. With
 * PRELOAD_WAKE_CORE when the slice is over of a task that is alone, but shares its core
 * with one that has run for half a slice while a whole core idles that it may use, or that
 * is on a slow CPU while a core of fast ones idles: once in 34 ms for a core.
 * May call: scx_bpf_select_cpu_and(), scx_bpf_pick_idle_cpu(),
 * scx_bpf_test_and_clear_cpu_idle().
 * Returns: a CPU that was idle and that this call took out of the idle mask (as
 * those kfuncs do); the task is put on it at once. Negative: none; the task is
 * queued. A CPU that does not exist or that @p may not use counts as bad and
 * as none.
 * Default: dfl_pick_idle_cpu(): prev_cpu if its whole core is idle; within its LLC
 * a whole idle core, then prev_cpu, then any idle CPU; then the same in its node,
 * in the LLCs of other nodes by distance, and everywhere. A waker about to sleep
 * (SCX_WAKE_SYNC) in another LLC draws the task to an idle CPU of its own. Where
 * CPUs differ, a new task and one that used half a slice or more before it slept
 * look for an idle core of the fast ones first. A CPU that RT, deadline or interrupts
 * keep busy for a quarter of its time is left for another one. With PRELOAD_WAKE_CORE
 * only a wholly idle core will do: a fast one, else the nearest. Two hogs that share a core
 * while another idles have one each after two slices and ticks, or 34 ms later if the core
 * has just lost a third one.
 * Kernel: select_idle_sibling(), and smt_balance() with active_load_balance_cpu_stop(),
 * in kernel/sched/fair.c; scx_select_cpu_dfl() in kernel/sched/ext/idle.c.
 */
s32 __preload_hook hook_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu,
				      u64 wake_flags);
s32 dfl_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags);
#define PRELOAD_WAKE_CORE (1ULL << 32)

/**
 * hook_leave_llc() - trade a warm cache for a core of one's own
 * @p: the task
 * @prev_cpu: the CPU that it ran on last
 *
 * When: from dfl_pick_idle_cpu(), on a machine with SMT and more than one LLC,
 * when prev_cpu's LLC has no wholly idle core. Not for a fork: a new task leaves.
 * May call: scx_bpf_get_idle_cpumask() and its like.
 * Returns: true to look for a wholly idle core everywhere before an idle sibling
 * in prev_cpu's LLC is taken; false to stay.
 * Default: dfl_leave_llc(): false.
 * Kernel: select_idle_sibling() in kernel/sched/fair.c never leaves the LLC;
 * scx_select_cpu_dfl() in kernel/sched/ext/idle.c always does.
 */
bool __preload_hook hook_leave_llc(struct task_struct *p __arg_trusted, s32 prev_cpu);
bool dfl_leave_llc(struct task_struct *p __arg_trusted, s32 prev_cpu);

/**
 * hook_task_queue() - choose the queue that a task waits in
 * @p: the task; it may use @cpu
 * @cpu: the CPU that it is being enqueued on, or the idle one found for it
 *
 * When: from ops.enqueue(), for a task that may use more than one CPU.
 * May call: nothing more.
 * Returns: LLC index, 0..nr_llcs()-1, for that LLC's queue; or the id of a queue that
 * the override has from PRELOAD_OWN_QUEUES() in queues.bpf.h and that its
 * hook_dispatch() empties. It is sorted by hook_task_vtime() like the others. An LLC
 * that does not exist, or none of whose CPUs @p may use, and an id that is no queue
 * count as bad; @cpu's LLC is used.
 * Default: dfl_task_queue(): the LLC of @cpu.
 * Kernel: select_task_rq_fair() in kernel/sched/fair.c chooses a run queue.
 */
s64 __preload_hook hook_task_queue(struct task_struct *p __arg_trusted, s32 cpu);
s64 dfl_task_queue(struct task_struct *p __arg_trusted, s32 cpu);

/**
 * hook_task_slice() - choose how long a task may run before it is asked to yield
 * @p: the task
 * @cpu: the CPU that it will run on, or is queued near
 *
 * When: from ops.select_cpu() and ops.enqueue() for each task that is queued;
 * from ops.dispatch() when the running task goes on.
 * May call: nothing more.
 * Returns: nanoseconds. The tick ends a slice, so that it lasts up to one tick
 * (4 ms at 250 Hz) longer. PRELOAD_SLICE_INF: until it sleeps or is preempted. 0 and
 * everything else above PRELOAD_SLICE_MAX_NS count as bad; the rodata variable
 * slice_ns is used.
 * Default: dfl_task_slice(): slice_ns.
 * Kernel: sysctl_sched_base_slice and update_deadline() in kernel/sched/fair.c.
 */
u64 __preload_hook hook_task_slice(struct task_struct *p __arg_trusted, s32 cpu);
u64 dfl_task_slice(struct task_struct *p __arg_trusted, s32 cpu);
#define PRELOAD_SLICE_MAX_NS (1000ULL * 1000 * 1000)
#define PRELOAD_SLICE_INF (~0ULL)

/**
 * hook_task_vtime() - choose the place of a task in its queue
 * @p: the task
 * @vtime: virtual time that it has used, all charges included
 * @clock: virtual time of the queue: that of the task dispatched last
 * @enq_flags: SCX_ENQ_*; SCX_ENQ_WAKEUP says that it slept before. 0 when a
 *	running task asks whether it may go on
 *
 * When: from ops.enqueue() for each task that is queued; from ops.dispatch()
 * for the running task, to compare it with those that wait.
 * May call: nothing more.
 * Returns: virtual time, ns; the lowest of a queue runs first. It is the task's
 * place only: charges go on from @vtime. Any value is in range, but one more
 * than PRELOAD_VTIME_WINDOW_NS from @clock counts as bad and becomes @clock.
 * Default: dfl_task_vtime(): @vtime, for a task that slept at least one slice
 * before @clock, so that a sleeper is early but cannot save up time.
 * Kernel: place_entity() and the virtual deadline in kernel/sched/fair.c.
 */
u64 __preload_hook hook_task_vtime(struct task_struct *p __arg_trusted, u64 vtime, u64 clock,
				   u64 enq_flags);
u64 dfl_task_vtime(struct task_struct *p __arg_trusted, u64 vtime, u64 clock, u64 enq_flags);
#define PRELOAD_VTIME_WINDOW_NS (200ULL * 1000 * 1000 * 1000)

/**
 * hook_task_charge() - convert CPU time that a task used to virtual time
 * @p: the task
 * @cpu: the CPU that it used
 * @used: CPU time since the last charge, ns; at most PRELOAD_SLICE_MAX_NS
 *
 * When: from ops.enqueue() and ops.dispatch(), once for each stretch of time
 * that the task ran.
 * May call: nothing more.
 * Returns: virtual ns to add to the task's virtual time. More than
 * PRELOAD_VTIME_WINDOW_NS counts as bad; @used is charged. What the task's cgroup
 * is to get (cpu.weight) is applied to the result.
 * Default: dfl_task_charge(): @used * 100 / weight, scaled by the CPU's
 * capacity, so that a slow CPU's time costs less.
 * Kernel: calc_delta_fair() in kernel/sched/fair.c.
 */
u64 __preload_hook hook_task_charge(struct task_struct *p __arg_trusted, s32 cpu, u64 used);
u64 dfl_task_charge(struct task_struct *p __arg_trusted, s32 cpu, u64 used);

/**
 * hook_task_preempt() - decide whether a task that wakes up runs at once
 * @p: the task; no CPU was idle for it
 * @cpu: the CPU that it woke up on, which runs a task of this scheduler
 * @ahead: by how much @p's place is before that of the running task, virtual ns
 *
 * When: from ops.enqueue(), for a wakeup, if @ahead is more than 0.
 * May call: nothing more.
 * Returns: true to end the running task's slice and to run @p next on @cpu; false
 * to queue @p.
 * Default: dfl_task_preempt(): true from half a slice on. A task that sleeps more
 * than it runs is that far ahead; two that wake each other are not.
 * Kernel: wakeup_preempt_fair() in kernel/sched/fair.c.
 */
bool __preload_hook hook_task_preempt(struct task_struct *p __arg_trusted, s32 cpu, u64 ahead);
bool dfl_task_preempt(struct task_struct *p __arg_trusted, s32 cpu, u64 ahead);

/**
 * hook_steal_llc() - choose where a newly idle CPU looks for work
 * @cpu: the CPU; its own queue and that of its LLC are empty
 * @nth: 0 at the first question of this search, then 1, 2, …
 *
 * When: from ops.dispatch(), up to 2 * nr_llcs() times until a task is found.
 * May call: nothing more.
 * Returns: LLC index to take a task from; the CPU's own for none this time;
 * negative ends the search and the CPU idles. An LLC that does not exist counts
 * as bad and ends the search.
 * Default: dfl_steal_llc(): of the nearest LLCs with waiting tasks the one with
 * the most; if it has none for this CPU, all by distance.
 * Kernel: sched_balance_newidle() in kernel/sched/fair.c.
 */
s32 __preload_hook hook_steal_llc(s32 cpu, u32 nth);
s32 dfl_steal_llc(s32 cpu, u32 nth);

/**
 * hook_balance_llc() - choose an LLC to compare with, to even out waiting times
 * @cpu: the CPU, busy, about to choose its next task
 * @turn: counts the questions of this CPU
 *
 * When: from ops.dispatch(), every PRELOAD_BALANCE_INTERVAL dispatches of a CPU
 * on a machine with more than one LLC. If the first task of that LLC's queue is
 * behind in virtual time by more than a slice, the CPU takes it, and compares again
 * at its next dispatch.
 * May call: nothing more.
 * Returns: LLC index; negative or the CPU's own LLC: no comparison this time.
 * An LLC that does not exist counts as bad and means none.
 * Default: dfl_balance_llc(): the other LLCs in turn.
 * Kernel: sched_balance_rq() and find_busiest_queue() in kernel/sched/fair.c.
 */
s32 __preload_hook hook_balance_llc(s32 cpu, u32 turn);
s32 dfl_balance_llc(s32 cpu, u32 turn);
#define PRELOAD_BALANCE_INTERVAL 8

/**
 * hook_cpu_capacity() - say how fast a CPU is
 * @cpu: the CPU
 *
 * When: from ops.init() and ops.cpu_online(), for each CPU; may sleep. The
 * answers are kept for cpu_capacity() in topology.bpf.h.
 * May call: nothing more.
 * Returns: capacity relative to the fastest CPU, 1..1024 (SCX_CPUPERF_ONE).
 * Anything else counts as bad and becomes 1024.
 * Default: dfl_cpu_capacity(): the kernel's, scx_bpf_cpuperf_cap().
 * Kernel: arch_scale_cpu_capacity(), capacity_of() in kernel/sched/fair.c.
 */
u64 __preload_hook hook_cpu_capacity(s32 cpu);
u64 dfl_cpu_capacity(s32 cpu);

/**
 * hook_cpu_priority() - rank a CPU among those of the same capacity
 * @cpu: the CPU
 *
 * When: as hook_cpu_capacity(). The answers are kept for cpu_priority() in
 * topology.bpf.h.
 * May call: nothing more.
 * Returns: 0..65535; what counts is the order. Anything else counts as bad and
 * becomes 0.
 * Default: dfl_cpu_priority(): the kernel's, sched_core_priority, where firmware
 * tells which cores boost highest (Intel ITMT, AMD preferred cores); else 0.
 * Kernel: arch_asym_cpu_priority(), sched_asym_prefer() in kernel/sched/fair.c.
 */
s32 __preload_hook hook_cpu_priority(s32 cpu);
s32 dfl_cpu_priority(s32 cpu);

/**
 * hook_cpu_perf() - choose how fast a CPU is to run
 * @cpu: the CPU, which runs a task of this scheduler
 * @util: part of its time that it was busy lately, at the speed that it had:
 *	0..1024 (SCX_CPUPERF_ONE); half of it is older than 32 ms
 *
 * When: from ops.tick().
 * May call: nothing more.
 * Returns: performance target for cpufreq, 1..1024 of the CPU's own maximum. 0: leave
 * it as it is. More counts as bad and becomes 1024.
 * Default: dfl_cpu_perf(): @util while the CPU's governor is schedutil, which adds
 * its own quarter of headroom; 0 with any other governor, or none, as these
 * decide by themselves.
 * Kernel: sugov_get_util() in kernel/sched/cpufreq_schedutil.c. It takes a CPU for
 * fully busy while a sched_ext scheduler does not say otherwise.
 */
u32 __preload_hook hook_cpu_perf(s32 cpu, u32 util);
u32 dfl_cpu_perf(s32 cpu, u32 util);

/**
 * hook_init() - prepare an override's own data
 *
 * When: from ops.init(), after topology and queues are there and before any task
 * is scheduled; may sleep. Once a load, and again with what data there is whenever
 * the scheduler comes back after another one: what exists then is no error.
 * May call: scx_bpf_create_dsq().
 * Returns: 0, or a negative errno, which refuses the load and is shown to the
 * user.
 * Default: dfl_init(): nothing.
 * Kernel: init_sched_fair_class() in kernel/sched/fair.c.
 */
s32 __preload_hook hook_init(void);
s32 dfl_init(void);

/**
 * hook_exit() - last words of an override
 * @ei: why: kind, exit_code; strings need bpf_probe_read_kernel_str()
 *
 * When: from ops.exit(), once, however the scheduler ended; may sleep.
 * May call: nothing more.
 * Default: dfl_exit(): nothing; kind and code are recorded for `status` anyway.
 * Kernel: scx_root_disable() in kernel/sched/ext/ext.c.
 */
void __preload_hook hook_exit(struct scx_exit_info *ei __arg_trusted);
void dfl_exit(struct scx_exit_info *ei __arg_trusted);

/**
 * hook_init_task() - prepare a task that the scheduler sees for the first time
 * @p: the task
 * @vtime: virtual time that it starts with: its LLC's clock
 *
 * When: from ops.init_task(), on fork and, for the tasks that exist already,
 * when the scheduler is loaded; may sleep.
 * May call: nothing more.
 * Returns: virtual time to start with, ns. More than PRELOAD_VTIME_WINDOW_NS
 * from @vtime counts as bad and becomes @vtime. There is no failure: a fork must
 * not fail because of a scheduling policy.
 * Default: dfl_init_task(): @vtime.
 * Kernel: task_fork_fair(), PLACE_DEADLINE_INITIAL in kernel/sched/fair.c.
 */
u64 __preload_hook hook_init_task(struct task_struct *p __arg_trusted, u64 vtime);
u64 dfl_init_task(struct task_struct *p __arg_trusted, u64 vtime);

/**
 * hook_cpu_online() - a CPU has come up
 * @cpu: the CPU; the topology accessors know it already
 *
 * When: from ops.cpu_online(); may sleep.
 * May call: scx_bpf_create_dsq().
 * Default: dfl_cpu_online(): nothing.
 * Kernel: sched_cpu_activate() in kernel/sched/core.c.
 */
void __preload_hook hook_cpu_online(s32 cpu);
void dfl_cpu_online(s32 cpu);

/**
 * hook_cpu_offline() - a CPU is going down
 * @cpu: the CPU; llc_cpumask() leaves it out already
 *
 * When: from ops.cpu_offline(); may sleep.
 * May call: scx_bpf_create_dsq().
 * Default: dfl_cpu_offline(): nothing.
 * Kernel: sched_cpu_deactivate() in kernel/sched/core.c.
 */
void __preload_hook hook_cpu_offline(s32 cpu);
void dfl_cpu_offline(s32 cpu);

/**
 * hook_dump() - add lines to the kernel's debug dump
 *
 * When: from ops.dump(), when the scheduler dies of an error or a person asks
 * with sysrq-D.
 * May call: scx_bpf_dump_bstr().
 * Default: dfl_dump(): the length of each LLC's queue and its clock.
 * Kernel: print_cfs_stats() in kernel/sched/fair.c.
 */
void __preload_hook hook_dump(void);
void dfl_dump(void);

/**
 * hook_enqueue() - replace the whole of ops.enqueue()
 * @p: the task
 * @enq_flags: SCX_ENQ_*
 *
 * When: from ops.enqueue(). Where it is overridden the hooks that ops.enqueue() asks
 * are asked by dfl_enqueue() only.
 * May call: scx_bpf_dsq_insert(), scx_bpf_dsq_insert_vtime(), scx_bpf_select_cpu_and(),
 * scx_bpf_pick_idle_cpu() and its like.
 * Must insert @p into one queue: a CPU's local one, one of PRELOAD_OWN_QUEUES(), or by
 * dfl_enqueue() one of the defaults'. Or keep it in data of its own, for
 * hook_dispatch() to insert. While bypassed both are taken out of its hands: later it
 * finds tasks that have run already, and may insert them all the same, as the kernel
 * lets nobody run twice.
 * Default: dfl_enqueue(): the place that hook_pick_idle_cpu() gives, else a queue of
 * the LLC or of the CPU.
 * Kernel: enqueue_task_fair() in kernel/sched/fair.c; ops.enqueue() in
 * kernel/sched/ext/internal.h.
 */
void __preload_hook hook_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags);
void dfl_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags);

/**
 * hook_dispatch() - replace the whole of ops.dispatch()
 * @cpu: the CPU, whose local queue is empty
 * @prev: the task that runs on it, or NULL; it may go on if it is
 *	SCX_TASK_QUEUED in @scx.flags and gets a new @scx.slice
 *
 * When: from ops.dispatch(), where it is overridden.
 * May call: scx_bpf_dsq_move_to_local(), scx_bpf_dsq_move(), scx_bpf_dsq_insert().
 * Must end with dfl_dispatch() if nothing else is found: tasks that may use one CPU
 * only wait in the defaults' queues whatever hook_task_queue() says. For a queue of
 * one's own dfl_dispatch_with() is often all that is needed: it takes the earliest of
 * @dsq and of what dfl_dispatch() would take.
 * Default: dfl_dispatch(): the first of the CPU's queue, of its LLC's, of another LLC's
 * where tasks have waited longer, or @prev, whichever is earliest.
 * Kernel: pick_next_task_fair(), sched_balance_newidle() in kernel/sched/fair.c;
 * ops.dispatch() in kernel/sched/ext/internal.h.
 */
void __preload_hook hook_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable);
void dfl_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable);
void dfl_dispatch_with(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable, u64 dsq);

/**
 * hook_bypass() - be told that bypass has begun or ended
 * @reason: enum preload_bypass_reason in bypass.bpf.h; PRELOAD_BYPASS_NONE when it has
 *	ended
 *
 * When: from a timer, up to 125 ms after the change, with no lock held. No other hook
 * of placement, order or balance is asked while bypassed.
 * May call: nothing more.
 * Default: dfl_bypass(): nothing.
 * Kernel: ops.cpu_release() and its like tell of other losses; of the kernel's own
 * bypass, scx_bypass() in kernel/sched/ext/ext.c, nobody is told.
 */
void __preload_hook hook_bypass(u32 reason);
void dfl_bypass(u32 reason);

/**
 * hook_may_migrate() - say whether a task may be moved to another LLC
 * @p: the task, which waits in another LLC's queue, or runs there and shares its core
 * @cpu: the CPU that would run it; @p may use it
 *
 * When: from ops.dispatch(), where it is overridden, when a newly idle CPU steals and
 * when a busy one takes a task that is behind: for the first PRELOAD_MIGRATE_LOOKS tasks
 * of the queue, until it says yes. From ops.enqueue(), when dfl_pick_idle_cpu() with
 * PRELOAD_WAKE_CORE has found a core in another LLC. Not for a task that is overdue, nor
 * for one that is to have a fast core, nor for one that hook_pick_idle_cpu() gives an
 * idle CPU as it wakes up or was preempted.
 * May call: nothing more.
 * Returns: true to run @p on @cpu next; false to leave it where it is.
 * Default: dfl_may_migrate(): true.
 * Kernel: can_migrate_task() and task_hot() in kernel/sched/fair.c.
 */
bool __preload_hook hook_may_migrate(struct task_struct *p __arg_trusted, s32 cpu);
bool dfl_may_migrate(struct task_struct *p __arg_trusted, s32 cpu);
#define PRELOAD_MIGRATE_LOOKS 8

#endif
