// SPDX-License-Identifier: GPL-2.0-only
//! The commands load, status, unload, verify and link.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::Test;
use crate::hog::{Hog, Kind};
use crate::other;
use crate::preload::{
    LINKED, LOADED, PIN, disabled_and_unpinned, hook, is_ours, load, object, refused, status,
    unload, unload_any,
};
use crate::sys::{SCX_PRELOAD, end_with_sysrq, run, run_ok, scx_ops, scx_state};
use crate::tests;

pub const TESTS: &[Test] = tests![
    refuses_to_unload_nothing,
    verifies_without_attaching,
    loads_and_pins,
    refuses_a_second_load,
    status_shows_the_machine,
    unloads_without_a_trace,
    sets_variables,
    refuses_bad_settings,
    refuses_what_is_not_an_object,
    leaves_out_callbacks_that_the_kernel_lacks,
    leaves_out_programs_that_the_kernel_refuses,
    says_which_function_the_kernel_lacks,
    refuses_what_the_verifier_refuses,
    refuses_when_an_override_cannot_start,
    leaves_another_scheduler_alone,
    notices_sysrq,
    is_for_root_only,
    links_two_overrides_in_any_order,
    refuses_two_overrides_of_a_hook,
    refuses_a_misspelled_hook,
    builds_what_the_verifier_accepts,
];

fn refuses_to_unload_nothing() -> Result<()> {
    refused(&["unload"], 1, &["not loaded"])
}

fn verifies_without_attaching() -> Result<()> {
    let json: Value = serde_json::from_str(&run_ok(SCX_PRELOAD, &["verify", "--json"])?)?;
    let total = json["verified_insns"].as_u64().context("no total")?;
    println!("verified: {json:#}");
    ensure!(total > 500, "only {total} instructions");
    ensure!(json["programs"]["preload_dispatch"].as_u64().unwrap_or(0) > 0);
    disabled_and_unpinned()
}

fn loads_and_pins() -> Result<()> {
    // The tiny VM has no bpffs mounted: the loader has to mount it.
    ensure!(!Path::new("/sys/fs/bpf/scx_preload").exists());
    load(&[])?;
    ensure!(scx_state()? == "enabled" && scx_ops().as_deref() == Some("preload"));
    fs::metadata(PIN).context(PIN)?;
    Ok(())
}

fn refuses_a_second_load() -> Result<()> {
    refused(&["load"], 1, &["already", "unload"])?;
    ensure!(scx_state()? == "enabled");
    Ok(())
}

fn status_shows_the_machine() -> Result<()> {
    let status = status()?;
    ensure!(status["ours"] == true && status["kernel"]["ops"] == "preload");
    ensure!(status["contract_version"] == 1);
    let topology = &status["topology"];
    for (name, value) in [
        ("nr_online", 8),
        ("nr_cpu_ids", 8),
        ("nr_cores", 4),
        ("nr_llcs", 2),
        ("nr_nodes", 1),
    ] {
        ensure!(topology[name] == value, "{name} is {}", topology[name]);
    }
    // 2 sockets × 2 cores × 2 threads, numbered in this order by QEMU.
    for cpu in 0..8 {
        let seen = &topology["cpus"][cpu];
        ensure!(
            seen["llc"] == cpu / 4 && seen["core"] == cpu / 2 * 2 && seen["smt_next"] == (cpu ^ 1),
            "CPU {cpu} is {seen}"
        );
    }
    let text = run_ok(SCX_PRELOAD, &["status"])?;
    println!("{text}");
    for line in [
        "scheduler   preload (ours)",
        "LLC 0     CPUs 0-3",
        "hook_pick_idle_cpu",
    ] {
        ensure!(text.contains(line), "status does not print {line:?}");
    }
    Ok(())
}

fn unloads_without_a_trace() -> Result<()> {
    unload()?;
    disabled_and_unpinned()?;
    refused(&["unload"], 1, &["not loaded"])
}

fn sets_variables() -> Result<()> {
    load(&["--set", "slice_ns=3000000", "--set", "stats_enabled=false"])?;
    let status = status()?;
    ensure!(
        status["settings"]["slice_ns"] == 3_000_000,
        "{}",
        status["settings"]
    );
    let calls = status["hooks"].as_array().context("no hooks")?;
    ensure!(
        calls.iter().all(|hook| hook["calls"] == 0),
        "calls are counted with stats_enabled=false"
    );
    unload()
}

fn refuses_bad_settings() -> Result<()> {
    refused(
        &["load", "--set", "slice=1"],
        1,
        &["slice", "no such variable", "slice_ns"],
    )?;
    refused(&["load", "--set", "slice_ns=-1"], 1, &["slice_ns", "-1"])?;
    refused(&["load", "--set", "slice_ns"], 2, &["NAME=VALUE"])?;
    disabled_and_unpinned()
}

