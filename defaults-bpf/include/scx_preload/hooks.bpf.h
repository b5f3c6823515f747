/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The hooks of scx_preload: one function for each decision of the scheduler.
 *
 * hook_<what>() is a weak symbol in the defaults. Define it in your own object and link
 * that with the defaults (`scx_preload link`): your definition replaces the weak one. The
 * default decision remains available as dfl_<what>(), so an override can handle its own
 * case and leave the rest:
 *
 *	s32 hook_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
 *	{
 *		return mine(p) ? my_cpu(p) : dfl_pick_idle_cpu(p, prev_cpu, wake_flags);
 *	}
 *
 * Include vmlinux.h before this file. Do not declare hooks yourself, do not make your
 * definitions weak or static, and do not call a hook from a hook: call dfl_*().
 *
 * A hook runs in the BPF program of the callback that calls it: with a run queue lock or
 * the task's pi_lock held and preemption disabled, unless its text says "may sleep". "May
 * call" lists kfuncs in addition to those that every callback may call (scx_bpf_task_*(),
 * scx_bpf_dsq_nr_queued(), scx_bpf_dsq_peek(), scx_bpf_kick_cpu(), scx_bpf_now(),
 * scx_bpf_cpuperf_*(), idle masks and bpf_cpumask_*()).
 *
 * A result out of range never reaches the kernel: it is counted for the hook (`scx_preload
 * status`, column BAD) and replaced as the hook's text says. Too many of them start a soft
 * bypass, see bypass.bpf.h.
 *
 * Virtual time is in nanoseconds of CPU time at nice 0.
 */
#ifndef SCX_PRELOAD_HOOKS_BPF_H
#define SCX_PRELOAD_HOOKS_BPF_H

#include <bpf/bpf_helpers.h>

#include "contract.bpf.h"

/* Missing in libbpf before 1.4. */
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
 * The declaration sets the binding of the definition that follows it. The defaults need
 * weak definitions, and weak references before linking; an author's definitions have to
 * be strong.
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
 * hook_pick_idle_cpu() - find an idle CPU for a waking task
 * @p: the task
 * @prev_cpu: the CPU that it last ran on; may no longer be in its affinity mask
 * @wake_flags: SCX_WAKE_*. From ops.enqueue(): 0, or PRELOAD_WAKE_CORE: @p is the only
 *	runnable task on @prev_cpu and an idle core would suit it better; if no CPU is returned,
 *	it keeps running
 *
 * When: from ops.select_cpu() on each wakeup and fork of a task that may run on more than one
 * CPU (not on exec: the kernel does not ask); from ops.enqueue() for a wakeup that skipped
 * ops.select_cpu() (a queued remote wakeup, or a task that may run on one CPU only), and for
 * a task that could run elsewhere when its slice ends or RT preempts it. With
 * PRELOAD_WAKE_CORE when a task's slice ends, no other task is runnable on its CPU, and
 * either an SMT sibling has been running a task for half a slice while a core that the task
 * may use is wholly idle, or its CPU is slow while a fast core is wholly idle: at most once
 * per core in 34 ms.
 * May call: scx_bpf_select_cpu_and(), scx_bpf_pick_idle_cpu(),
 * scx_bpf_test_and_clear_cpu_idle().
 * Returns: an idle CPU that this call has removed from the idle mask (as these kfuncs do);
 * the task goes there. Negative: none; the task is queued. A CPU that does not exist, is
 * offline, is not in the affinity mask of @p, or is busy with tasks waiting on its local
 * DSQ counts as bad and as none.
 * Default: dfl_pick_idle_cpu(): @prev_cpu if its whole core is idle; within its LLC a
 * wholly idle core, then @prev_cpu, then any idle CPU; then the same in its node, in the
 * LLCs of other nodes by distance, and anywhere. A waker in another LLC that is about to
 * sleep (SCX_WAKE_SYNC) pulls the task to an idle CPU of its own LLC. Where CPUs differ, a
 * new task and one that used more than half a slice before it slept try an idle fast core
 * first. If RT, deadline tasks or interrupts keep a CPU busy for a quarter of its time,
 * another idle CPU is preferred. With PRELOAD_WAKE_CORE only a wholly idle core will do: a
 * fast one, else the nearest. Two hogs that share a core while another core is idle get a
 * core each after two slices and ticks, or 34 ms later if their core has just lost a third
 * hog.
 * Kernel: select_idle_sibling(), and smt_balance() with active_load_balance_cpu_stop(), in
 * kernel/sched/fair.c; scx_select_cpu_dfl() in kernel/sched/ext/idle.c.
 */
