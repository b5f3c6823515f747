// SPDX-License-Identifier: GPL-2.0-only
//! Tests on the host of an override author's steps, with the BTF of the kernels under test.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use scx_preload_defaults::{HOOKS, write_headers};
use scx_preload_tests::docs::{BY_HAND, TUTORIAL, blocks, script};

use crate::apt::Mirror;
use crate::cache::{Cache, Key};
use crate::cpio::Archive;
use crate::kernel::{Kernel, output};
use crate::lab::Lab;
use crate::suites::{Tally, Which, show};
use crate::{programs, step};

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[derive(Clone, Copy)]
pub struct Test {
    pub name: &'static str,
    run: fn(&Lab) -> Result<()>,
}

const TESTS: &[Test] = &[
    Test {
        name: "host/kit/builds_for_both_kernels",
        run: builds_for_both_kernels,
    },
    Test {
        name: "host/kit/by_hand_gives_the_same",
        run: by_hand_gives_the_same,
    },
    Test {
        name: "host/kit/tutorial_in_the_demo",
        run: tutorial_in_the_demo,
    },
];

pub fn plan(filter: &str) -> Vec<Test> {
    let due = |test: &&Test| filter.split(',').any(|part| test.name.contains(part));
    TESTS.iter().filter(due).copied().collect()
}

/// Prepares what the tests require.
pub fn prepare(lab: &mut Lab) -> Result<()> {
    let kernels = [Which::Newest, Which::Other];
    lab.prepare_kernels(&kernels)?;
    for which in kernels {
        lab.kernel(which)?.btf()?;
    }
    lab.bpftool().map(drop)
}

pub fn run(lab: &Lab, tests: &[Test], tally: &mut Tally) {
    for test in tests {
        let start = Instant::now();
        let error = (test.run)(lab).err().map(|e| format!("{e:#}"));
        let ms = start.elapsed().as_millis() as u64;
        show(test.name.into(), ms, error.as_deref(), tally);
    }
}