fn refuses_what_is_not_an_object() -> Result<()> {
    fs::write("/run/garbage.bpf.o", [0x5a; 4096])?;
    let whole = fs::read(object("hook_init.last"))?;
    fs::write("/run/truncated.bpf.o", &whole[..whole.len() / 3])?;
    for name in ["garbage", "truncated"] {
        let path = format!("/run/{name}.bpf.o");
        refused(
            &["load", "--object", &path],
            1,
            &[&path, "not a BPF object"],
        )?;
    }
    refused(
        &["load", "--object", "/run/none.bpf.o"],
        1,
        &["/run/none.bpf.o", "No such file"],
    )?;
    // An override alone has no ops table.
    refused(
        &["load", "--object", &object("hook_init")],
        1,
        &["hook_init.bpf.o"],
    )?;
    disabled_and_unpinned()
}

/// The fixture renames `tick`. The rest of the scheduler works.
fn leaves_out_callbacks_that_the_kernel_lacks() -> Result<()> {
    load(&["--object", &object("unknown_callback")])?;
    let _hogs = Hog::start_many(8, Kind::default())?;
    sleep(Duration::from_millis(500));
    let status = status()?;
    ensure!(status["ours"] == true, "{}", status["kernel"]);
    ensure!(hook(&status, "hook_pick_idle_cpu", "calls")? > 0);
    // Not from ticks, but once for each CPU that idles after the start.
    let calls = hook(&status, "hook_cpu_perf", "calls")?;
    ensure!(calls <= 8, "{calls} calls");
    unload()
}

/// Links the defaults for a kernel that has the function `kfunc` under another name only.
fn link_without(kfunc: &str) -> Result<()> {
    run_ok(SCX_PRELOAD, &["link", "-o", LINKED])?;
    let mut object = fs::read(LINKED)?;
    let len = kfunc.len();
    let places: Vec<_> = (0..object.len() - len)
        .filter(|&at| object[at..].starts_with(kfunc.as_bytes()) && object[at + len] == 0)
        .collect();
    ensure!(!places.is_empty(), "the defaults do not call {kfunc}()");
    for at in places {
        object[at + len - 1] = b'_';
    }
    fs::write(LINKED, object).context("cannot write the object")
}

/// As on Debian's builds of 7.2.6 to 7.2.12. Other schedulers start with `run` only.
fn leaves_out_programs_that_the_kernel_refuses() -> Result<()> {
    unload_any()?;
    link_without("scx_bpf_exit_bstr")?;
    let out = run(SCX_PRELOAD, &["load", "--object", LINKED])?;
    ensure!(out.code == Some(0), "{}", out.stderr);
    for words in ["preload_give_way()", "scx_bpf_exit_bst_", "scx_preload run"] {
        ensure!(out.stderr.contains(words), "{}", out.stderr);
    }
    is_ours()?;
    ensure!(fs::exists(format!("{LOADED}/sysrq"))?);
    let fixture = object("other");
    let refused = run(other::PROGRAM, &[&fixture])?;
    ensure!(refused.code != Some(0), "it took over");
    is_ours()?;
    let mut runs = other::start_run(&[other::PROGRAM, &fixture])?;
    other::fixture_runs()?;
    kill(Pid::from_raw(runs.id() as i32), Signal::SIGTERM)?;
    runs.wait()?;
    is_ours()?;
    unload()
}

fn says_which_function_the_kernel_lacks() -> Result<()> {
    link_without("scx_bpf_kick_cpu")?;
    refused(
        &["load", "--object", LINKED],
        1,
        &["scx_bpf_kick_cp_", "boot another kernel"],
    )?;
    disabled_and_unpinned()
}

fn refuses_what_the_verifier_refuses() -> Result<()> {
    run_ok(
        SCX_PRELOAD,
        &["link", "-o", "/run/reject.bpf.o", &object("reject")],
    )?;
    refused(
        &["load", "--object", "/run/reject.bpf.o"],
        1,
        &["/run/reject.bpf.o", "infinite loop"],
    )?;
    disabled_and_unpinned()
}

fn refuses_when_an_override_cannot_start() -> Result<()> {
    run_ok(
        SCX_PRELOAD,
        &["link", "-o", "/run/fails.bpf.o", &object("init_fails")],
    )?;
    refused(
        &["load", "--object", "/run/fails.bpf.o"],
        1,
        &["/run/fails.bpf.o", "-95"],
    )?;
    disabled_and_unpinned()
}

