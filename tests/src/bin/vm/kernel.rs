// SPDX-License-Identifier: GPL-2.0-only
//! Debian's kernels: resolved through the metapackage, because package names contain the
//! version, and reduced to the files that a VM requires.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::apt::{Mirror, Package, Suite};
use crate::cache::Cache;
use crate::step;

/// Enough to mount the Debian root.
const MODULES: &[&str] = &["virtio_pci", "virtio_blk", "ext4"];

/// `vmlinuz`, `config` and `lib/modules/RELEASE` in a directory of the cache.
pub struct Kernel {
    pub release: String,
    pub dir: PathBuf,
}

impl Kernel {
    /// The kernel that a metapackage stands for, of the first suite that has a suitable one, with
    /// or without sched_ext.
    pub fn get(
        cache: &Cache,
        mirror: &Mirror,
        meta: &str,
        suites: &[&str],
        sched_ext: bool,
        refresh: bool,
    ) -> Result<Self> {
        let mut why = Vec::new();
        for suite in suites {
            match Self::from_suite(cache, mirror, meta, suite, sched_ext, refresh) {
                Ok(kernel) => return Ok(kernel),
                Err(e) => why.push(format!("{e:#}")),
            }
        }
        bail!("no suitable kernel:\n{}", why.join("\n"))
    }

    fn from_suite(
        cache: &Cache,
        mirror: &Mirror,
        meta: &str,
        suite: &str,
        sched_ext: bool,
        refresh: bool,
    ) -> Result<Self> {
        let suite = Suite::open(cache, mirror, suite, refresh)?;
        let (release, packages) = resolve(&suite, meta)?;
        let image = &packages[0];
        let dir = cache.get(
            &format!("kernels/{}_{}", image.name, image.version),
            |dir| {
                fs::create_dir(dir)?;
                suite.download(&packages, dir)?;
                step::done(&format!("unpack Linux {release}"), || unpack(dir, &release))
            },
        )?;
        let kernel = Kernel { release, dir };
        ensure!(
            kernel.has_sched_ext()? == sched_ext,
            "Linux {} of {} {} CONFIG_SCHED_CLASS_EXT=y",
            kernel.release,
            suite.name,
            if sched_ext { "lacks" } else { "must not have" },
        );
        Ok(kernel)
    }

    fn has_sched_ext(&self) -> Result<bool> {
        let config = fs::read_to_string(self.dir.join("config"))
            .context("cannot read the kernel's config")?;
        Ok(config.lines().any(|l| l == "CONFIG_SCHED_CLASS_EXT=y"))
    }

