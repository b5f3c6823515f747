// SPDX-License-Identifier: GPL-2.0-only
//! Every error of an override's author is refused with what is wrong, where, and what to
//! do; nothing is written then. clang would find some of them, so the sources avoid the
//! header that declares the hooks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use scx_preload::object::linker::{Override, link_overrides};
use scx_preload_defaults::{VMLINUX_DIR, compile, write_headers};

const LICENSE: &str = r#"char _license[] SEC("license") = "GPL";"#;

/// A correct override of a hook that no other source here overrides.
const FINE: &str = "u64 hook_init_task(struct task_struct *p __arg_trusted, u64 vtime)\n\
                    { return dfl_init_task(p, vtime); }";

/// With the contract's version but without its declarations.
fn careless(body: &str) -> String {
    format!(
        "#include \"vmlinux.h\"\n#include <bpf/bpf_helpers.h>\n\
         #include <scx_preload/contract.bpf.h>\n{LICENSE}\n{body}\n"
    )
}

fn careful(body: &str) -> String {
    format!(
        "#include \"vmlinux.h\"\n#include <scx_preload/hooks.bpf.h>\n\
         #include <scx_preload/kernel.bpf.h>\n#include <scx_preload/queues.bpf.h>\n\
         {LICENSE}\n{body}\n"
    )
}

fn headers() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistakes-include");
        write_headers(&dir).unwrap();
        dir
    })
}

/// A directory with one compiled object for each source: `0.bpf.o`, `1.bpf.o` …
struct Desk(PathBuf);

impl Desk {
    fn new(name: &str, sources: &[String], args: &[&str]) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mistake-{name}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let desk = Self(dir);
        for (n, source) in sources.iter().enumerate() {
            let path = desk.0.join(format!("{n}.bpf.c"));
            fs::write(&path, source).unwrap();
            let quiet = ["-Wno-everything"];
            let args: Vec<_> = quiet.iter().chain(args).collect();
            compile::object(
                &path,
                &desk.object(n),
                &[VMLINUX_DIR.as_ref(), headers()],
                &args,
            )
            .unwrap();
        }
        desk
    }

    fn object(&self, n: usize) -> PathBuf {
        self.0.join(format!("{n}.bpf.o"))
    }

    /// `check` and `link` of all objects fail with these words; `link` leaves its output
    /// unchanged.
    fn refused(&self, words: &[&str]) {
        let out = self.0.join("out.bpf.o");
        fs::write(&out, "before").unwrap();
        let objects = fs::read_dir(&self.0).unwrap().count() / 2;
        let objects: Vec<_> = (0..objects).map(|n| self.object(n)).collect();
        for command in [vec!["check"], vec!["link", "-o", out.to_str().unwrap()]] {
            let ran = Command::new(env!("CARGO_BIN_EXE_scx_preload"))
                .args(&command)
                .args(&objects)
                .output()
                .unwrap();
            let said = String::from_utf8(ran.stderr).unwrap();
            assert_eq!(ran.status.code(), Some(1), "{command:?}: {said}");
            for word in words {
                assert!(
                    said.contains(word),
                    "{command:?} does not say {word:?}: {said}"
                );
            }
            // Shows all messages with --nocapture.
            if command[0] == "check" {
                println!("{}", said.trim().replace(self.0.to_str().unwrap(), ""));
            }
        }
        assert_eq!(fs::read_to_string(&out).unwrap(), "before");
    }
}

fn one(name: &str, source: String, words: &[&str]) {
    Desk::new(name, &[source], &[]).refused(&[&["0.bpf.o"], words].concat());
}

fn two(name: &str, first: String, second: String, words: &[&str]) {
    let both = ["0.bpf.o and ", "1.bpf.o both"];
    Desk::new(name, &[second, first], &[]).refused(&[&both, words].concat());
}