fn leaves_another_scheduler_alone() -> Result<()> {
    let other = crate::other::Other::fixture()?;
    refused(&["load"], 1, &["other", "stop it first"])?;
    refused(&["unload"], 1, &["not loaded"])?;
    ensure!(scx_ops().as_deref() == Some("other"));
    other.stop()?;
    load(&[])?;
    unload()
}

/// sysrq-S ends a scheduler without changing its link or pin.
fn notices_sysrq() -> Result<()> {
    load(&[])?;
    end_with_sysrq()?;
    ensure!(fs::exists(PIN)?);
    let status = status()?;
    ensure!(
        status["ours"] == false,
        "status reports an ended scheduler as running"
    );
    ensure!(status["exit"]["kind"] == 67, "exit: {}", status["exit"]);
    unload()?;
    disabled_and_unpinned()?;
    load(&[])?;
    unload()
}

fn is_for_root_only() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    load(&[])?;
    let mode = fs::metadata("/sys/fs/bpf/scx_preload")?
        .permissions()
        .mode()
        & 0o7777;
    ensure!(mode == 0o700, "mode {mode:o}");
    for command in [
        &["load"][..],
        &["unload"],
        &["resume"],
        &["resume", "--udev"],
        &["run", "--", SCX_PRELOAD],
        &["status"],
        &["bypass", "on"],
        &["verify"],
    ] {
        let out = std::process::Command::new(SCX_PRELOAD)
            .args(command)
            .uid(65534)
            .output()?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(
            out.status.code() == Some(1),
            "{command:?}: {:?}",
            out.status
        );
        ensure!(
            said.contains("root"),
            "{command:?} as an ordinary user prints {said:?}"
        );
    }
    ensure!(scx_state()? == "enabled");
    unload()
}

fn links_two_overrides_in_any_order() -> Result<()> {
    let (a, b) = (object("hook_task_slice"), object("hook_cpu_capacity"));
    for pair in [[&a, &b], [&b, &a]] {
        let table = run_ok(
            SCX_PRELOAD,
            &["link", "-o", "/run/two.bpf.o", pair[0], pair[1]],
        )?;
        println!("{table}");
        ensure!(
            table.contains(&a) && table.contains(&b),
            "the table lacks an object: {table}"
        );
        load(&["--object", "/run/two.bpf.o"])?;
        let status = status()?;
        for hook in status["hooks"].as_array().context("no hooks")? {
            let ours = ["hook_task_slice", "hook_cpu_capacity"]
                .iter()
                .any(|n| hook["name"] == *n);
            ensure!(hook["overridden"] == ours, "{hook}");
            ensure!(!ours || (hook["dfl"] == 0 && hook["calls"] != 0), "{hook}");
        }
        ensure!(status["topology"]["cpus"][5]["capacity"] == 512);
        unload()?;
    }
    Ok(())
}

fn refuses_two_overrides_of_a_hook() -> Result<()> {
    fs::copy(object("hook_task_slice"), "/run/second.bpf.o")?;
    let args = [
        "link",
        "-o",
        "/run/clash.bpf.o",
        &object("hook_task_slice"),
        "/run/second.bpf.o",
    ];
    refused(
        &args,
        1,
        &[
            "hook_task_slice.bpf.o",
            "/run/second.bpf.o",
            "hook_task_slice()",
        ],
    )?;
    ensure!(
        !fs::exists("/run/clash.bpf.o")?,
        "a failed link left a file"
    );
    Ok(())
}

fn refuses_a_misspelled_hook() -> Result<()> {
    let args = ["link", "-o", "/run/typo.bpf.o", &object("misspelled")];
    refused(&args, 1, &["hook_pick_idle_cpus()", "not a hook"])?;
    ensure!(!fs::exists("/run/typo.bpf.o")?);
    Ok(())
}

fn builds_what_the_verifier_accepts() -> Result<()> {
    let out = "/run/built.bpf.o";
    let build = |name: &str| -> Result<std::process::Output> {
        fs::copy(object(name), "/run/built.bpf.c")?;
        let mut build = std::process::Command::new(SCX_PRELOAD);
        build.args(["build", "-o", out, "/run/built.bpf.c"]);
        Ok(build.env("BPF_CLANG", std::env::current_exe()?).output()?)
    };
    let refused = build("reject")?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        refused.status.code() == Some(1) && said.contains("the kernel cannot load it"),
        "{said}"
    );
    ensure!(!fs::exists(out)?, "a refused build left a file");

    let built = build("hook_task_slice")?;
    let said = String::from_utf8_lossy(&built.stderr);
    ensure!(
        built.status.success() && said.contains(": verified by this kernel"),
        "{said}"
    );
    disabled_and_unpinned()?;
    load(&["--object", out])?;
    ensure!(hook(&status()?, "hook_task_slice", "calls")? > 0);
    unload()
}
