/* SPDX-License-Identifier: GPL-2.0-only */
/* Filling the tables of include/scx_preload/topology.bpf.h. */
#ifndef SCX_PRELOAD_TOPOLOGY_INTERNAL_BPF_H
#define SCX_PRELOAD_TOPOLOGY_INTERNAL_BPF_H

#include "internal.bpf.h"

/* The most CPUs in an SMT core: POWER's. */
#define SMT_MAX 8

/* Has a CPU got another LLC? Tasks may wait for it on the DSQ of the former one. */
extern bool preload_llcs_changed;

void topology_init(void);
void topology_cpu_online(s32 cpu);
void topology_cpu_offline(s32 cpu);
void topology_refresh(void);

#endif
