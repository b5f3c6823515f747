/* SPDX-License-Identifier: GPL-2.0-only */
/* Filling the tables of include/scx_preload/topology.bpf.h. */
#ifndef SCX_PRELOAD_TOPOLOGY_INTERNAL_BPF_H
#define SCX_PRELOAD_TOPOLOGY_INTERNAL_BPF_H

#include "internal.bpf.h"

/* The most CPUs in an SMT core: POWER's. */
#define SMT_MAX 8

u32 llc_index(s32 cpu);
void topology_refresh(void);
void topology_cpu_offline(s32 cpu);

#endif
