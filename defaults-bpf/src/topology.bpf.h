/* SPDX-License-Identifier: GPL-2.0-only */
/* Filling the tables of include/scx_preload/topology.bpf.h. */
#ifndef SCX_PRELOAD_TOPOLOGY_INTERNAL_BPF_H
#define SCX_PRELOAD_TOPOLOGY_INTERNAL_BPF_H

#include "internal.bpf.h"

/* The most CPUs in an SMT core: POWER's. */
#define SMT_MAX 8

/*
 * CPUs between ops.cpu_online() and ops.cpu_offline(), a bit each: they have DSQs. While the
 * kernel plugs a CPU, it builds domains and runs tasks there, its own workers for example; its
 * masks, and during a refresh the tables, say something else.
 */
extern u64 preload_plugged[PRELOAD_MAX_CPUS / 64];

static __always_inline u64 *plugged_word(u32 cpu)
{
	return &preload_plugged[cpu / 64 & (PRELOAD_MAX_CPUS / 64 - 1)];
}

static __always_inline bool is_plugged(u32 cpu)
{
	return *plugged_word(cpu) & (1ULL << (cpu & 63));
}

/* Has a CPU got another LLC? Tasks may wait for it on the DSQ of the former one. */
extern bool preload_llcs_changed;

void topology_init(void);
void topology_cpu_online(s32 cpu);
void topology_cpu_offline(s32 cpu);
void topology_refresh(void);

#endif