fn accepted(name: &str, sources: &[String]) {
    let desk = Desk::new(name, sources, &[]);
    let ran = Command::new(env!("CARGO_BIN_EXE_scx_preload"))
        .arg("check")
        .args((0..sources.len()).map(|n| desk.object(n)))
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[test]
fn misspelled_hook() {
    let body = "u64 hook_task_slices(struct task_struct *p, s32 cpu) { return 1; }";
    let words = [
        "0.bpf.c: hook_task_slices()",
        "did you mean hook_task_slice()?",
    ];
    one("misspelled", careless(body), &words);
}

#[test]
fn static_hook() {
    let body = "static __attribute__((used,noinline)) u64 hook_task_slice(struct task_struct *p, s32 cpu)\n\
                { return bpf_ktime_get_ns(); }";
    one(
        "static",
        careless(body),
        &["0.bpf.c: hook_task_slice() is static", "remove static"],
    );
}

#[test]
fn weak_hook() {
    let body = "__weak u64 hook_task_slice(struct task_struct *p, s32 cpu) { return 1; }";
    one(
        "weak",
        careless(body),
        &["hook_task_slice() is __weak", "remove __weak"],
    );
}

#[test]
fn no_hook() {
    one(
        "none",
        careful("u64 helper(void) { return 1; }"),
        &["it defines no hook"],
    );
}

#[test]
fn other_declarations() {
    const TRUSTED: &str = "__attribute__((btf_decl_tag(\"arg:trusted\")))";
    const NULLABLE: &str = "__attribute__((btf_decl_tag(\"arg:nullable\")))";
    for (name, declaration, words) in [
        (
            "sign",
            "u64 hook_task_slice(struct task_struct *p TRUSTED, u32 cpu)",
            "@cpu is u32, not s32",
        ),
        (
            "result",
            "s64 hook_task_slice(struct task_struct *p TRUSTED, s32 cpu)",
            "it returns s64, not u64",
        ),
        (
            "size",
            "u64 hook_task_slice(struct task_struct *p TRUSTED, s64 cpu)",
            "@cpu is s64, not s32",
        ),
        (
            "count",
            "u64 hook_task_slice(struct task_struct *p TRUSTED)",
            "it takes 1 argument, not 2 arguments",
        ),
        (
            "const",
            "u64 hook_task_slice(const struct task_struct *p TRUSTED, s32 cpu)",
            "@p is const struct task_struct *, not struct task_struct *",
        ),
        (
            "struct",
            "u64 hook_task_slice(struct sched_ext_entity *p TRUSTED, s32 cpu)",
            "@p is struct sched_ext_entity *, not struct task_struct *",
        ),
        (
            "tag",
            "u64 hook_task_slice(struct task_struct *p, s32 cpu)",
            "@p lacks __arg_trusted",
        ),
        (
            "tags",
            "u64 hook_task_slice(struct task_struct *p TRUSTED NULLABLE, s32 cpu)",
            "@p must not have __arg_nullable",
        ),
    ] {
        let declaration = declaration
            .replace("TRUSTED", TRUSTED)
            .replace("NULLABLE", NULLABLE);
        let source = careless(&format!("{declaration} {{ return 1; }}"));
        let contract =
            "declare it as `u64 hook_task_slice(struct task_struct *p __arg_trusted, s32 cpu)`";
        one(
            name,
            source,
            &["0.bpf.c: hook_task_slice()", words, contract],
        );
    }
}

#[test]
fn two_of_a_hook() {
    let words = ["override hook_init_task()", "leave one of them out"];
    two("twice", careful(FINE), careful(FINE), &words);
}

#[test]
fn two_of_a_name() {
    let other = "s32 hook_init(void) { return 0; }";
    let with = |name: &str, hook: &str| careful(&format!("u64 {name};\n{hook}"));
    two(
        "name",
        with("shared", FINE),
        with("shared", other),
        &["define shared", "make it static"],
    );
    two(
        "uei",
        with("uei", FINE),
        with("uei", other),
        &["exit-info record", "another name"],
    );
    one(
        "taken",
        with("preload_waiting", FINE),
        &["preload_waiting, which the defaults define"],
    );
}

#[test]
fn two_arenas() {
    let with = |name: &str, hook: &str| {
        careful(&format!(
            "struct {{ __uint(type, BPF_MAP_TYPE_ARENA); __uint(map_flags, BPF_F_MMAPABLE);\n\
             __uint(max_entries, 1); }} {name} SEC(\".maps\");\n{hook}"
        ))
    };
    let other = with("second", "s32 hook_init(void) { return 0; }");
    two(
        "arena",
        with("first", FINE),
        other,
        &["define an arena", "extern"],
    );
}

#[test]
fn two_of_a_queue() {
    let with = |name: &str, hook: &str| {
        careful(&format!("PRELOAD_OWN_QUEUES({name}, 'same', 2);\n{hook}"))
    };
    let other = with("second", "s32 hook_init(void) { return 0; }");
    two(
        "queue",
        with("first", FINE),
        other,
        &["another space in PRELOAD_OWN_QUEUES()"],
    );
}

#[test]
fn too_many_queues() {
    let with = |count: &str| {
        careful(&format!(
            "PRELOAD_OWN_QUEUES(many, 'many', {count});\n{FINE}"
        ))
    };
    for (count, words) in [
        ("PRELOAD_OWN_QUEUES_MAX + 1", "asks for 1025 DSQs"),
        ("0", "asks for 0 DSQs"),
    ] {
        let advice = "divide them among several";
        one("queues", with(count), &[words, advice]);
    }
    accepted("queues_max", &[with("PRELOAD_OWN_QUEUES_MAX")]);
}

#[test]
fn other_license() {
    let source = careful(FINE).replace("\"GPL\"", "\"Dual BSD/GPL\"");
    one(
        "license",
        source,
        &["license string is \"Dual BSD/GPL\"", "= \"GPL\";"],
    );
}

#[test]
fn no_types() {
    Desk::new("types", &[careful(FINE)], &["-g0"]).refused(&["no types (BTF)", "-g"]);
}

#[test]
fn undefined_name() {
    let body = "u64 missing(u64 x);\nu64 hook_init_task(struct task_struct *p __arg_trusted, u64 vtime)\n\
                { return missing(vtime); }";
    one("extern", careful(body), &["missing is undefined", "__ksym"]);
    let body = "extern int CONFIG_HZ __kconfig;\nu64 hook_init_task(struct task_struct *p __arg_trusted, u64 vtime)\n\
                { return vtime + CONFIG_HZ; }";
    one(
        "kconfig",
        careful(body),
        &["CONFIG_HZ is read with __kconfig", "leave it out"],
    );
}

#[test]
fn another_contract() {
    let source = careful(FINE);
    let desk = Desk::new("contract", &[source], &["-DPRELOAD_CONTRACT_VERSION=9"]);
    desk.refused(&["hook contract 9", "knows contract 1"]);
}

#[test]
fn other_byte_order() {
    let other = if cfg!(target_endian = "little") {
        "bpfeb"
    } else {
        "bpfel"
    };
    let desk = Desk::new("order", &[careful(FINE)], &["-target", other]);
    desk.refused(&["compiled for the other byte order"]);
}

#[test]
fn forbidden_kfunc() {
    let body = "u64 hook_task_slice(struct task_struct *p __arg_trusted, s32 cpu)\n\
                { preload_dsq_insert(p, 0, 1, 0); return scx_bpf_dsq_move_to_local(0) ? 1 : 2; }";
    let words = [
        "0.bpf.c: hook_task_slice() calls scx_bpf_dsq_move_to_local()",
        "from ops.enqueue()",
        "only ops.dispatch() may",
    ];
    one("kfunc", careful(body), &words);
    let body = "bool hook_may_migrate(struct task_struct *p __arg_trusted, s32 cpu)\n\
                { return dfl_pick_idle_cpu(p, cpu, 0) >= 0; }";
    let words = [
        "hook_may_migrate() calls",
        "scx_bpf_select_cpu_and() through",
        "from ops.dispatch()",
    ];
    one("through", careful(body), &words);
}

#[test]
fn no_object() {
    let desk = Desk::new("file", &[careful(FINE)], &[]);
    for (content, words) in [
        (&b""[..], "the file is empty"),
        (b"#!/bin/sh\n", "not a BPF object"),
        (
            &fs::read(desk.object(0)).unwrap()[..300],
            "not a BPF object",
        ),
        (
            &fs::read(env!("CARGO_BIN_EXE_scx_preload")).unwrap(),
            "clang -target bpf",
        ),
    ] {
        fs::write(desk.object(0), content).unwrap();
        desk.refused(&["0.bpf.o", words]);
        fs::remove_file(desk.0.join("out.bpf.o")).unwrap();
    }
}

#[test]
fn correct_overrides_are_accepted() {
    let other = careful("s32 hook_init(void) { return 0; }");
    accepted("fine", &[careful(FINE), other]);
}

/// Damage leads to an error or a result, never to a crash. The random numbers are the same
/// in each run.
#[test]
fn no_damage_is_fatal() {
    let desk = Desk::new("fuzz", &[careful(FINE)], &[]);
    let whole = fs::read(desk.object(0)).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut refused, mut linked) = (0, 0);
    for _ in 0..800 {
        let mut bytes = whole.clone();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            bytes[at] = match random(3) {
                0 => 0xff,
                1 => 0,
                _ => random(256) as u8,
            };
        }
        if random(8) == 0 {
            bytes.truncate(random(whole.len()));
        }
        let object = Override::new("damaged.bpf.o".into(), bytes);
        match object.and_then(|object| link_overrides(&[object])) {
            Ok(_) => linked += 1,
            Err(_) => refused += 1,
        }
    }
    println!("{refused} refused, {linked} linked");
    assert!(
        refused > 50 && linked > 50,
        "{refused} refused, {linked} linked"
    );
}