/// Writes the BTF of the newest kernel, for an override author.
pub fn write_btf(refresh: bool, to: &Path) -> Result<()> {
    let mut lab = Lab::new(refresh)?;
    lab.prepare_kernels(&[Which::Newest])?;
    let btf = lab.kernel(Which::Newest)?.btf()?;
    fs::copy(btf, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

/// An empty directory in target/kit.
fn desk(name: &str) -> Result<PathBuf> {
    let dir = programs::target_dir()?.join("kit").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// A shell in `dir` with `bin`, then the build directory, at the front of PATH.
fn shell(dir: &Path, bin: &Path, script: &str) -> Result<Command> {
    let path = [bin, &programs::dir()?]
        .map(|dir| dir.display().to_string())
        .join(":");
    let rest = std::env::var("PATH").unwrap_or_default();
    let mut sh = Command::new("sh");
    sh.args(["-euxc", script])
        .current_dir(dir)
        .env("PATH", format!("{path}:{rest}"));
    Ok(sh)
}

/// A generated override of every hook and a hand-written one, built for both kernels.
fn builds_for_both_kernels(lab: &Lab) -> Result<()> {
    let desk = desk("both")?;
    let stay = Path::new(WORKSPACE).join("overrides/stay_on_core.bpf.c");
    let hooks = HOOKS.iter().map(|hook| format!("--hook {}", hook.name));
    let hooks: Vec<_> = hooks.collect();
    let new = format!("scx_preload new every {}", hooks.join(" "));
    output(&mut shell(&desk, &desk, &new)?)?;
    for which in [Which::Newest, Which::Other] {
        let btf = lab.kernel(which)?.btf()?;
        let build = |source: &Path| {
            let (btf, source) = (btf.display(), source.display());
            let script = format!("scx_preload build --btf {btf} {source}");
            output(&mut shell(&desk, &desk, &script)?)
        };
        let table = build("every.bpf.c".as_ref())?;
        ensure!(overridden(&table).len() == HOOKS.len(), "{table}");
        let table = build(&stay)?;
        ensure!(overridden(&table) == ["hook_pick_idle_cpu"], "{table}");
    }
    Ok(())
}

/// The hooks marked as overridden in a table.
fn overridden(table: &str) -> Vec<&str> {
    let lines = table.lines().filter(|line| line.contains(" override "));
    lines.filter_map(|line| line.split(' ').next()).collect()
}

/// Runs docs/by-hand.md, with files of the build in place of installed ones.
fn by_hand_gives_the_same(lab: &Lab) -> Result<()> {
    let desk = desk("by_hand")?;
    let btf = lab.kernel(Which::Newest)?.btf()?;
    let tools = lab.bpftool()?;
    let (bin, include) = (desk.join("bin"), desk.join("include"));
    write_headers(&include)?;
    fs::remove_dir_all(include.join("bpf"))?;
    symlink(tools.join("usr/include/bpf"), include.join("bpf"))?;
    fs::create_dir(&bin)?;
    let usr = tools.join("usr").display().to_string();
    fs::write(
        bin.join("bpftool"),
        format!(
            "#!/bin/sh\nexec {usr}/lib64/ld-linux-x86-64.so.2 --library-path \
             {usr}/lib/x86_64-linux-gnu {usr}/sbin/bpftool \"$@\"\n"
        ),
    )?;
    fs::set_permissions(bin.join("bpftool"), fs::Permissions::from_mode(0o755))?;
    fs::copy(
        Path::new(WORKSPACE).join("overrides/stay_on_core.bpf.c"),
        desk.join("stay_on_core.bpf.c"),
    )?;
    let defaults = programs::find("defaults.bpf.o")?;
    let script = script(BY_HAND, "author")
        .replace("/sys/kernel/btf/vmlinux", &btf.display().to_string())
        .replace(
            "/usr/lib/scx_preload/defaults.bpf.o",
            &defaults.display().to_string(),
        );
    output(shell(&desk, &bin, &script)?.env("CPATH", &include))?;

    let mut tables = Vec::new();
    for object in ["scheduler.bpf.o", "linked.bpf.o"] {
        let script = format!("scx_preload hooks {object}");
        tables.push(output(&mut shell(&desk, &bin, &script)?)?);
    }
    ensure!(
        overridden(&tables[0]) == ["hook_pick_idle_cpu"],
        "{}",
        tables[0]
    );
    ensure!(tables[0] == tables[1], "{}\n{}", tables[0], tables[1]);
    Ok(())
}

/// A directory with bpftool and libbpf's headers under usr, for docs/by-hand.md.
pub fn bpftool(cache: &Cache, mirror: &Mirror) -> Result<PathBuf> {
    let lines = ["trixie", "trixie-backports"].map(|suite| mirror.line(suite));
    let name = format!("bpftool/{}", Key::default().with(&lines).name());
    let dir = cache.get(&name, |dir| {
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap
            .args([
                "--variant=extract",
                "--include=bpftool/trixie-backports,libbpf-dev",
            ])
            .args(["--aptopt=Acquire::Languages \"none\"", "trixie"])
            .arg(dir)
            .args(&lines);
        step::run("bpftool", &mut mmdebstrap)
    })?;
    cache.prune("bpftool", 1)?;
    Ok(dir)
}

/// Runs the author's part of the tutorial for `kernel`; returns the directory.
fn author(kernel: &Kernel, name: &str) -> Result<PathBuf> {
    let desk = desk(name)?;
    let btf = format!("scx_preload build --btf {}", kernel.btf()?.display());
    for block in blocks(TUTORIAL) {
        match (block.language, block.tag) {
            ("sh", "author") => {
                let script = block.text.replace("scx_preload build", &btf);
                output(&mut shell(&desk, &desk, &script)?)?;
            }
            ("c", file) => fs::write(desk.join(file), format!("{}\n", block.text))?,
            _ => {}
        }
    }
    Ok(desk)
}

/// The whole tutorial, including the virtual machine at its end.
fn tutorial_in_the_demo(lab: &Lab) -> Result<()> {
    let desk = author(lab.kernel(Which::Newest)?, "tutorial")?;
    symlink(programs::target_dir()?, desk.join("target"))?;
    let said = output(&mut shell(&desk, &desk, &script(TUTORIAL, "demo"))?)?;
    let hook = said
        .lines()
        .find(|l| l.trim().starts_with("hook_task_charge"));
    ensure!(
        hook.is_some_and(|line| line.ends_with(" override favour.bpf.c")),
        "the demo did not run the override:\n{said}"
    );
    Ok(())
}

/// For the tutorial's boot: puts the author's object into root's home directory.
pub fn add(kernel: &Kernel, archive: &mut Archive) -> Result<()> {
    let object = author(kernel, "tutorial_boot")?.join("scheduler.bpf.o");
    archive.copy("tutorial/scheduler.bpf.o", 0o644, &object)?;
    let units = "etc/systemd/system";
    archive.file(
        &format!("{units}/tutorial.service"),
        0o644,
        BRING.as_bytes(),
    );
    archive.symlink(
        &format!("{units}/initrd.target.wants/tutorial.service"),
        "../tutorial.service",
    );
    Ok(())
}

/// All Debian boots share one disk image, so the object comes in the initramfs.
const BRING: &str = "\
[Unit]
DefaultDependencies=no
After=initrd-root-fs.target
Before=initrd.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/cp /tutorial/scheduler.bpf.o /sysroot/root/
";
