// SPDX-License-Identifier: GPL-2.0-only
/*
 * Giving way to other schedulers. There can be one root scheduler, and the kernel cannot
 * swap it: a second one gets -EBUSY. But a scheduler creates its struct_ops map long before
 * it attaches it, as the programs are verified in between. So that map is the signal to
 * leave. The loader's `resume` decides whether and when the defaults are reattached.
 */
#include "vmlinux.h"

#include "handover.bpf.h"

char _license[] SEC("license") = "GPL";

#define MAX_ERRNO 4095

/* Exit code of an exit for another scheduler ("give"). */
#define PRELOAD_EXIT_GIVE_WAY 0x67697665

/* The longest time that another scheduler has to wait until ours is disabled. */
#define LEAVE_MAX_NS (5 * NSEC_PER_SEC)

struct preload_handover preload_handover;

/*
 * A member of a system call's argument, whose layout is user space ABI and needs no CO-RE
 * relocation.
 */
#define attr_of(attr, member)                                                                      \
	((const typeof((attr)->member) *)((const void *)(attr) +                                   \
					  __builtin_offsetof(union bpf_attr, member)))

/* A sched_ext scheduler, and no other struct_ops such as congestion control? */
static bool is_scheduler(const union bpf_attr *attr)
{
	u32 type = *attr_of(attr, btf_vmlinux_value_type_id);

	if (type == bpf_core_type_id_kernel(struct bpf_struct_ops_sched_ext_ops))
		return true;
	return bpf_core_type_exists(struct bpf_struct_ops_sched_ext_ops_cid) &&
	       type == bpf_core_type_id_kernel(struct bpf_struct_ops_sched_ext_ops_cid);
}

/* Does @name, of at least @size bytes, equal the string @is of that size? */
static __always_inline bool is_name(const char *name, const char *is, u32 size)
{
	u32 i;

	for (i = 0; i < size; i++) {
		if (name[i] != is[i])
			return false;
	}
	return true;
}

/* Loading the defaults, as `scx_preload verify` does, is no reason to leave. */
static bool is_ours(const union bpf_attr *attr)
{
	static const char name[] = "preload_ops";

	return is_name(*attr_of(attr, map_name), name, sizeof(name));
}

/*
 * The loader associates this program with our ops table: scx_bpf_exit() ends the scheduler
 * of that table, and does nothing if another one is the root.
 */
SEC("fexit/bpf_struct_ops_map_alloc")
int BPF_PROG(preload_give_way, const union bpf_attr *attr, const struct bpf_map *map)
{
	static char why[] = "giving way to what %s[%llu] is loading";
	struct preload_handover *h = &preload_handover;
	unsigned long long args[2];

	if (!is_scheduler(attr) || is_ours(attr) || (u64)map >= (u64)-MAX_ERRNO)
		return 0;
	h->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(h->comm, sizeof(h->comm));
	h->at = bpf_ktime_get_ns();
	args[0] = (unsigned long long)h->comm;
	args[1] = h->pid;
	scx_bpf_exit_bstr(PRELOAD_EXIT_GIVE_WAY, why, args, sizeof(args));
	return 0;
}

/* Is the current process our loader? */
static bool is_loader(void)
{
	static const char name[] = "scx_preload";
	char comm[sizeof(preload_handover.comm)];

	return !bpf_get_current_comm(comm, sizeof(comm)) && is_name(comm, name, sizeof(name));
}

SEC("fexit/bpf_struct_ops_link_create")
int BPF_PROG(preload_gave_way, const union bpf_attr *attr, int err)
{
	if (preload_handover.pid == bpf_get_current_pid_tgid() >> 32)
		preload_handover.pid = 0;
	else if (err < 0 && is_loader())
		preload_handover.attached = 0;
	return 0;
}

/* The user wants no scheduler: ours must not be reattached when another one ends. */
SEC("fentry/sysrq_handle_sched_ext_reset")
int BPF_PROG(preload_sysrq)
{
	preload_handover.sysrq = 1;
	return 0;
}

/* The kernel has finished disabling our scheduler: there is no other root yet. */
SEC("fexit/scx_disable_workfn")
int BPF_PROG(preload_left)
{
	preload_handover.attached = 0;
	return 0;
}

/*
 * A scheduler with little to verify attaches while the kernel is still disabling ours, and
 * gets -EBUSY: it can sleep on scx_enable_mutex and then find the state not yet set. BPF
 * cannot wait for an event, so this spins, once for each such scheduler. Without the LSM
 * `bpf`, the race remains.
 */
SEC("lsm.s/bpf")
int BPF_PROG(preload_wait, int cmd, const union bpf_attr *attr)
{
	struct preload_handover *h = &preload_handover;

	if (cmd != BPF_LINK_CREATE)
		return 0;
	if (h->pid != bpf_get_current_pid_tgid() >> 32) {
		/* From here to ops.init() the kernel is enabling ours. */
		if (*attr_of(attr, link_create.attach_type) == BPF_STRUCT_OPS && is_loader())
			h->attached = 1;
		return 0;
	}
	bpf_repeat(1 << 23) {
		if (!h->attached || bpf_ktime_get_ns() - h->at > LEAVE_MAX_NS)
			break;
	}
	return 0;
}
