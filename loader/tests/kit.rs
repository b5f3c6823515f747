// SPDX-License-Identifier: GPL-2.0-only
//! The author's commands, with the `vmlinux.h` of the defaults.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use scx_preload_defaults::{HOOKS, OBJECT, VMLINUX_DIR};

/// An empty directory to run the program in.
struct Desk(PathBuf);

impl Desk {
    fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let name = |e: Result<fs::DirEntry, _>| e.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    fn run(&self, args: &[&str]) -> (bool, String, String) {
        let out = Command::new(env!("CARGO_BIN_EXE_scx_preload"))
            .args(args)
            .current_dir(&self.0)
            // To notice temporary files left behind, too.
            .env("TMPDIR", &self.0)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (out.status.success(), text(out.stdout), text(out.stderr))
    }

    fn build(&self, args: &[&str]) -> (bool, String, String) {
        let header = format!("{VMLINUX_DIR}/vmlinux.h");
        self.run(&[&["build", "--vmlinux", &header], args].concat())
    }

    fn refused(&self, args: &[&str], words: &[&str]) {
        let before = self.files();
        let (done, _, said) = self.run(args);
        assert!(!done, "{args:?} succeeded");
        for word in words {
            assert!(
                said.contains(word),
                "{args:?} does not say {word:?}: {said}"
            );
        }
        assert_eq!(self.files(), before, "{args:?} left something");
    }

    fn refused_build(&self, args: &[&str], words: &[&str]) {
        let header = format!("{VMLINUX_DIR}/vmlinux.h");
        self.refused(&[&["build", "--vmlinux", &header], args].concat(), words);
    }
}

