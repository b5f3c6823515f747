// SPDX-License-Identifier: GPL-2.0-only
//! Everything that boots require, built on demand.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;
use scx_preload_tests::bench::Peer;

use crate::apt::Mirror;
use crate::cache::{Cache, Key};
use crate::cpio::Archive;
use crate::debian::Debian;
use crate::emulator::Emulator;
use crate::kernel::Kernel;
use crate::qemu::Machine;
use crate::suites::{Boot, Vm, Which};
use crate::{kit, peers, scx_loader, step, tiny};

/// The suite with the newest kernel.
pub const NEWEST: &str = "trixie-backports";

/// The metapackage of Debian's usual kernel.
const META: &str = "linux-image-amd64";

pub struct Lab {
    cache: Cache,
    mirror: Mirror,
    refresh: bool,
    seed: u32,
    kernels: Vec<(Which, Kernel)>,
    emulator: Option<Emulator>,
    tiny: Option<PathBuf>,
    peers: Vec<Peer>,
    debian: Option<Debian>,
    scx_loader: Option<PathBuf>,
}

impl Lab {
    pub fn new(refresh: bool) -> Result<Self> {
        Ok(Lab {
            cache: Cache::open()?,
            mirror: Mirror::of_this_machine()?,
            refresh,
            seed: 1,
            kernels: Vec::new(),
            emulator: None,
            tiny: None,
            peers: Vec::new(),
            debian: None,
            scx_loader: None,
        })
    }

    /// The same machines with other randomness, see [`Machine::seed`].
    pub fn with_seed(self, seed: u32) -> Self {
        Lab { seed, ..self }
    }

    /// Prepares everything that these boots require.
    pub fn prepare(&mut self, boots: &[&Boot]) -> Result<()> {
        ensure!(
            Uid::effective().is_root(),
            "building a Debian root requires root; run as root"
        );
        let _lock = self.cache.lock()?;
        self.emulator = Some(Emulator::get(&self.cache, &self.mirror)?);
        let is_tiny = |boot: &&Boot| matches!(boot.vm, Vm::Tiny | Vm::Peers);
        for boot in boots {
            self.prepare_kernel(boot.kernel)?;
        }
        if boots.iter().any(is_tiny) {
            self.prepare_tiny()?;
        }
        if !boots.iter().all(is_tiny) {
            // The root has both kernels, so that its cache key does not depend on the filter.
            self.prepare_kernel(Which::Newest)?;
            self.prepare_kernel(Which::Stable)?;
            let kernels = [self.kernel(Which::Newest)?, self.kernel(Which::Stable)?];
            self.debian = Some(Debian::get(&self.cache, &self.mirror, &kernels)?);
        }
        Ok(())
    }

    /// Prepares kernels for tests on the host, which do not boot them.
    pub fn prepare_kernels(&mut self, kernels: &[Which]) -> Result<()> {
        let _lock = self.cache.lock()?;
        kernels
            .iter()
            .try_for_each(|which| self.prepare_kernel(*which))
    }

    /// See [`kit::bpftool`].
    pub fn bpftool(&self) -> Result<PathBuf> {
        let _lock = self.cache.lock()?;
        kit::bpftool(&self.cache, &self.mirror)
    }

    /// Prepares the additional files of `Vm::Peers`; returns the available peers.
    pub fn prepare_peers(&mut self, names: &[&str]) -> Result<&[Peer]> {
        let _lock = self.cache.lock()?;
        self.peers = peers::get(&self.cache, &self.mirror, names)?;
        Ok(&self.peers)
    }

    /// Prepares the additional disk of `Vm::ScxLoader`.
    pub fn prepare_scx_loader(&mut self) -> Result<()> {
        let _lock = self.cache.lock()?;
        let kernel = self.kernel(Which::Newest)?;
        self.scx_loader = Some(scx_loader::disk(&self.cache, &self.mirror, kernel)?);
        Ok(())
    }