s32 __preload_hook hook_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu,
				      u64 wake_flags);
s32 dfl_pick_idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags);
#define PRELOAD_WAKE_CORE (1ULL << 32)

/**
 * hook_leave_llc() - decide whether to leave the LLC for a wholly idle core
 * @p: the task
 * @prev_cpu: the CPU that it last ran on
 *
 * When: from dfl_pick_idle_cpu(), on systems with SMT and more than one LLC, for a task
 * that may run on all CPUs, when no core of @prev_cpu's LLC is wholly idle. Not on fork: a
 * new task always leaves.
 * May call: scx_bpf_get_idle_cpumask() and the like.
 * Returns: true to look for a wholly idle core anywhere before an idle sibling in
 * @prev_cpu's LLC is taken; false to stay in the LLC, where the cache is warm.
 * Default: dfl_leave_llc(): false.
 * Kernel: select_idle_sibling() in kernel/sched/fair.c never leaves the LLC;
 * scx_select_cpu_dfl() in kernel/sched/ext/idle.c always does.
 */
bool __preload_hook hook_leave_llc(struct task_struct *p __arg_trusted, s32 prev_cpu);
bool dfl_leave_llc(struct task_struct *p __arg_trusted, s32 prev_cpu);

/**
 * hook_task_queue() - choose the DSQ that a task waits on
 * @p: the task; it may run on @cpu
 * @cpu: the CPU that it is being enqueued on, or the idle CPU found for it
 *
 * When: from ops.enqueue(), for a task that may run on more than one CPU now (its migration
 * can be disabled).
 * May call: no other kfuncs.
 * Returns: LLC index, 0..nr_llcs()-1, for that LLC's DSQ; or the id of a DSQ that the
 * override has from PRELOAD_OWN_QUEUES() in queues.bpf.h and that its hook_dispatch()
 * consumes. Such a DSQ is ordered by hook_task_vtime() like the others. An LLC that does
 * not exist or has no CPU in the affinity mask of @p, and an id that names no DSQ, count as
 * bad; @cpu's LLC is used. For @cpu's own LLC, a task that may not run on all CPUs of it
 * waits on a DSQ of one CPU instead: @cpu, or another one that serves its tasks better.
 * Default: dfl_task_queue(): the LLC of @cpu.
 * Kernel: select_task_rq_fair() in kernel/sched/fair.c chooses a run queue.
 */
s64 __preload_hook hook_task_queue(struct task_struct *p __arg_trusted, s32 cpu);
s64 dfl_task_queue(struct task_struct *p __arg_trusted, s32 cpu);

/**
 * hook_task_slice() - choose a task's time slice
 * @p: the task
 * @cpu: the CPU that it will run on, or is queued near
 *
 * When: from ops.select_cpu() and ops.enqueue() for each task that is inserted into a DSQ;
 * from ops.dispatch() when the running task may continue.
 * May call: no other kfuncs.
 * Returns: nanoseconds. The tick ends a slice, so it lasts up to one tick (4 ms at 250 Hz)
 * longer. PRELOAD_SLICE_INF: until the task sleeps or is preempted. 0 and any other value
 * above PRELOAD_SLICE_MAX_NS count as bad; the rodata variable slice_ns is used.
 * Default: dfl_task_slice(): slice_ns; less with more than 16 runnable tasks on @cpu, so that
 * they take turns within 16 * slice_ns, but at least slice_ns / 8. PRELOAD_SLICE_INF for a
 * task that is alone on a CPU of nohz_full=, until one has to wait for that CPU.
 * Kernel: sysctl_sched_base_slice and update_deadline() in kernel/sched/fair.c.
 */
u64 __preload_hook hook_task_slice(struct task_struct *p __arg_trusted, s32 cpu);
u64 dfl_task_slice(struct task_struct *p __arg_trusted, s32 cpu);
#define PRELOAD_SLICE_MAX_NS (1000ULL * 1000 * 1000)
#define PRELOAD_SLICE_INF (~0ULL)

