// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the loader changed of the kernel's own bypass, kept where it lives as long
 * as the scheduler does: loader/src/kernel_bypass.rs. Nothing here reads it.
 */
#include "vmlinux.h"

/* The kernel's sched_ext.bypass_lb_intv_us as the load set it; 0: left alone. */
const volatile u64 kernel_bypass_lb_us;

/* What it was before. */
const volatile u64 kernel_bypass_lb_before_us;
