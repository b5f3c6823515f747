/* SPDX-License-Identifier: GPL-2.0-only */
/* When the tables of the topology are filled again. */
#ifndef SCX_PRELOAD_REFRESH_BPF_H
#define SCX_PRELOAD_REFRESH_BPF_H

#include "internal.bpf.h"

void refresh_init(void);
void ask_refresh(void);

#endif
