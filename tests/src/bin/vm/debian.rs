// SPDX-License-Identifier: GPL-2.0-only
//! The Debian VM: a trixie root on a disk and initramfs images for it. scx_preload gets into
//! each as on any system: `make install`, `systemctl enable`, the initramfs generator.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use scx_preload_tests::docs::{TUTORIAL, script};

use crate::apt::Mirror;
use crate::cache::{Cache, Key};
use crate::kernel::Kernel;
use crate::{programs, step};

const SUITE: &str = "trixie";

const PACKAGES: &str = "systemd-sysv,udev,kmod,dracut-core,initramfs-tools-core,busybox,zstd,\
    procps,libelf1t64,zlib1g";

/// Not needed in a VM.
const LEFT_OUT: &[&str] = &[
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/doc/*",
];

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Starts the guest after the boot. It powers off by itself.
const TEST_UNIT: &str = "\
[Unit]
Description=scx_preload test run
After=multi-user.target
[Service]
ExecStart=/opt/guest --run
[Install]
WantedBy=multi-user.target
";

/// Another scheduler as a service, not enabled.
const OTHER_UNIT: &str = "\
[Unit]
Description=Another CPU scheduler
[Service]
ExecStart=/usr/bin/other /objects/other.bpf.o
";

/// The override of the demo and the boot tests.
const OVERRIDE: &str = "stay_on_core";

/// An image for the first kernel, generated with the drop-ins that are on the disk.
#[derive(Clone, Copy)]
pub enum Image {
    Dracut,
    /// Without systemd in the initramfs, like all below.
    DracutPlain,
    InitramfsTools,
    /// Not built by mkinitcpio itself, see tests/initcpio.
    MkinitcpioHook,
}

impl Image {
    const ALL: [Self; 4] = [
        Self::Dracut,
        Self::DracutPlain,
        Self::InitramfsTools,
        Self::MkinitcpioHook,
    ];

    fn file(self) -> &'static str {
        match self {
            Self::Dracut => "initrd-override",
            Self::DracutPlain => "initrd-dracut-plain",
            Self::InitramfsTools => "initrd-initramfs-tools",
            Self::MkinitcpioHook => "initrd-mkinitcpio-hook",
        }
    }

    /// Shell command, to be run in the root.
    fn command(self, release: &str) -> String {
        let to = format!("/{}", self.file());
        match self {
            Self::Dracut => dracut(release, WHOLE, &to),
            Self::DracutPlain => dracut(release, &format!("{WHOLE} --omit systemd"), &to),
            Self::InitramfsTools => format!("mkinitramfs -o {to} {release}"),
            Self::MkinitcpioHook => format!("/opt/initcpio {release} {to}"),
        }
    }
}

/// A directory with `disk`, `initrd-RELEASE` for each kernel, and each [`Image`].
pub struct Debian {
    dir: PathBuf,
}

impl Debian {
    pub fn get(cache: &Cache, mirror: &Mirror, kernels: &[&Kernel]) -> Result<Self> {
        let base = base(cache, mirror, PACKAGES)?;
        let ours = install(cache)?;

        let object = programs::object(OVERRIDE)?;
        // Without dracut, as its arguments differ for another machine's image.
        let put_there = script(TUTORIAL, "boot");
        let put_there = put_there
            .strip_suffix("dracut --force")
            .context("the tutorial does not end with dracut")?;
        let put_there = format!("cd /root\n{put_there}");
        let mut key = Key::default()
            .with(&base)
            .with(&put_there)
            .with_file(&object)?;
        for kernel in kernels {
            key = key.with(&kernel.dir);
        }
        key = with_all(key, &ours)?;
        let dir = cache.get(&format!("debian/{}", key.name()), |dir| {
            fs::create_dir(dir)?;
            let root = dir.join("root");
            step::done("Debian root", || fill(&root, &base, &ours, kernels))?;
            let releases: Vec<_> = kernels.iter().map(|k| k.release.as_str()).collect();
            let plain = |release: &&str| dracut(release, WHOLE, &format!("/initrd-{release}"));
            make(&root, releases.iter().map(plain))?;
            for release in &releases {
                take(&root, dir, &format!("initrd-{release}"))?;
            }
            // Like a package and an administrator: install drop-ins, rebuild the image.
            drop_ins(&root, &object)?;
            make(&root, Image::ALL.map(|image| image.command(releases[0])))?;
            list(&root, Image::Dracut.file(), "drop_ins")?;
            for image in Image::ALL {
                take(&root, dir, image.file())?;
            }
            // Like the tutorial: an object of the administrator's own. This image is only
            // listed, not booted.
            let home = root.join("root/scheduler.bpf.o");
            fs::copy(programs::find("defaults.bpf.o")?, &home).context("cannot copy the object")?;
            run(Command::new("chroot")
                .arg(&root)
                .args(["sh", "-euxc", &put_there]))?;
            let own = "initrd-own";
            let args = "--no-kernel --modules scx_preload";
            make(&root, [dracut(releases[0], args, &format!("/{own}"))])?;
            list(&root, own, "own")?;
            fs::remove_file(root.join(own))?;
            // With the unit disabled, nothing is added; dracut then refuses the module.
            let dracut = dracut(releases[0], args, &format!("/{own}"));
            let hook = "/usr/share/initramfs-tools/hooks/scx_preload";
            let disabled = [
                "systemctl -q disable scx_preload",
                &format!("mkdir /none; version={} DESTDIR=/none {hook}", releases[0]),
                &format!("({dracut} && lsinitrd /{own} || find /none) > /opt/disabled.list"),
                &format!("rm -rf /{own} /none"),
                "systemctl -q enable scx_preload",
            ];
            make(&root, [disabled.join("; ")])?;
            fs::remove_file(root.join("etc/scx_preload/scheduler.bpf.o"))?;
            fs::remove_file(home)?;
            disk(&root, &dir.join("disk"))?;
            fs::remove_dir_all(&root).context("cannot remove the root's directory")
        })?;
        cache.prune("debian", 3)?;
        // With and without additional packages.
        cache.prune("base", 2)?;
        Ok(Debian { dir })
    }

    /// A disk for the images with more packages and the files that `add` puts into the root,
    /// which `key` covers.
    pub fn more(
        cache: &Cache,
        mirror: &Mirror,
        kernel: &Kernel,
        packages: &str,
        key: Key,
        add: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let base = base(cache, mirror, &format!("{PACKAGES},{packages}"))?;
        let ours = install(cache)?;
        let key = with_all(key.with(&base).with(&kernel.dir), &ours)?;
        let dir = cache.get(&format!("debian/{}", key.name()), |dir| {
            fs::create_dir(dir)?;
            let root = dir.join("root");
            step::done("Debian root with more", || {
                fill(&root, &base, &ours, &[kernel])?;
                add(&root)
            })?;
            disk(&root, &dir.join("disk"))?;
            fs::remove_dir_all(&root).context("cannot remove the root's directory")
        })?;
        Ok(dir.join("disk"))
    }

    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk")
    }

    pub fn image(&self, image: Image) -> PathBuf {
        self.dir.join(image.file())
    }

    pub fn initrd(&self, kernel: &Kernel) -> PathBuf {
        self.dir.join(format!("initrd-{}", kernel.release))
    }
}

fn take(root: &Path, dir: &Path, name: &str) -> Result<()> {
    fs::rename(root.join(name), dir.join(name))
        .with_context(|| format!("the generator wrote no {name}"))
}

/// A tar of a minimal Debian.
fn base(cache: &Cache, mirror: &Mirror, packages: &str) -> Result<PathBuf> {
    let line = mirror.line(SUITE);
    let key = Key::default().with((packages, LEFT_OUT, &line));
    cache.get(&format!("base/{}.tar", key.name()), |path| {
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args([
            "--variant=essential",
            "--format=tar",
            "--aptopt=Acquire::Languages \"none\"",
        ]);
        mmdebstrap.arg(format!("--include={packages}"));
        for pattern in LEFT_OUT {
            mmdebstrap.arg(format!("--dpkgopt=path-exclude={pattern}"));
        }
        mmdebstrap.arg(SUITE).arg(path).arg(line);
        step::run("Debian packages", &mut mmdebstrap)
    })
}

/// A directory with the result of `make install` and the test programs.
fn install(cache: &Cache) -> Result<PathBuf> {
    let dir = cache.dir.join("install");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    let mut make = Command::new("make");
    make.args(["-C", WORKSPACE, "install", "PREFIX=/usr"])
        .arg(format!("DESTDIR={}", dir.display()))
        .arg(format!("BUILD={}", programs::dir()?.display()));
    step::run("make install", &mut make)?;
    let unit = dir.join("etc/systemd/system/scx_preload_test.service");
    fs::create_dir_all(unit.parent().context("no directory for the unit")?)?;
    fs::write(&unit, TEST_UNIT).with_context(|| format!("cannot write {}", unit.display()))?;
    let other = unit.with_file_name("other_scheduler.service");
    fs::write(&other, OTHER_UNIT).with_context(|| format!("cannot write {}", other.display()))?;
    let initcpio = Path::new(WORKSPACE).join("tests/initcpio");
    for (from, to) in [
        (initcpio, "opt/initcpio"),
        (programs::find("guest")?, "opt/guest"),
        (programs::find("other")?, "usr/bin/other"),
        (programs::object("other")?, "objects/other.bpf.o"),
        (programs::object("eject")?, "objects/eject.bpf.o"),
    ] {
        let to = dir.join(to);
        fs::create_dir_all(to.parent().context("no directory for the file")?)?;
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(dir)
}

/// Adds all files under a directory to the key.
fn with_all(mut key: Key, dir: &Path) -> Result<Key> {
    for path in files(dir)? {
        key = key.with(&path).with_file(&path)?;
    }
    Ok(key)
}

/// All files under a directory, in a fixed order.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?)
        } else {
            found.push(path)
        }
    }
    found.sort();
    Ok(found)
}

fn fill(root: &Path, base: &Path, ours: &Path, kernels: &[&Kernel]) -> Result<()> {
    fs::create_dir(root)?;
    run(Command::new("tar")
        .arg("-xpf")
        .arg(base)
        .arg("-C")
        .arg(root))?;
    run(Command::new("cp").arg("-a").arg(ours.join(".")).arg(root))?;
    for kernel in kernels {
        run(Command::new("cp")
            .arg("-a")
            .arg(kernel.dir.join("lib/modules"))
            .arg(root.join("usr/lib/")))?;
    }
    // Without an ID each boot is a first boot, which takes longer.
    fs::write(
        root.join("etc/machine-id"),
        "5c7e1d0a9b3f4e6d8a2c4b6e8f0a1c3d\n",
    )?;
    // mmdebstrap copies the host's name.
    fs::write(root.join("etc/hostname"), "guest\n")?;
    run(Command::new("chroot").arg(root).args([
        "systemctl",
        "-q",
        "enable",
        "scx_preload",
        "scx_preload_test",
    ]))
}

/// dracut arguments for a bootable image.
const WHOLE: &str = "--drivers 'virtio_pci virtio_blk ext4'";

/// Uncompressed: most of dracut's time goes into compression.
fn dracut(release: &str, args: &str, to: &str) -> String {
    format!(
        "dracut --quiet --no-hostonly --no-compress --no-early-microcode {args} --kver {release} {to}"
    )
}

/// Runs initramfs generators in the root, in parallel.
fn make(root: &Path, commands: impl IntoIterator<Item = String>) -> Result<()> {
    // They need /proc and /dev/fd. In a mount namespace, nothing stays mounted.
    let script = "pids=; mount --rbind /dev \"$0/dev\"; mount -t proc proc \"$0/proc\"; \
        for c; do chroot \"$0\" sh -euc \"$c\" & pids=\"$pids $!\"; done; \
        for p in $pids; do wait \"$p\"; done";
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "sh", "-euc", script])
        .arg(root)
        .args(commands);
    step::run("initramfs images", &mut unshare)
}

/// Installs a valid override and a broken one.
fn drop_ins(root: &Path, object: &Path) -> Result<()> {
    for (dir, name, data) in [
        (
            "usr/lib",
            OVERRIDE,
            fs::read(object).context("cannot read the object")?,
        ),
        ("etc", "broken", b"not an object at all\n".to_vec()),
    ] {
        let dir = root.join(dir).join("scx_preload/overrides.d");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(format!("{name}.bpf.o")), data)?;
    }
    Ok(())
}

/// Stores the list of files of an image for the guest.
fn list(root: &Path, image: &str, name: &str) -> Result<()> {
    run(Command::new("chroot").arg(root).args([
        "sh",
        "-euc",
        &format!("lsinitrd /{image} > /opt/{name}.list"),
    ]))
}

fn disk(root: &Path, disk: &Path) -> Result<()> {
    let mut mke2fs = Command::new("mke2fs");
    // Changes are discarded after each boot: no journal or checksums needed.
    mke2fs
        .args([
            "-q",
            "-t",
            "ext4",
            "-O",
            "^has_journal,^metadata_csum",
            "-d",
        ])
        .arg(root)
        .arg(disk)
        .arg("1G");
    step::run("disk image", &mut mke2fs)
}

fn run(command: &mut Command) -> Result<()> {
    let what = command.get_program().display().to_string();
    let out = command
        .output()
        .with_context(|| format!("cannot run {what}"))?;
    anyhow::ensure!(
        out.status.success(),
        "{what}: {}",
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Ok(())
}
