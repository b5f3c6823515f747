// SPDX-License-Identifier: GPL-2.0-only
//! Nothing uses what uses it: neither files of the defaults, nor modules of the loader, nor
//! its folders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

type Uses = BTreeMap<String, BTreeSet<String>>;

/// The first circle found, as the names on it; the last one uses the first.
fn circle(uses: &Uses) -> Option<Vec<&str>> {
    fn walk<'a>(
        at: &'a str,
        uses: &'a Uses,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<&'a str>> {
        if let Some(start) = path.iter().position(|name| *name == at) {
            return Some(path[start..].to_vec());
        }
        if done.contains(at) {
            return None;
        }
        path.push(at);
        let found = uses
            .get(at)
            .into_iter()
            .flatten()
            .find_map(|next| walk(next, uses, path, done));
        path.pop();
        done.insert(at);
        found
    }
    let mut done = BTreeSet::new();
    uses.keys()
        .find_map(|name| walk(name, uses, &mut Vec::new(), &mut done))
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn files(dir: &Path, suffixes: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, suffixes));
        } else if suffixes
            .iter()
            .any(|suffix| path.to_string_lossy().ends_with(suffix))
        {
            found.push(path);
        }
    }
    found
}

/// `idle` of `…/idle.bpf.c` and of `idle.bpf.h`.
fn floor(path: &Path) -> String {
    let name = path.file_name().unwrap().to_string_lossy();
    name.split('.').next().unwrap().to_owned()
}

/// The function that a line at the left margin declares (`;`) or defines.
fn function(line: &str) -> Option<&str> {
    let (head, _) = line.split_once('(')?;
    let name = head.rsplit([' ', '*']).next()?;
    let starts = line.starts_with(|c: char| c.is_ascii_lowercase());
    (starts && head.contains(' ') && !name.is_empty()).then_some(name)
}

#[test]
fn floors_of_the_defaults() {
    let dir = source("defaults-bpf/src");
    let (mut uses, mut defined, mut declared) = (Uses::new(), BTreeMap::new(), Vec::new());
    for path in files(&dir, &[".bpf.c", ".bpf.h"]) {
        let (text, floor) = (fs::read_to_string(&path).unwrap(), floor(&path));
        let used = uses.entry(floor.clone()).or_default();
        for line in text.lines() {
            let include = line.strip_prefix("#include \"");
            let header = include.map(|rest| dir.join(rest.trim_end_matches('"')));
            if let Some(header) = header.filter(|header| header.exists()) {
                used.insert(self::floor(&header));
            }
        }
        used.remove(&floor);
        // A declaration ends on a later line at times; its body begins at the left margin.
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(name) = function(line).map(str::to_owned) else {
                continue;
            };
            let mut end = line;
            while !end.ends_with([';', ')', '}']) || end.ends_with(',') {
                let Some(next) = lines.next() else { break };
                end = next;
            }
            if lines.peek() == Some(&"{") {
                defined.insert(name, floor.clone());
            } else if path.extension().is_some_and(|c| c == "c") {
                declared.push((name, floor.clone()));
            }
        }
    }
    assert!(uses["ops"].contains("dispatch") && defined["do_dispatch"] == "dispatch");
    assert_eq!(circle(&uses), None, "floors that include each other");

    // Thus headers are the only way to call another floor.
    let around: Vec<_> = declared
        .iter()
        .filter(|(name, floor)| defined.get(name).is_some_and(|owner| owner != floor))
        .collect();
    assert!(around.is_empty(), "declared past its header: {around:?}");
}

/// The paths of a source file, without those of its tests.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl Paths {
    fn tree(&mut self, tree: &syn::UseTree, mut prefix: Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.tree(&path.tree, prefix);
            }
            syn::UseTree::Group(group) => {
                for item in &group.items {
                    self.tree(item, prefix.clone());
                }
            }
            syn::UseTree::Name(name) => {
                prefix.push(name.ident.to_string());
                self.0.push(prefix);
            }
            syn::UseTree::Rename(name) => {
                prefix.push(name.ident.to_string());
                self.0.push(prefix);
            }
            syn::UseTree::Glob(_) => self.0.push(prefix),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|s| s.ident.to_string());
        self.0.push(names.collect());
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.ident != "tests" {
            visit::visit_item_mod(self, module);
        }
    }
}

/// Modules of the loader by their path, and the modules that each names.
fn modules() -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let root = source("loader/src");
    let mut sources = BTreeMap::new();
    for path in files(&root, &[".rs"]) {
        let module = path.strip_prefix(&root).unwrap().with_extension("");
        let mut module: Vec<_> = module
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        module.retain(|part| part != "mod" && part != "lib");
        let file = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
        sources.insert(module, file);
    }
    let mut used = BTreeMap::new();
    for (module, file) in &sources {
        let mut paths = Paths::default();
        paths.visit_file(file);
        let absolute = paths.0.into_iter().filter_map(|path| {
            let mut rest = path.as_slice();
            let mut base = match rest.first().map(String::as_str)? {
                "crate" | "scx_preload" => Vec::new(),
                "super" => module.clone(),
                "self" => module.clone(),
                _ => return None,
            };
            while let [first, tail @ ..] = rest {
                match first.as_str() {
                    "super" => drop(base.pop()),
                    "crate" | "scx_preload" | "self" => {}
                    _ => break,
                }
                rest = tail;
            }
            base.extend_from_slice(rest);
            Some(base)
        });
        let named = absolute.filter_map(|path| {
            let lengths = (1..=path.len()).rev();
            let mut prefixes = lengths.map(|n| &path[..n]);
            prefixes
                .find(|p| sources.contains_key(*p))
                .map(<[_]>::to_vec)
        });
        let named = named.filter(|other| other != module).collect();
        used.insert(module.clone(), named);
    }
    used
}

#[test]
fn modules_and_folders_of_the_loader() {
    let (mut by_module, mut by_folder) = (Uses::new(), Uses::new());
    for (module, used) in modules() {
        let folder = module.first().cloned().unwrap_or_default();
        for other in used {
            let other_folder = other[0].clone();
            by_module
                .entry(module.join("::"))
                .or_default()
                .insert(other.join("::"));
            if other_folder != folder {
                by_folder
                    .entry(folder.clone())
                    .or_default()
                    .insert(other_folder);
            }
        }
    }
    assert!(by_folder["commands"].contains("scheduler"));
    assert_eq!(circle(&by_module), None, "modules that use each other");
    assert_eq!(circle(&by_folder), None, "folders that use each other");
}

#[test]
fn a_circle_is_found() {
    let uses = |edges: &[(&str, &str)]| {
        let mut uses = Uses::new();
        for (from, to) in edges {
            let to = (*to).to_owned();
            uses.entry((*from).to_owned()).or_default().insert(to);
        }
        uses
    };
    assert_eq!(circle(&uses(&[("a", "b"), ("a", "c"), ("b", "c")])), None);
    let round = uses(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")]);
    assert_eq!(circle(&round), Some(vec!["b", "c", "d"]));
}
