/* SPDX-License-Identifier: GPL-2.0-only */
/* What the defaults' own files share with each other and with nobody else. */
#ifndef SCX_PRELOAD_INTERNAL_BPF_H
#define SCX_PRELOAD_INTERNAL_BPF_H

#include "scx_preload/hooks.bpf.h"
#include "scx_preload/bypass.bpf.h"
#include "scx_preload/kernel.bpf.h"
#include "scx_preload/queues.bpf.h"
#include "scx_preload/stats.bpf.h"
#include "scx_preload/topology.bpf.h"

#define NSEC_PER_USEC 1000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_SEC 1000000000ULL

/* The most CPUs in an SMT core: POWER's. */
#define SMT_MAX 8

/* Not in BTF: the kernel's priorities below it are RT and deadline. */
#define MAX_RT_PRIO 100

/* For unsigned values: arithmetic, so that the verifier need not follow two ways. */
static __always_inline u64 min(u64 a, u64 b)
{
	return b + ((a - b) & -(u64)(a < b));
}

static __always_inline u64 max(u64 a, u64 b)
{
	return b + ((a - b) & -(u64)(a > b));
}

extern const struct rq runqueues __ksym __weak;

/* cpu_rq() without a call. */
static __always_inline const struct rq *rq_of(s32 cpu)
{
	return bpf_ksym_exists(&runqueues) ? bpf_per_cpu_ptr(&runqueues, cpu) : NULL;
}

/* topology.bpf.c: functions of their own, so that they are verified once */
u32 llc_index(s32 cpu);
s32 core_of(s32 cpu);
void llc_mask_set(u32 llc, s32 cpu, bool set);
u16 bounded_capacity(s32 cpu);
u16 bounded_priority(s32 cpu);
void topology_add_near(u32 llc, u32 other, u32 level);
void topology_sort_near(s32 cpu);
void topology_finish_cpu(s32 cpu);
void leave_llc(s32 cpu);
void topology_reset_cpu(s32 cpu);
s32 topology_add_cpu(s32 cpu);
s32 topology_refresh(void);
void topology_cpu_offline(s32 cpu);

/*
 * Is @p bound to its CPU for now? Its mask says so, but not nr_cpus_allowed. The program
 * that asks has itself disabled migration of the current task, once.
 */
static __always_inline bool is_migration_disabled(struct task_struct *p)
{
	return p->migration_disabled > (p == bpf_get_current_task_btf());
}

/* idle.bpf.c */
bool leaves_core(struct task_struct *p __arg_trusted, s32 cpu);
s32 idle_cpu(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags);
s32 idle_cpu_near(struct task_struct *p __arg_trusted, s32 cpu);

/* cgroup.bpf.c */
#define PRELOAD_MAX_GROUPS 4096
#define PRELOAD_CGROUP_ONE (1ULL << 12)

u64 group_scale(struct task_struct *p __arg_trusted);
void group_account(struct task_struct *p __arg_trusted, u64 ns);

/*
 * The root cgroup has number 1; the groups of CONFIG_SCHED_AUTOGROUP have none. Of
 * more cgroups than there is room for, the last have no weight.
 */
static __always_inline bool is_group(u32 css_id)
{
	return css_id > 1 && css_id < PRELOAD_MAX_GROUPS;
}

/* Is @p in a cgroup that has a weight? Not with the cpu controller off. */
static __always_inline bool in_group(struct task_struct *p)
{
	return bpf_core_field_exists(p->sched_task_group->scx.weight) &&
	       is_group(p->sched_task_group->css.id);
}

/* power.bpf.c */
/* A tick at 100 Hz, the longest. */
#define TICK_MAX_NS (10 * NSEC_PER_MSEC)

u64 power_tick(s32 cpu);
void set_perf(s32 cpu, u32 util);