/**
 * hook_task_vtime() - choose a task's key in its DSQ
 * @p: the task
 * @vtime: virtual time that it has used, including all charges
 * @clock: virtual time of the DSQ: that of the task dispatched last
 * @enq_flags: SCX_ENQ_*; SCX_ENQ_WAKEUP if it was asleep. 0 when the running task is
 *	compared with waiting tasks
 *
 * When: from ops.enqueue() for each task that is queued; from ops.dispatch() for the
 * running task, to compare it with waiting tasks.
 * May call: no other kfuncs.
 * Returns: virtual time, ns; the lowest on a DSQ runs first. It only orders the task:
 * charges continue from @vtime. Any value is in range, but one that is more than
 * PRELOAD_VTIME_WINDOW_NS from @clock counts as bad and becomes @clock.
 * Default: dfl_task_vtime(): @vtime, but for a waking task no earlier than one slice before
 * @clock: a sleeper runs early but cannot save up time.
 * Kernel: place_entity() and the virtual deadline in kernel/sched/fair.c.
 */
u64 __preload_hook hook_task_vtime(struct task_struct *p __arg_trusted, u64 vtime, u64 clock,
				   u64 enq_flags);
u64 dfl_task_vtime(struct task_struct *p __arg_trusted, u64 vtime, u64 clock, u64 enq_flags);
#define PRELOAD_VTIME_WINDOW_NS (3600ULL * 1000 * 1000 * 1000)

/**
 * hook_task_charge() - convert a task's CPU time to virtual time
 * @p: the task
 * @cpu: the CPU that it is on, where it ran last unless its affinity has since moved it
 * @used: CPU time since the last charge, ns; at most PRELOAD_SLICE_MAX_NS
 *
 * When: from ops.enqueue() and ops.dispatch(), when the task has to wait or may continue. Time
 * on CPUs that were idle when it woke up is charged with the next such period.
 * May call: no other kfuncs.
 * Returns: virtual ns to add to the task's virtual time. More than PRELOAD_VTIME_WINDOW_NS
 * counts as bad; @used is charged. The share of the task's cgroup (cpu.weight) is applied
 * to the result.
 * Default: dfl_task_charge(): @used * 1024 / weight, where the weight is the kernel's: 1024
 * at nice 0, 3 for SCHED_IDLE. Scaled by the CPU's capacity: time on a slow CPU costs less.
 * Kernel: calc_delta_fair() in kernel/sched/fair.c.
 */
u64 __preload_hook hook_task_charge(struct task_struct *p __arg_trusted, s32 cpu, u64 used);
u64 dfl_task_charge(struct task_struct *p __arg_trusted, s32 cpu, u64 used);

/**
 * hook_task_preempt() - decide whether a waking task preempts the running one
 * @p: the task; no idle CPU was found for it
 * @cpu: the CPU that it woke up on, which runs a task of this scheduler
 * @ahead: how far the key of @p is before that of the running task, virtual ns
 *
 * When: from ops.enqueue(), on a wakeup, if @ahead is more than 0. Not if the running task
 * is SCHED_IDLE and @p is not: @p preempts it. Nor for a SCHED_BATCH or SCHED_IDLE task
 * otherwise: it never preempts.
 * May call: no other kfuncs.
 * Returns: true to end the running task's slice and run @p next on @cpu; false to queue @p.
 * Default: dfl_task_preempt(): true if @ahead is half a slice or more. A task that sleeps
 * more than it runs gets that far ahead; two tasks that wake each other do not. Where more than
 * 16 tasks are runnable on @cpu, less in proportion: there, all get ahead slowly.
 * Kernel: wakeup_preempt_fair() in kernel/sched/fair.c.
 */
bool __preload_hook hook_task_preempt(struct task_struct *p __arg_trusted, s32 cpu, u64 ahead);
bool dfl_task_preempt(struct task_struct *p __arg_trusted, s32 cpu, u64 ahead);