const SOURCE: &str = "\
#include \"vmlinux.h\"
#include <scx_preload/hooks.bpf.h>
#include EXTRA_HEADER
char _license[] SEC(\"license\") = \"GPL\";
u64 hook_task_slice(struct task_struct *p __arg_trusted, s32 cpu)
{
	return NANOSECONDS;
}
";

/// The lines of a table of hooks with an override.
fn overridden(table: &str) -> Vec<&str> {
    table.lines().filter(|l| l.contains(" override ")).collect()
}

#[test]
fn new_override_of_every_hook_builds() {
    let desk = Desk::new("every");
    let hooks = HOOKS.iter().flat_map(|hook| ["--hook", hook.name]);
    let args: Vec<_> = ["new", "every"].into_iter().chain(hooks).collect();
    assert!(desk.run(&args).0);
    let text = desk.read("every.bpf.c");
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");

    let (done, table, said) = desk.build(&["every.bpf.c"]);
    assert!(done && !said.contains("warning"), "{said}");
    assert!(said.contains("not verified"), "{said}");
    assert_eq!(overridden(&table).len(), HOOKS.len(), "{table}");
    assert_eq!(desk.files(), ["every.bpf.c", "scheduler.bpf.o"]);
    let (_, table, _) = desk.run(&["hooks", "scheduler.bpf.o"]);
    let lines = overridden(&table);
    assert_eq!(lines.len(), HOOKS.len(), "{table}");
    assert!(
        lines.iter().all(|l| l.contains("override every.bpf.c ")),
        "{table}"
    );
}

#[test]
fn new_teaches_one_hook_and_overwrites_nothing() {
    let desk = Desk::new("new");
    assert!(desk.run(&["new", "boost"]).0);
    let text = desk.read("boost.bpf.c");
    let hook = HOOKS.iter().find(|h| h.name == "hook_task_slice").unwrap();
    assert!(
        text.contains(hook.summary) && text.contains(hook.signature),
        "{text}"
    );
    assert!(
        text.contains("\treturn dfl_task_slice(p, cpu);\n"),
        "{text}"
    );
    desk.refused(&["new", "boost"], &["boost.bpf.c", "exists"]);
    desk.refused(&["new", "../boost"], &["letters"]);
    desk.refused(
        &["new", "-o", "no/where.c", "x"],
        &["cannot write no/where.c"],
    );
    desk.refused(
        &["new", "x", "--hook", "hook_task_slise"],
        &["'hook_task_slice'"],
    );
    assert_eq!(desk.read("boost.bpf.c"), text);
}

#[test]
fn compiled_overrides_link_to_the_same_scheduler() {
    let desk = Desk::new("compile_only");
    for (name, hook) in [("a", "hook_task_slice"), ("b", "hook_dump")] {
        assert!(desk.run(&["new", name, "--hook", hook]).0);
    }
    assert!(desk.build(&["-c", "a.bpf.c", "b.bpf.c"]).0);
    assert!(desk.build(&["-o", "built.o", "a.bpf.c", "b.bpf.c"]).0);
    assert!(
        desk.run(&["link", "-o", "linked.o", "a.bpf.o", "b.bpf.o"])
            .0
    );
    let table = |object| desk.run(&["hooks", object]).1;
    assert_eq!(overridden(&table("built.o")).len(), 2);
    assert_eq!(table("built.o"), table("linked.o"));
    assert_eq!(overridden(&table("a.bpf.o")).len(), 1);
    desk.refused_build(&["-c", "-o", "x.o", "a.bpf.c", "b.bpf.c"], &["one source"]);
    desk.refused_build(&["-o", "a.bpf.c", "a.bpf.c"], &["overwritten"]);
}

#[test]
fn passes_on_include_directories_and_macros() {
    let desk = Desk::new("pass");
    desk.write("slice.bpf.c", SOURCE);
    fs::create_dir(desk.0.join("inc")).unwrap();
    desk.write("inc/extra.h", "#define NANOSECONDS (5 * MS)\n");
    let args = [
        "-Iinc",
        "-DMS=1000000",
        "-DEXTRA_HEADER=<extra.h>",
        "slice.bpf.c",
    ];
    let (done, table, said) = desk.build(&args);
    assert!(done, "{said}");
    assert_eq!(overridden(&table).len(), 1);
}

#[test]
fn failure_writes_nothing_and_shows_all_of_clangs_messages() {
    let desk = Desk::new("fail");
    let source = SOURCE.replace("#include EXTRA_HEADER\n", "");
    desk.write("good.bpf.c", &source.replace("NANOSECONDS", "1000"));
    desk.write("bad.bpf.c", &source.replace("NANOSECONDS", "nothing"));
    let (_, _, said) = desk.build(&["good.bpf.c"]);
    assert!(!said.contains("error"), "{said}");
    fs::remove_file(desk.0.join("scheduler.bpf.o")).unwrap();
    let words = [
        "bad.bpf.c:6:9: error: use of undeclared identifier 'nothing'",
        "return nothing;",
        "1 error generated",
        "cannot compile bad.bpf.c",
    ];
    desk.refused_build(&["good.bpf.c", "bad.bpf.c"], &words);
    desk.refused_build(&["-c", "good.bpf.c", "bad.bpf.c"], &words);

    desk.write("typo.bpf.c", &source.replace("task_slice", "task_slise"));
    desk.refused_build(
        &["typo.bpf.c"],
        &["'hook_task_slise'", "missing-prototypes"],
    );
    let quiet = source
        .replace("NANOSECONDS", "1")
        .replace("u64 hook", "static u64 hook");
    desk.write("static.bpf.c", &quiet);
    desk.refused_build(&["static.bpf.c"], &["static"]);
    desk.write("twice.bpf.c", &desk.read("good.bpf.c"));
    desk.refused_build(
        &["good.bpf.c", "twice.bpf.c"],
        &["both override hook_task_slice()"],
    );
    desk.refused_build(&["nowhere.bpf.c"], &["cannot read nowhere.bpf.c"]);
    desk.refused_build(&["good.bpf.o"], &["not a C source"]);
}

#[test]
fn refuses_files_without_the_types_of_sched_ext() {
    let desk = Desk::new("types");
    assert!(desk.run(&["new", "x"]).0);
    desk.write("text", "no BTF\n");
    desk.refused(
        &["build", "--btf", "text", "x.bpf.c"],
        &["text: no BTF in it"],
    );
    desk.refused(
        &["build", "--btf", "none", "x.bpf.c"],
        &["cannot read none"],
    );
    desk.write("plain.bpf.c", "struct task_struct { int x; } t;\n");
    let clang = scx_preload_defaults::compile::clang().unwrap();
    let compiled = Command::new(clang)
        .args(["-target", "bpf", "-g", "-c", "plain.bpf.c", "-o", "plain.o"])
        .current_dir(&desk.0)
        .status();
    assert!(compiled.unwrap().success());
    desk.refused(
        &["build", "--btf", "plain.o", "x.bpf.c"],
        &["without sched_ext"],
    );
}

/// The defaults are an ELF file whose BTF has `struct sched_ext_ops`.
#[test]
fn types_come_from_btf_in_an_elf_file() {
    let desk = Desk::new("elf");
    fs::write(desk.0.join("defaults.o"), OBJECT).unwrap();
    let header = scx_preload::object::vmlinux::header(&desk.0.join("defaults.o")).unwrap();
    assert!(header.contains("struct sched_ext_ops {"));
    assert!(header.contains("preserve_access_index"));
}

#[test]
fn hooks_man_page_has_correct_roff() {
    let desk = Desk::new("man");
    let (done, page, _) = desk.run(&["hooks", "--man"]);
    assert!(done && page.contains(".SH HOOKS"));
    desk.write("hooks.7", &page);
    let groff = Command::new("groff")
        .args(["-man", "-ww", "-z", "hooks.7"])
        .current_dir(&desk.0)
        .output()
        .expect("groff is installed");
    let said = String::from_utf8_lossy(&groff.stderr);
    assert!(groff.status.success() && said.is_empty(), "{said}");
}

#[test]
fn documentation_of_one_hook_is_plain_text() {
    let desk = Desk::new("doc");
    let (_, text, _) = desk.run(&["hooks", "--doc", "hook_task_charge"]);
    for part in [
        "u64 hook_task_charge(",
        "\nused\n",
        "\nWhen\n",
        "\nDefault\n",
    ] {
        assert!(text.contains(part), "{text}");
    }
    desk.refused(
        &["hooks", "--doc", "hook_task_charg"],
        &["'hook_task_charge'"],
    );
}