/* queue.bpf.c */
#define PRELOAD_DSQ_CPU(cpu) ((u64)(cpu) | (1ULL << 32))
#define PRELOAD_DSQ_BUILTIN bpf_core_enum_value(enum scx_dsq_id_flags, SCX_DSQ_FLAG_BUILTIN)

extern const volatile u64 slice_ns;

s32 create_queues(s32 cpu);
s32 create_own_queues(void);
void advance_clock(u32 llc, u64 vtime, u64 most);

/* Who wakes whom, see task_bond(). */
enum bond {
	BOND_NONE,
	BOND_ONE_WAY, /* the waker wakes this task only */
	BOND_MUTUAL, /* and the other way round */
};

u32 task_bond(struct task_struct *p __arg_trusted);
u64 task_start(struct task_struct *p __arg_trusted);
u64 task_slice(struct task_struct *p __arg_trusted, s32 cpu);
u64 task_key(struct task_struct *p __arg_trusted, s32 cpu, u64 slice, u64 enq_flags);
bool preempts(struct task_struct *p __arg_trusted, s32 cpu, u64 key);
s64 asked_queue(struct task_struct *p __arg_trusted, s32 cpu);
bool has_pinned(s32 cpu);
void account_group(struct task_struct *p __arg_trusted, u64 least);
u64 task_queue(struct task_struct *p __arg_trusted, s32 cpu);
void enqueue_task(struct task_struct *p __arg_trusted, s32 cpu, u64 enq_flags);

/*
 * LLCs whose queues may have tasks, a bit each (more than 64 share them): what a CPU
 * that goes idle looks at, and seldom written, like the root domain's `overloaded`
 * in kernel/sched/sched.h. A task that is queued while another CPU finds the queue
 * empty can be missed; its own LLC's CPUs and the turns of the others find it.
 */
extern u64 preload_waiting;

static __always_inline u64 llc_bit(u32 llc)
{
	return 1ULL << (llc & 63);
}

static __always_inline bool llc_has_waiting(u32 llc)
{
	return preload_waiting & llc_bit(llc);
}

/* If RT takes the CPU, now or later, the task is queued anew: others may take it. */
static __always_inline bool move_from_llc(u32 llc)
{
	return preload_dsq_move_to_local(PRELOAD_DSQ_LLC(llc), PRELOAD_ENQ_IMMED);
}

/* ops.bpf.c: why the scheduler ended; all 0 while it runs */
struct preload_exit {
	u64 kind; /* enum scx_exit_kind */
	s64 code;
};

extern struct preload_exit preload_exit_info;

/* handover.bpf.c */
#define PRELOAD_EXIT_GIVE_WAY 0x67697665 /* code of an exit for another scheduler ("give") */
#define TASK_COMM_LEN 16

struct preload_handover {
	u64 at; /* when another one's table was made last, CLOCK_MONOTONIC, ns */
	u32 pid; /* of who made it; 0 as soon as it was attached or could not be */
	u32 attached; /* from our start until the kernel is done with our end */
	u32 sysrq; /* somebody has pressed sysrq-S, whichever scheduler it ended */
	char comm[TASK_COMM_LEN];
};

extern struct preload_handover preload_handover;

/* overdue.bpf.c */
bool dispatch_overdue(s32 cpu);
bool dispatch_oldest(s32 cpu);

static __always_inline const struct task_struct *runnable_task(const struct list_head *node)
{
	return bpf_rdonly_cast((void *)node -
				       bpf_core_field_offset(struct task_struct, scx.runnable_node),
			       bpf_core_type_id_kernel(struct task_struct));
}

/*
 * The task of @rq that has waited longest, or NULL: the kernel keeps those that wait in
 * the order in which they began to, for its watchdog.
 */
static __always_inline const struct task_struct *longest_waiting(const struct rq *rq)
{
	const struct list_head *first = rq->scx.runnable_list.next;

	return first == &rq->scx.runnable_list ? NULL : runnable_task(first);
}

/* bypass.bpf.c */
#define PRELOAD_BYPASS_LOG 8