/**
 * hook_steal_llc() - choose the LLC that a newly idle CPU takes a task from
 * @cpu: the CPU; its own DSQ and that of its LLC are empty
 * @nth: 0 for the first call of this search, then 1, 2, …
 *
 * When: from ops.dispatch(), up to 2 * nr_llcs() times until a task is found. Not for an
 * isolated CPU, see is_isolated(), which only runs what comes to it.
 * May call: no other kfuncs.
 * Returns: LLC index; the CPU's own LLC: none this time; negative: end the search, and the
 * CPU goes idle. An LLC that does not exist counts as bad and ends the search.
 * Default: dfl_steal_llc(): of the nearest LLCs with waiting tasks the one with the most;
 * if it has none for this CPU, all LLCs by distance.
 * Kernel: sched_balance_newidle() in kernel/sched/fair.c.
 */
s32 __preload_hook hook_steal_llc(s32 cpu, u32 nth);
s32 dfl_steal_llc(s32 cpu, u32 nth);

/**
 * hook_balance_llc() - choose the LLC that a busy CPU balances with
 * @cpu: the CPU, about to choose its next task
 * @turn: increases with each call for this CPU
 *
 * When: from ops.dispatch(), every PRELOAD_BALANCE_INTERVAL dispatches of a CPU on a system
 * with more than one LLC; not of an isolated CPU. If the first task on the returned LLC's DSQ is behind in virtual
 * time by more than a slice, the CPU takes it, and compares again at its next dispatch.
 * May call: no other kfuncs.
 * Returns: LLC index; negative or the CPU's own LLC: no comparison this time. An LLC that
 * does not exist counts as bad and as none.
 * Default: dfl_balance_llc(): the other LLCs, round robin.
 * Kernel: sched_balance_rq() and find_busiest_queue() in kernel/sched/fair.c.
 */
s32 __preload_hook hook_balance_llc(s32 cpu, u32 turn);
s32 dfl_balance_llc(s32 cpu, u32 turn);
#define PRELOAD_BALANCE_INTERVAL 8

/**
 * hook_cpu_capacity() - set a CPU's capacity
 * @cpu: the CPU
 *
 * When: from ops.init() and ops.cpu_online(), and from a workqueue after the kernel has built
 * new scheduling domains, for each CPU; may sleep. The results are cached for cpu_capacity()
 * in topology.bpf.h.
 * May call: no other kfuncs.
 * Returns: capacity relative to the fastest CPU, 1..1024 (SCX_CPUPERF_ONE). Any other value
 * counts as bad and becomes 1024.
 * Default: dfl_cpu_capacity(): the kernel's, scx_bpf_cpuperf_cap().
 * Kernel: arch_scale_cpu_capacity(), capacity_of() in kernel/sched/fair.c.
 */
u64 __preload_hook hook_cpu_capacity(s32 cpu);
u64 dfl_cpu_capacity(s32 cpu);

/**
 * hook_cpu_priority() - rank a CPU among those of the same capacity
 * @cpu: the CPU
 *
 * When: as hook_cpu_capacity(). The results are cached for cpu_priority() in
 * topology.bpf.h.
 * May call: no other kfuncs.
 * Returns: 0..65535; higher is preferred, and only the order matters. Any other value
 * counts as bad and becomes 0.
 * Default: dfl_cpu_priority(): the kernel's, sched_core_priority, where firmware reports
 * which cores boost highest (Intel ITMT, AMD preferred cores); else 0.
 * Kernel: arch_asym_cpu_priority(), sched_asym_prefer() in kernel/sched/fair.c.
 */
s32 __preload_hook hook_cpu_priority(s32 cpu);
s32 dfl_cpu_priority(s32 cpu);

/**
 * hook_cpu_perf() - choose a CPU's performance target
 * @cpu: the CPU, which runs a task of this scheduler, or has had none for a while
 * @util: share of the time that it was recently busy with such tasks, scaled by its speed at
 *	the time: 0..1024 (SCX_CPUPERF_ONE), with a half-life of 32 ms
 *
 * When: from ops.tick(), and once from a timer when a CPU for which the hook asked has had no
 * task for 100 ms, with @util 0. PREEMPT_RT has no such timers.
 * May call: no other kfuncs.
 * Returns: performance target for cpufreq, 1..1024 of the CPU's own maximum. 0: leave it
 * unchanged. More counts as bad and becomes 1024.
 * Default: dfl_cpu_perf(): @util if the CPU's governor is schedutil, which adds a quarter
 * as headroom; 0 with any other governor, or none, as these decide by themselves.
 * Kernel: sugov_get_util() in kernel/sched/cpufreq_schedutil.c. It treats a CPU as fully
 * busy until the sched_ext scheduler sets a target.
 */
