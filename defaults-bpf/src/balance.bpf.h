/* SPDX-License-Identifier: GPL-2.0-only */
/* Balance between LLCs. */
#ifndef SCX_PRELOAD_BALANCE_BPF_H
#define SCX_PRELOAD_BALANCE_BPF_H

#include "guard.bpf.h"

/* Call the hook. */
static __always_inline bool may_migrate(struct task_struct *p, s32 cpu)
{
	bool may = true;

	if (is_asked(HOOK_MAY_MIGRATE)) {
		preload_count_rare(hooks[HOOK_MAY_MIGRATE].calls);
		ask_override(HOOK_MAY_MIGRATE, may = hook_may_migrate(p, cpu));
	}
	return may;
}

s32 steal_llc(s32 cpu, u32 nth);
u32 balance_turn(void);
void balance_again(void);
s32 balance_llc(s32 cpu, u32 turn);
bool move_first_allowed(s32 cpu, u64 dsq, u32 llc);
bool move_between_llcs(s32 cpu, u32 llc);

#endif
