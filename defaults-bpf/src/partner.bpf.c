// SPDX-License-Identifier: GPL-2.0-only
/* Recognizes tasks that wake each other up, from sync wakeups. */
#include "vmlinux.h"

#include "partner.bpf.h"
#include "task.bpf.h"

char _license[] SEC("license") = "GPL";

/* Tasks that woke up only each other this many times in a row are partners. */
#define PARTNER_WAKES 8

/*
 * Are @p and the current task, which wakes it up and is about to sleep, a pair? Not if one
 * of them wakes many. The kernel's counterpart is wake_wide() in kernel/sched/fair.c.
 */
u32 task_bond(struct task_struct *p __arg_trusted)
{
	struct task_struct *waker = bpf_get_current_task_btf();
	struct task_data *of_waker, *of_wakee;

	/* A task that has rarely slept has rarely made sync wakeups, and needs no data yet. */
	if (waker->nvcsw < 4 * PARTNER_WAKES)
		return BOND_NONE;
	of_waker = task_data(waker);
	if (!of_waker)
		return BOND_NONE;
	if (of_waker->wakee != p->pid) {
		of_waker->wakee = p->pid;
		of_waker->wakes = 0;
	}
	if (of_waker->wakes < PARTNER_WAKES) {
		of_waker->wakes++;
		return BOND_NONE;
	}
	of_wakee = find_task_data(p);
	if (!of_wakee || !of_wakee->wakee)
		return BOND_ONE_WAY;
	if (of_wakee->wakes < PARTNER_WAKES)
		return BOND_NONE;
	return of_wakee->wakee == waker->pid ? BOND_MUTUAL : BOND_ONE_WAY;
}