u32 __preload_hook hook_cpu_perf(s32 cpu, u32 util);
u32 dfl_cpu_perf(s32 cpu, u32 util);

/**
 * hook_init() - set up an override's own data
 *
 * When: from ops.init(), after topology and DSQs exist and before any task is scheduled;
 * may sleep. Once per load, and again, with data as it was left, whenever the scheduler is
 * reattached after another one: it must not fail because data already exists.
 * May call: scx_bpf_create_dsq().
 * Returns: 0, or a negative errno, which fails the load and is shown to the user.
 * Default: dfl_init(): nothing.
 * Kernel: init_sched_fair_class() in kernel/sched/fair.c.
 */
s32 __preload_hook hook_init(void);
s32 dfl_init(void);

/**
 * hook_exit() - handle the end of the scheduler
 * @ei: exit info: kind, exit_code; strings need bpf_probe_read_kernel_str()
 *
 * When: from ops.exit(), once, however the scheduler ended; may sleep.
 * May call: no other kfuncs.
 * Default: dfl_exit(): nothing; kind and code are recorded for `scx_preload status` in any
 * case.
 * Kernel: scx_root_disable() in kernel/sched/ext/ext.c.
 */
void __preload_hook hook_exit(struct scx_exit_info *ei __arg_trusted);
void dfl_exit(struct scx_exit_info *ei __arg_trusted);

/**
 * hook_init_task() - set up a task that is new to the scheduler
 * @p: the task
 * @vtime: virtual time that it starts with: the clock of its LLC
 *
 * When: from ops.init_task(), on fork and, for existing tasks, when the scheduler is
 * attached; may sleep.
 * May call: no other kfuncs.
 * Returns: virtual time to start with, ns. More than PRELOAD_VTIME_WINDOW_NS from @vtime
 * counts as bad and becomes @vtime. The hook cannot fail: a fork must not fail because of a
 * scheduling policy.
 * Default: dfl_init_task(): @vtime.
 * Kernel: task_fork_fair(), PLACE_DEADLINE_INITIAL in kernel/sched/fair.c.
 */
u64 __preload_hook hook_init_task(struct task_struct *p __arg_trusted, u64 vtime);
u64 dfl_init_task(struct task_struct *p __arg_trusted, u64 vtime);

/**
 * hook_cpu_online() - handle a CPU that has come online
 * @cpu: the CPU; the topology accessors include it, and soon what it changes of others
 *
 * When: from ops.cpu_online(); may sleep.
 * May call: scx_bpf_create_dsq().
 * Default: dfl_cpu_online(): nothing.
 * Kernel: sched_cpu_activate() in kernel/sched/core.c.
 */
void __preload_hook hook_cpu_online(s32 cpu);
void dfl_cpu_online(s32 cpu);

/**
 * hook_cpu_offline() - handle a CPU that is going offline
 * @cpu: the CPU; llc_cpumask() no longer includes it
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
 * When: from ops.dump(), when the scheduler exits on an error or a user asks with sysrq-D.
 * May call: scx_bpf_dump_bstr().
 * Default: dfl_dump(): the length of each LLC's DSQ and its clock.
 * Kernel: print_cfs_stats() in kernel/sched/fair.c.
 */
void __preload_hook hook_dump(void);
void dfl_dump(void);

/**
 * hook_enqueue() - replace ops.enqueue() as a whole
 * @p: the task
 * @enq_flags: SCX_ENQ_*
 *
 * When: from ops.enqueue(). If it is overridden, only dfl_enqueue() calls the other hooks
 * of ops.enqueue().
 * May call: scx_bpf_dsq_insert(), scx_bpf_dsq_insert_vtime(), scx_bpf_select_cpu_and(),
 * scx_bpf_pick_idle_cpu() and the like.
 * Must insert @p into one DSQ: a CPU's local DSQ, one of PRELOAD_OWN_QUEUES(), or with
 * dfl_enqueue() one of the defaults'. Or keep it in data of its own, for hook_dispatch() to
 * insert. Soft bypass takes tasks from both: the override may later find tasks that have
 * run since, and may insert them anyway, as the kernel runs no task twice.
 * Default: dfl_enqueue(): the CPU that hook_pick_idle_cpu() returns, else the DSQ of the
 * LLC or of the CPU.
 * Kernel: enqueue_task_fair() in kernel/sched/fair.c; ops.enqueue() in
 * kernel/sched/ext/internal.h.
 */
