// SPDX-License-Identifier: GPL-2.0-only
//! Drop-ins: overrides in well-known directories that are linked with the defaults.
//!
//! Files are found, replaced and masked like systemd's drop-ins. A broken one can be named
//! or left out without the others.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use scx_preload_defaults::OBJECT;

use super::linker::{Override, link_overrides};
use super::source::Source;
use crate::{Error, Result};

/// Directories of drop-ins. A file in the first replaces the file of the same name in the
/// second.
pub const DIRS: [&str; 2] = [
    "/etc/scx_preload/overrides.d",
    "/usr/lib/scx_preload/overrides.d",
];

/// Suffix of a drop-in's name.
const SUFFIX: &str = ".bpf.o";

/// The drop-ins under `root`, sorted by name, without those masked by an empty file or by a
/// link to /dev/null.
pub fn find(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for dir in DIRS {
        let dir = root.join(dir.trim_start_matches('/'));
        let cannot = |err| Error::io(format!("cannot read {}", dir.display()))(err);
        let entries = match fs::read_dir(&dir) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(cannot)?,
        };
        for entry in entries {
            let name = entry.map_err(cannot)?.file_name();
            let text = name.to_string_lossy();
            if text.ends_with(SUFFIX) && !text.starts_with('.') {
                let path = dir.join(&name);
                found.entry(name).or_insert(path);
            }
        }
    }
    Ok(found.into_values().filter(|path| !masks(path)).collect())
}

fn masks(path: &Path) -> bool {
    let to_null = fs::canonicalize(path).is_ok_and(|to| to == Path::new("/dev/null"));
    to_null || fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == 0)
}

/// A broken drop-in.
#[derive(Debug)]
pub struct LeftOut {
    /// Its path.
    pub path: PathBuf,
    /// What is wrong with it.
    pub error: Error,
}

impl LeftOut {
    /// Its name and what is wrong with it, in one line.
    pub fn text(&self) -> String {
        format!("drop-in {} is left out: {}", name(&self.path), self.error)
    }

    /// A command that repairs this.
    pub fn remedy(&self) -> String {
        let [etc, _] = DIRS.map(Path::new);
        let path = self.path.display();
        let (what, command) = if self.path.starts_with(etc) {
            ("rename it", format!("mv {path} {path}.off"))
        } else {
            let mask = etc.join(name(&self.path));
            ("mask it", format!("ln -s /dev/null {}", mask.display()))
        };
        format!("a drop-in is broken; repair it, or {what} with `{command}`")
    }
}

