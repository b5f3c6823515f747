/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The version of the contract between the defaults, overrides and loaders.
 *
 * Every object that includes hooks.bpf.h carries one u32 in PRELOAD_CONTRACT_SECTION: the
 * version that it was compiled for. Static linking concatenates them, so that a loader
 * sees the version of each part of a linked scheduler and can refuse unknown ones.
 */
#ifndef SCX_PRELOAD_CONTRACT_BPF_H
#define SCX_PRELOAD_CONTRACT_BPF_H

#ifndef PRELOAD_CONTRACT_VERSION
#define PRELOAD_CONTRACT_VERSION 1
#endif
#define PRELOAD_CONTRACT_SECTION ".scx_preload.contract"

static const unsigned int preload_contract
	__attribute__((section(PRELOAD_CONTRACT_SECTION), used)) = PRELOAD_CONTRACT_VERSION;

#endif