struct bypass_change {
	u64 at; /* as in dmesg, ns */
	u64 waited; /* for a stall, ns */
	u32 reason; /* enum preload_bypass_reason */
	u32 hook; /* whose results were bad, or slow */
	s32 pid; /* who waited */
	s32 cpu;
	struct preload_bypass_why why; /* the override's words, or the name of who waited */
};

struct preload_bypass {
	u32 on; /* enum preload_bypass_reason: why; looked at for each decision */
	u32 changing;
	u32 seq; /* counts changes */
	u32 told; /* the last one that hook_bypass() has been told of */
	u32 times; /* how often it began, less what is forgotten */
	u64 since; /* the last change, jiffies */
	u64 changed_at; /* the same, or when a time was forgotten, ns */
	u64 until; /* when it is to end, ns */
	u64 first_tick; /* jiffies at the start, and ns: what a tick lasts is no constant */
	u64 first_ns;
	u64 tick_ns;
	struct bypass_change changes[PRELOAD_BYPASS_LOG];
};

extern struct preload_bypass preload_bypass;

/* Hooks that are not asked while bypassed. */
#define PRELOAD_BYPASSABLE                                                                         \
	(1ULL << HOOK_PICK_IDLE_CPU | 1ULL << HOOK_LEAVE_LLC | 1ULL << HOOK_TASK_QUEUE |           \
	 1ULL << HOOK_TASK_SLICE | 1ULL << HOOK_TASK_VTIME | 1ULL << HOOK_TASK_CHARGE |            \
	 1ULL << HOOK_TASK_PREEMPT | 1ULL << HOOK_STEAL_LLC | 1ULL << HOOK_BALANCE_LLC |           \
	 1ULL << HOOK_ENQUEUE | 1ULL << HOOK_DISPATCH | 1ULL << HOOK_MAY_MIGRATE)

/* Is there anything to bypass? Known when the scheduler is loaded. */
static __always_inline bool is_watched(void)
{
	return PRELOAD_OVERRIDDEN & PRELOAD_BYPASSABLE;
}

/* Is @hook overridden, and its override to be asked? */
static __always_inline bool is_asked(u32 hook)
{
	return (PRELOAD_OVERRIDDEN & (1ULL << hook)) && !preload_bypass.on;
}

s32 bypass_init(void);
void bad_result(u32 hook);
void spent_in(u32 hook, u64 from);
void report_stall(s32 cpu);
bool dispatch_before_change(s32 cpu);

/* Let an override run, and note whether a tick passed meanwhile. */
#define ask_override(HOOK, call)                                                                   \
	do {                                                                                       \
		u64 __from = bpf_jiffies64();                                                      \
		call;                                                                              \
		if (bpf_jiffies64() != __from)                                                     \
			spent_in(HOOK, __from);                                                    \
	} while (0)

/* The override's result of a hook, or that of its default body. */
#define ask_hook(HOOK, override, dfl)                                                              \
	({                                                                                         \
		typeof(dfl) __result;                                                              \
		if (is_asked(HOOK))                                                                \
			ask_override(HOOK, __result = (override));                                 \
		else                                                                               \
			__result = (dfl);                                                          \
		__result;                                                                          \
	})

/* balance.bpf.c */
/* Ask the hook. */
static __always_inline bool may_migrate(struct task_struct *p, s32 cpu)
{
	bool may = true;

	if (is_asked(HOOK_MAY_MIGRATE)) {
		preload_count_rare(hooks[HOOK_MAY_MIGRATE].calls);
		ask_override(HOOK_MAY_MIGRATE, may = hook_may_migrate(p, cpu));
	}
	return may;
}

u32 balance_turn(void);
void balance_again(void);
u64 near_load(u32 llc, u32 nth);
s32 busiest_near(s32 cpu);
s32 steal_llc(s32 cpu, u32 nth);
s32 balance_llc(s32 cpu, u32 turn);
bool move_between_llcs(s32 cpu, u32 llc);

#endif