/// The file in which linking for a boot lists the drop-ins left out of `object`, a line
/// each. The boot logs them again.
pub fn note(object: &Path) -> PathBuf {
    let mut note = object.as_os_str().to_owned();
    note.push(".left-out");
    note.into()
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Drop-ins that link with the defaults, and the linked object.
#[derive(Debug)]
pub struct DropIns {
    overrides: Vec<Override>,
    linked: Vec<u8>,
}

impl DropIns {
    /// Read the drop-ins under `root` and link those that are not broken.
    pub fn read(root: &Path) -> Result<(Self, Vec<LeftOut>)> {
        let mut overrides = Vec::new();
        let mut left_out = Vec::new();
        for path in find(root)? {
            match Override::read(&path) {
                Ok(read) => overrides.push(read),
                Err(error) => left_out.push(LeftOut { path, error }),
            }
        }
        if overrides.is_empty() {
            return Ok((Self::none(), left_out));
        }
        let this = match link_overrides(&overrides) {
            Ok(linked) => Self { overrides, linked },
            Err(_) => {
                let (this, more) = Self::one_by_one(overrides, |_| Ok(()));
                left_out.extend(more);
                left_out.sort_by(|a, b| a.path.file_name().cmp(&b.path.file_name()));
                this
            }
        };
        Ok((this, left_out))
    }

    fn none() -> Self {
        Self {
            overrides: Vec::new(),
            linked: OBJECT.to_vec(),
        }
    }

    /// Leave out the drop-ins that `judge` refuses.
    pub fn judged(self, judge: impl Fn(&Source) -> Result<()>) -> (Self, Vec<LeftOut>) {
        Self::one_by_one(self.overrides, judge)
    }

    /// Add one drop-in after the other; leave it out if it does not link with those before
    /// it, or if `judge` refuses the result. Those before it have passed.
    fn one_by_one(
        overrides: Vec<Override>,
        judge: impl Fn(&Source) -> Result<()>,
    ) -> (Self, Vec<LeftOut>) {
        let mut kept = Self::none();
        let mut left_out = Vec::new();
        for candidate in overrides {
            let name = candidate.name.clone();
            kept.overrides.push(candidate);
            let judged = link_overrides(&kept.overrides).and_then(|bytes| {
                let source = Source { name, bytes };
                judge(&source).map(|()| source.bytes)
            });
            match judged {
                Ok(linked) => kept.linked = linked,
                Err(error) => {
                    let path = kept.overrides.pop().map(|o| o.name.into());
                    left_out.extend(path.map(|path| LeftOut { path, error }));
                }
            }
        }
        (kept, left_out)
    }

    /// The drop-ins, sorted by name.
    pub fn overrides(&self) -> &[Override] {
        &self.overrides
    }

    /// The linked object.
    pub fn source(&self) -> Source {
        let names = self.overrides.iter().map(|o| name(o.name.as_ref()));
        Source {
            name: format!("drop-ins {}", names.collect::<Vec<_>>().join(", ")),
            bytes: self.linked.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A root directory with nothing but drop-ins.
    struct Root(TempDir);

    impl Root {
        fn new(files: &[&str]) -> Self {
            let root = Self(TempDir::new().unwrap());
            for file in files {
                fs::create_dir_all(root.at(file).parent().unwrap()).unwrap();
                fs::write(root.at(file), "x").unwrap();
            }
            root
        }

        /// `etc/NAME` or `lib/NAME` as a path.
        fn at(&self, file: &str) -> PathBuf {
            let (dir, name) = file.split_once('/').unwrap();
            let dir = DIRS[usize::from(dir == "lib")].trim_start_matches('/');
            self.0.path().join(dir).join(name)
        }

        #[track_caller]
        fn has(&self, files: &[&str]) {
            let files: Vec<_> = files.iter().map(|file| self.at(file)).collect();
            assert_eq!(find(self.0.path()).unwrap(), files);
        }
    }

    #[test]
    fn no_directory_has_no_drop_ins() {
        Root::new(&[]).has(&[]);
    }

    #[test]
    fn both_directories_sort_by_name() {
        let files = ["lib/20.bpf.o", "etc/30.bpf.o", "etc/10.bpf.o"];
        Root::new(&files).has(&["etc/10.bpf.o", "lib/20.bpf.o", "etc/30.bpf.o"]);
    }

    #[test]
    fn the_same_name_in_etc_replaces() {
        let files = ["lib/a.bpf.o", "lib/b.bpf.o", "etc/a.bpf.o"];
        Root::new(&files).has(&["etc/a.bpf.o", "lib/b.bpf.o"]);
    }

    #[test]
    fn empty_files_and_links_to_null_mask() {
        let root = Root::new(&["lib/a.bpf.o", "lib/b.bpf.o", "lib/c.bpf.o"]);
        fs::create_dir_all(root.at("etc/a").parent().unwrap()).unwrap();
        fs::write(root.at("etc/a.bpf.o"), "").unwrap();
        symlink("/dev/null", root.at("etc/b.bpf.o")).unwrap();
        root.has(&["lib/c.bpf.o"]);
    }

    #[test]
    fn other_files_are_ignored() {
        let files = ["etc/a.bpf.o.off", "etc/.a.bpf.o", "etc/a.bpf.c"];
        Root::new(&files).has(&[]);
    }

    /// A dangling link is an error to report.
    #[test]
    fn broken_ones_are_found_and_named() {
        let root = Root::new(&["etc/garbage.bpf.o"]);
        symlink("/nowhere/x.bpf.o", root.at("etc/dangling.bpf.o")).unwrap();
        let (drop_ins, left_out) = DropIns::read(root.0.path()).unwrap();
        assert!(drop_ins.overrides().is_empty());
        let names: Vec<_> = left_out.iter().map(|one| name(&one.path)).collect();
        assert_eq!(names, ["dangling.bpf.o", "garbage.bpf.o"]);
        let text = left_out[1].text();
        assert!(
            text.contains("garbage.bpf.o is left out") && text.contains("not a BPF object"),
            "{text}"
        );
    }

    #[test]
    fn remedies_lose_nothing() {
        let remedy = |path: &str| {
            let error = Error::NotLoaded;
            let path = path.into();
            LeftOut { path, error }.remedy()
        };
        let [etc, lib] = DIRS;
        let mask = format!("`ln -s /dev/null {etc}/a.bpf.o`");
        assert!(remedy(&format!("{lib}/a.bpf.o")).contains(&mask));
        let away = format!("`mv {etc}/a.bpf.o {etc}/a.bpf.o.off`");
        assert!(remedy(&format!("{etc}/a.bpf.o")).contains(&away));
    }
}