    pub fn image(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    /// Its BTF, identical to /sys/kernel/btf/vmlinux.
    pub fn btf(&self) -> Result<PathBuf> {
        let path = self.dir.join("btf");
        if !path.exists() {
            let desk = tempfile::tempdir_in(&self.dir).context("no temporary directory")?;
            let btf = step::done(&format!("BTF of Linux {}", self.release), || {
                extract_btf(&self.image(), desk.path())
            })?;
            fs::rename(&btf, &path).context("cannot rename the BTF")?;
        }
        Ok(path)
    }
}

/// Release and packages of the suite's kernel, the image first. A 6.x image is one
/// package; a 7.x image depends on base, binary and modules.
fn resolve(suite: &Suite, meta: &str) -> Result<(String, Vec<Package>)> {
    let depends = suite.package(meta)?.depends;
    let image = depends.iter().find(|d| d.starts_with("linux-image-"));
    let image = image.with_context(|| format!("{meta} of {} depends on no kernel", suite.name))?;
    let release = image.trim_start_matches("linux-image-").to_string();
    let mut packages = vec![suite.package(image)?];
    let mut next = 0;
    while next < packages.len() {
        for name in packages[next].depends.clone() {
            if name.ends_with(&format!("-{release}")) && packages.iter().all(|p| p.name != name) {
                packages.push(suite.package(&name)?);
            }
        }
        next += 1;
    }
    Ok((release, packages))
}

/// Turns the packages in `dir` into the files of a `Kernel`.
fn unpack(dir: &Path, release: &str) -> Result<()> {
    let full = dir.join("full");
    for entry in fs::read_dir(dir)? {
        let deb = entry?.path();
        if deb.extension().is_some_and(|e| e == "deb") {
            output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&full))?;
            fs::remove_file(&deb)?;
        }
    }
    // 7.x has usr/lib, 6.x lib; kmod looks in either.
    let (lib, usr_lib) = (full.join("lib"), full.join("usr/lib"));
    if lib.exists() {
        fs::create_dir_all(&usr_lib)?;
        fs::rename(lib.join("modules"), usr_lib.join("modules"))?;
        fs::remove_dir_all(&lib)?;
    }
    symlink("usr/lib", &lib)?;

    let modules = full.join("lib/modules").join(release);
    for name in ["vmlinuz", "config"] {
        let in_boot = full.join("boot").join(format!("{name}-{release}"));
        let from = if in_boot.exists() {
            in_boot
        } else {
            modules.join(name)
        };
        fs::copy(&from, dir.join(name))
            .with_context(|| format!("no {name} in the packages of {release}"))?;
    }

    let few = dir.join("lib/modules").join(release);
    fs::create_dir_all(&few)?;
    for name in [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ] {
        fs::copy(modules.join(name), few.join(name)).with_context(|| format!("no {name}"))?;
    }
    output(Command::new("depmod").arg("-b").arg(&full).arg(release))?;
    for module in MODULES {
        let mut modprobe = Command::new("modprobe");
        modprobe
            .arg("-d")
            .arg(&full)
            .args(["-S", release, "--show-depends", module]);
        for line in output(&mut modprobe)?.lines() {
            // "insmod PATH", or "builtin NAME"
            let Some(from) = line.strip_prefix("insmod ") else {
                continue;
            };
            let from = Path::new(from.trim());
            let inside = from
                .strip_prefix(&modules)
                .context("modprobe names a module outside the package")?;
            let to = few.join(inside);
            fs::create_dir_all(to.parent().unwrap_or(&few))?;
            fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
    }
    // Read by dracut's check().
    fs::copy(dir.join("config"), few.join("config"))?;
    output(Command::new("depmod").arg("-b").arg(dir).arg(release))?;
    fs::remove_dir_all(&full).context("cannot remove the unpacked packages")
}

/// Extracts the BTF of the compressed vmlinux in a bzImage, which is located with the
/// fields of the boot protocol.
fn extract_btf(image: &Path, desk: &Path) -> Result<PathBuf> {
    let image = fs::read(image).context("cannot read the kernel")?;
    let word = |at: usize| -> Option<usize> {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes) as usize)
    };
    let payload = || {
        let setup = (usize::from(*image.get(0x1f1)?) + 1) * 512;
        let start = setup + word(0x248)?;
        image.get(start..start + word(0x24c)?)
    };
    let payload = payload().context("not a bzImage")?;
    ensure!(
        payload.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]),
        "the kernel is not compressed with zstd"
    );
    let [packed, elf, btf] = ["vmlinux.zst", "vmlinux", "btf"].map(|name| desk.join(name));
    // Without the 4 bytes of the size at the end, which zstd rejects.
    fs::write(&packed, &payload[..payload.len() - 4])?;
    let mut zstd = Command::new("zstd");
    output(zstd.arg("-dq").arg(&packed).arg("-o").arg(&elf))?;
    let mut objcopy = Command::new("llvm-objcopy-19");
    objcopy.arg(format!("--dump-section=.BTF={}", btf.display()));
    output(objcopy.arg(&elf).arg("/dev/null"))?;
    Ok(btf)
}

/// Standard output of a command that must succeed.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let out = command
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(
        out.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
