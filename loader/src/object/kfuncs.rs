// SPDX-License-Identifier: GPL-2.0-only
//! Which callbacks may call which kfuncs, as in scx_kfunc_context_filter() in the kernel's
//! kernel/sched/ext/ext.c. The verifier checks this, too, but it names the program instead
//! of the hook, and it requires a kernel with sched_ext.

use scx_preload_defaults::{HOOKS, Hook};

use super::elf::{Callee, Functions};

/// Callbacks that may sleep and hold no lock.
const SLEEPABLE: &[&str] = &["init", "exit", "init_task", "cpu_online", "cpu_offline"];

/// Kfuncs, the callbacks that may call them, and whether [`SLEEPABLE`] may, too.
type Rule = (&'static [&'static str], &'static [&'static str], bool);

const RULES: &[Rule] = &[
    (
        &[
            "scx_bpf_select_cpu_dfl",
            "scx_bpf_select_cpu_and",
            "__scx_bpf_select_cpu_and",
        ],
        &["select_cpu", "enqueue", "dump"],
        true,
    ),
    (
        &[
            "scx_bpf_dsq_insert",
            "scx_bpf_dsq_insert_vtime",
            "__scx_bpf_dsq_insert_vtime",
        ],
        &["select_cpu", "enqueue", "dispatch"],
        false,
    ),
    (
        &[
            "scx_bpf_dispatch_nr_slots",
            "scx_bpf_dispatch_cancel",
            "scx_bpf_dsq_move_to_local",
        ],
        &["dispatch"],
        false,
    ),
    (
        &[
            "scx_bpf_dsq_move",
            "scx_bpf_dsq_move_vtime",
            "scx_bpf_dsq_move_set_slice",
            "scx_bpf_dsq_move_set_vtime",
        ],
        &["dispatch", "dump"],
        true,
    ),
    (&["scx_bpf_create_dsq", "scx_bpf_destroy_dsq"], &[], true),
];

/// A call that the kernel refuses.
#[derive(Debug, PartialEq, Eq)]
pub struct Forbidden {
    /// The kfunc.
    pub kfunc: String,
    /// The function through which the hook calls it, if any.
    pub through: Option<String>,
    /// A callback that calls the hook and must not call the kfunc.
    pub callback: &'static str,
    /// Callbacks that may call the kfunc.
    pub allowed: Vec<&'static str>,
}

/// The callbacks of `struct sched_ext_ops` that call `hook`, from its documentation.
pub fn callbacks(hook: &Hook) -> Vec<&'static str> {
    let Some((_, when)) = hook.text.iter().find(|(title, _)| *title == "When") else {
        return Vec::new();
    };
    let called = |prefix: &'static str| {
        when.split(prefix)
            .skip(1)
            .filter_map(|rest| rest.split_once("()"))
            .map(|(name, _)| name)
            .filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let mut found: Vec<_> = called("ops.").collect();
    // "from dfl_pick_idle_cpu()", "as hook_cpu_capacity()"
    if found.is_empty()
        && let Some(caller) = called("dfl_").chain(called("hook_")).next()
        && let Some(caller) = HOOKS.iter().find(|h| h.name["hook_".len()..] == *caller)
    {
        return callbacks(caller);
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The first call of `hook`, in the linked object of `functions`, that the kernel refuses.
pub fn forbidden(functions: &Functions, hook: &Hook) -> Option<Forbidden> {
    let callbacks = callbacks(hook);
    let mut seen = vec![hook.name.to_owned()];
    let mut next = 0;
    while let Some(function) = seen.get(next).cloned() {
        next += 1;
        for callee in functions.calls(&function) {
            let kfunc = match callee {
                Callee::Function(name) => {
                    // Its default and helpers, each once.
                    if !seen.contains(&name) {
                        seen.push(name);
                    }
                    continue;
                }
                Callee::Kernel(name) => name,
            };
            let kfunc = kfunc.split("___").next().unwrap_or_default();
            let Some((_, some, sleepable)) =
                RULES.iter().find(|(kfuncs, ..)| kfuncs.contains(&kfunc))
            else {
                continue;
            };
            let mut allowed = some.to_vec();
            if *sleepable {
                allowed.extend(SLEEPABLE);
            }
            if let Some(callback) = callbacks.iter().find(|c| !allowed.contains(c)) {
                return Some(Forbidden {
                    kfunc: kfunc.to_owned(),
                    through: (function != hook.name).then(|| function.clone()),
                    callback,
                    allowed,
                });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use scx_preload_defaults::OBJECT;

    fn of(name: &str) -> Vec<&'static str> {
        callbacks(Hook::named(name).unwrap())
    }

    #[test]
    fn callbacks_come_from_the_documentation() {
        assert_eq!(of("hook_pick_idle_cpu"), ["enqueue", "select_cpu"]);
        assert_eq!(of("hook_leave_llc"), of("hook_pick_idle_cpu"));
        assert_eq!(of("hook_task_slice"), ["dispatch", "enqueue", "select_cpu"]);
        assert_eq!(of("hook_cpu_perf"), ["tick"]);
        for hook in HOOKS.iter().filter(|hook| hook.name != "hook_bypass") {
            assert!(!callbacks(hook).is_empty(), "{}", hook.name);
        }
    }

    #[test]
    fn the_defaults_make_no_forbidden_calls() {
        let functions = Functions::read(OBJECT);
        for hook in HOOKS {
            assert_eq!(forbidden(&functions, hook), None, "{}", hook.name);
        }
        // Not vacuously: a call through a helper that only dispatch may make is found.
        let elsewhere = Hook {
            text: &[("When", "from ops.enqueue()")],
            ..*Hook::named("hook_dispatch").unwrap()
        };
        let call = forbidden(&functions, &elsewhere).unwrap();
        assert_eq!(call.callback, "enqueue");
        assert!(call.through.is_some() && call.allowed.contains(&"dispatch"));
    }
}