    fn prepare_kernel(&mut self, which: Which) -> Result<()> {
        if self.kernels.iter().any(|(w, _)| *w == which) {
            return Ok(());
        }
        let (meta, suites, sched_ext): (_, &[&str], _) = match which {
            Which::Newest => (META, &[NEWEST], true),
            Which::Realtime => ("linux-image-rt-amd64", &[NEWEST], true),
            Which::Other => (META, &["sid", "forky"], true),
            Which::Stable => (META, &["trixie"], false),
        };
        let (cache, mirror) = (&self.cache, &self.mirror);
        let kernel = Kernel::get(cache, mirror, meta, suites, sched_ext, self.refresh)?;
        // Four are in use; keep the previous version of each.
        self.cache.prune("kernels", 8)?;
        self.kernels.push((which, kernel));
        Ok(())
    }

    fn prepare_tiny(&mut self) -> Result<()> {
        let files = tiny::files()?;
        let mut key = Key::default();
        for (inside, from) in &files {
            key = key.with(inside).with_file(from)?;
        }
        let path = self
            .cache
            .get(&format!("tiny/{}.img", key.name()), |path| {
                step::done("tiny initramfs", || tiny::write(&files, path))
            })?;
        self.cache.prune("tiny", 3)?;
        self.tiny = Some(path);
        Ok(())
    }

    pub fn kernel(&self, which: Which) -> Result<&Kernel> {
        let found = self.kernels.iter().find(|(w, _)| *w == which);
        found
            .map(|(_, kernel)| kernel)
            .context("the kernel was not prepared")
    }

    /// The first line of QEMU's `--version`.
    pub fn qemu_version(&self) -> Result<String> {
        let emulator = self.emulator.as_ref().context("QEMU was not prepared")?;
        let out = emulator.command().arg("--version").output();
        let out = out.context("cannot run QEMU")?.stdout;
        let text = String::from_utf8_lossy(&out).into_owned();
        Ok(text.lines().next().unwrap_or_default().into())
    }

    /// The machine of one boot, with `words` before those of the boot on its command line.
    pub fn machine(&self, boot: &Boot, words: &str) -> Result<Machine> {
        let cmdline = format!("{words} {}", boot.cmdline);
        let kernel = self.kernel(boot.kernel)?;
        let emulator = self.emulator.as_ref().context("QEMU was not prepared")?;
        let console = step::boot_log(boot.name)?;
        if let Vm::Tiny | Vm::Peers = boot.vm {
            let tiny = self.tiny.clone();
            let mut initrd = tiny.context("the initramfs was not prepared")?;
            if let Vm::Peers = boot.vm {
                let more = console.with_extension("initrd");
                add(&initrd, |to| peers::add(&self.peers, kernel, to), &more)?;
                initrd = more;
            }
            return Ok(Machine {
                qemu: emulator.command(),
                kernel: kernel.image(),
                initrd,
                disk: None,
                shape: boot.shape,
                clock: boot.clock,
                seed: self.seed,
                cmdline,
                console,
            });
        }
        let debian = self
            .debian
            .as_ref()
            .context("the Debian root was not prepared")?;
        let initrd = match boot.vm {
            Vm::Image(image) => debian.image(image),
            Vm::Drill(files) => {
                let more = console.with_extension("initrd");
                add(&debian.initrd(kernel), files, &more)?;
                more
            }
            Vm::Tutorial => {
                let more = console.with_extension("initrd");
                add(&debian.initrd(kernel), |to| kit::add(kernel, to), &more)?;
                more
            }
            _ => debian.initrd(kernel),
        };
        Ok(Machine {
            qemu: emulator.command(),
            kernel: kernel.image(),
            initrd,
            disk: Some(match (&boot.vm, &self.scx_loader) {
                (Vm::ScxLoader, disk) => disk
                    .clone()
                    .context("the root with scx_loader was not prepared")?,
                _ => debian.disk(),
            }),
            shape: boot.shape,
            clock: boot.clock,
            seed: self.seed,
            cmdline: format!(
                "root=/dev/vda rw quiet udev.children_max=2 systemd.getty_auto=no {cmdline}"
            ),
            console,
        })
    }
}

/// Appends files to an initramfs; later entries override earlier ones.
pub fn add(initrd: &Path, files: impl FnOnce(&mut Archive) -> Result<()>, to: &Path) -> Result<()> {
    let mut data = fs::read(initrd).with_context(|| format!("cannot read {}", initrd.display()))?;
    data.resize(data.len().next_multiple_of(4), 0);
    let mut archive = Archive::default();
    files(&mut archive)?;
    data.extend(archive.finish());
    fs::write(to, data).with_context(|| format!("cannot write {}", to.display()))
}