void __preload_hook hook_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags);
void dfl_enqueue(struct task_struct *p __arg_trusted, u64 enq_flags);

/**
 * hook_dispatch() - replace ops.dispatch() as a whole
 * @cpu: the CPU, whose local DSQ is empty
 * @prev: the task that runs on it, or NULL; it may continue if it is SCX_TASK_QUEUED in
 *	@prev->scx.flags and gets a new @prev->scx.slice
 *
 * When: from ops.dispatch(), if it is overridden.
 * May call: scx_bpf_dsq_move_to_local(), scx_bpf_dsq_move(), scx_bpf_dsq_insert().
 * Must end with dfl_dispatch() if it finds no task: tasks that may run on one CPU only wait
 * on the defaults' DSQs, whatever hook_task_queue() returns. For an own DSQ
 * dfl_dispatch_with() is often enough: it takes the earliest of @dsq and of what
 * dfl_dispatch() would take.
 * Default: dfl_dispatch(): the earliest of @prev and the first tasks on the CPU's DSQs, on
 * its LLC's DSQ and, where tasks have waited longer, on another LLC's or CPU's. Of the latter,
 * PRELOAD_MIGRATE_LOOKS tasks are looked at, of eight CPUs if this one has nothing to do. A
 * task that has waited for overdue_ms (1 s) is switched to, the longest waiting first, at
 * least 256 every eight slices: a kernel thread, or one that others of its weight keep
 * waiting, for a slice; one of a crowd or of little weight for no longer than that takes, as
 * its turn by virtual time is still to come. With N tasks of equal weight on a CPU, it comes
 * after N ticks or N * slice_ns / 8, whichever is longer.
 * Kernel: pick_next_task_fair(), sched_balance_newidle() in kernel/sched/fair.c;
 * ops.dispatch() in kernel/sched/ext/internal.h.
 */
void __preload_hook hook_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable);
void dfl_dispatch(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable);
void dfl_dispatch_with(s32 cpu, struct task_struct *prev __arg_trusted __arg_nullable, u64 dsq);

/**
 * hook_bypass() - be notified that soft bypass has begun or ended
 * @reason: enum preload_bypass_reason in bypass.bpf.h; PRELOAD_BYPASS_NONE when it has
 *	ended
 *
 * When: from a timer, up to 125 ms after the change, with no lock held; on PREEMPT_RT, where
 * BPF has no timers, from ops.tick() or ops.dispatch(), 125 ms or more after it. No other hook
 * of placement, order or balance is called during soft bypass.
 * May call: no other kfuncs.
 * Default: dfl_bypass(): nothing.
 * Kernel: ops.cpu_release() and the like report other losses; there is no notification of
 * kernel bypass, scx_bypass() in kernel/sched/ext/ext.c.
 */
void __preload_hook hook_bypass(u32 reason);
void dfl_bypass(u32 reason);

/**
 * hook_may_migrate() - decide whether a task may move to another LLC
 * @p: the task, which waits on the DSQ of another LLC or of a CPU there, or runs there and
 *	shares its core
 * @cpu: the CPU that would run it; in the affinity mask of @p
 *
 * When: from ops.dispatch(), if it is overridden, when a newly idle CPU steals and when a
 * busy one takes a task that is behind: for the first PRELOAD_MIGRATE_LOOKS tasks of the
 * DSQ, until it returns true. From ops.enqueue(), when dfl_pick_idle_cpu() with
 * PRELOAD_WAKE_CORE has found a core in another LLC. Not for an overdue task, nor for one
 * that gets a fast core, nor when hook_pick_idle_cpu() finds an idle CPU for a task that
 * wakes up or was preempted.
 * May call: no other kfuncs.
 * Returns: true to run @p on @cpu next; false to leave it where it is.
 * Default: dfl_may_migrate(): true.
 * Kernel: can_migrate_task() and task_hot() in kernel/sched/fair.c.
 */
bool __preload_hook hook_may_migrate(struct task_struct *p __arg_trusted, s32 cpu);
bool dfl_may_migrate(struct task_struct *p __arg_trusted, s32 cpu);
#define PRELOAD_MIGRATE_LOOKS 8

#endif
