// SPDX-License-Identifier: GPL-2.0-only
/* The storage of task.bpf.h. */
#include "vmlinux.h"

#include "task.bpf.h"

char _license[] SEC("license") = "GPL";

struct task_data_map preload_tasks SEC(".maps");
