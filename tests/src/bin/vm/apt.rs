// SPDX-License-Identifier: GPL-2.0-only
//! Packages of any Debian suite from the mirror that this machine uses, through
//! a private apt configuration a suite: the machine's own lists and sources
//! stay as they are.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::cache::Cache;
use crate::step;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Kernel versions come and go; a week-old list usually still resolves.
const LISTS_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A Debian mirror and the keys that sign it.
#[derive(Debug, PartialEq)]
pub struct Mirror {
    pub uri: String,
    pub keyring: String,
}

impl Mirror {
    /// The mirror of the machine's own main suite.
    pub fn of_this_machine() -> Result<Self> {
        let os_release =
            fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
        let codename = os_release
            .lines()
            .find_map(|l| l.strip_prefix("VERSION_CODENAME="))
            .map(|v| v.trim_matches('"'))
            .unwrap_or("sid");
        let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
        if let Ok(dir) = fs::read_dir("/etc/apt/sources.list.d") {
            files.extend(dir.flatten().map(|entry| entry.path()));
        }
        let mut sources = Vec::new();
        for file in files {
            let text = fs::read_to_string(&file).unwrap_or_default();
            match file.extension().and_then(|e| e.to_str()) {
                Some("sources") => sources.extend(parse_deb822(&text)),
                Some("list") => sources.extend(parse_one_line(&text)),
                _ => {}
            }
        }
        find_main(&sources, codename)
            .with_context(|| format!("no apt source under /etc/apt has Debian's {codename} main"))
    }

    /// One line of a sources.list. A frozen mirror is good enough for tests:
    /// signatures are checked, expiry dates are not.
    pub fn line(&self, suite: &str) -> String {
        format!(
            "deb [signed-by={} check-valid-until=no] {} {suite} main",
            self.keyring, self.uri
        )
    }
}

#[derive(Debug, Default, PartialEq)]
struct Source {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

fn find_main(sources: &[Source], codename: &str) -> Option<Mirror> {
    let is_main = |s: &&Source| s.components.iter().any(|c| c == "main");
    let has =
        |s: &&Source, names: &[&str]| s.suites.iter().any(|suite| names.contains(&suite.as_str()));
    let source = sources
        .iter()
        .filter(is_main)
        .find(|s| has(s, &[codename]))
        .or_else(|| {
            let by_role = ["stable", "oldstable", "testing", "unstable", "sid"];
            sources.iter().filter(is_main).find(|s| has(s, &by_role))
        })?;
    Some(Mirror {
        uri: source.uri.clone(),
        keyring: source.signed_by.clone().unwrap_or_else(|| KEYRING.into()),
    })
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(String::from).collect()
}

/// Only a path can be passed on; an embedded key or a fingerprint cannot.
fn keyring_path(signed_by: &str) -> Option<String> {
    signed_by
        .split([',', ' '])
        .next()
        .filter(|p| p.starts_with('/'))
        .map(String::from)
}

fn parse_deb822(text: &str) -> Vec<Source> {
    let no_comments: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    let stanzas = no_comments.split(|l| l.trim().is_empty());
    stanzas.flat_map(parse_stanza).collect()
}

fn parse_stanza(lines: &[&str]) -> Option<Source> {
    // A continuation line starts with a blank: unfold it first.
    let text = lines.join("\n").replace("\n ", " ").replace("\n\t", " ");
    let field = |name: &str| {
        text.lines().find_map(|l| {
            let (key, value) = l.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    if field("Enabled").is_some_and(|v| v.eq_ignore_ascii_case("no"))
        || !words(field("Types")?).contains(&"deb".into())
    {
        return None;
    }
    Some(Source {
        uri: words(field("URIs")?).into_iter().next()?,
        suites: words(field("Suites")?),
        components: words(field("Components").unwrap_or("")),
        signed_by: field("Signed-By").and_then(keyring_path),
    })
}

fn parse_one_line(text: &str) -> Vec<Source> {
    let line = |line: &str| {
        let rest = line
            .split('#')
            .next()?
            .trim()
            .strip_prefix("deb ")?
            .trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut rest = words(rest).into_iter();
        Some(Source {
            uri: rest.next()?,
            suites: vec![rest.next()?],
            components: rest.collect(),
            signed_by: options
                .split_whitespace()
                .find_map(|o| keyring_path(o.strip_prefix("signed-by=")?)),
        })
    };
    text.lines().filter_map(line).collect()
}

/// The packages of one suite.
pub struct Suite {
    pub name: String,
    options: Vec<String>,
}

/// What the lists say about a package.
pub struct Package {
    pub name: String,
    pub version: String,
    /// Names only; of alternatives the first.
    pub depends: Vec<String>,
}

impl Suite {
    pub fn open(cache: &Cache, mirror: &Mirror, name: &str, refresh: bool) -> Result<Self> {
        let dir = cache.dir.join("apt").join(name);
        for sub in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(sub))
                .with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let list = dir.join("sources.list");
        let line = mirror.line(name) + "\n";
        let stamp = dir.join("updated");
        let fresh = fs::read_to_string(&list).is_ok_and(|old| old == line)
            && fs::metadata(&stamp)
                .and_then(|m| m.modified())
                .is_ok_and(|at| {
                    SystemTime::now()
                        .duration_since(at)
                        .is_ok_and(|age| age < LISTS_MAX_AGE)
                });
        fs::write(&list, line).with_context(|| format!("cannot write {}", list.display()))?;

        let d = dir.display();
        let options = [
            format!("Dir::Etc::sourcelist={d}/sources.list"),
            "Dir::Etc::sourceparts=-".into(),
            "Dir::Etc::preferences=-".into(),
            "Dir::Etc::preferencesparts=-".into(),
            format!("Dir::State::lists={d}/lists"),
            "Dir::State::status=/dev/null".into(),
            format!("Dir::Cache={d}/cache"),
            "APT::Default-Release=".into(),
            "APT::Architecture=amd64".into(),
            "APT::Architectures=amd64".into(),
            // _apt may not read our cache.
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            "Acquire::Retries=3".into(),
        ];
        let suite = Suite {
            name: name.into(),
            options: options
                .iter()
                .flat_map(|o| ["-o".into(), o.clone()])
                .collect(),
        };
        if refresh || !fresh {
            step::run(
                &format!("package lists of {name}"),
                suite.apt("apt-get").args(["--error-on=any", "update"]),
            )?;
            File::create(&stamp)?;
        }
        Ok(suite)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).env("LC_ALL", "C");
        command
    }

    pub fn package(&self, name: &str) -> Result<Package> {
        let out = self
            .apt("apt-cache")
            .args(["show", "--no-all-versions", name])
            .output();
        let out = out.context("cannot run apt-cache")?;
        ensure!(out.status.success(), "{} has no package {name}", self.name);
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let field = |key: &str| {
            text.lines()
                .find_map(|l| l.strip_prefix(key)?.strip_prefix(": "))
        };
        let depends = field("Depends").unwrap_or_default().split(',');
        Ok(Package {
            name: name.into(),
            version: field("Version")
                .context("a package without a version")?
                .into(),
            depends: depends
                .filter_map(|d| d.split_whitespace().next())
                .map(String::from)
                .collect(),
        })
    }

    /// Downloads packages, their hashes checked, into `dir`.
    pub fn download(&self, packages: &[Package], dir: &Path) -> Result<()> {
        let names = packages.iter().map(|p| format!("{}={}", p.name, p.version));
        let mut command = self.apt("apt-get");
        command.arg("download").args(names).current_dir(dir);
        step::run(&format!("download from {}", self.name), &mut command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
# comment
Types: deb deb-src
# a comment within
URIs: http://mirror.example/debian
Suites: trixie
 trixie-updates
Components: main
Signed-By: /usr/share/keyrings/k.pgp

Types: deb
URIs: http://security.example/debian-security
Suites: trixie-security
Components: main
Enabled: no
";

    #[test]
    fn deb822_sources() {
        let sources = parse_deb822(DEB822);
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].suites, ["trixie", "trixie-updates"]);
        let main = find_main(&sources, "trixie").unwrap();
        assert_eq!(main.uri, "http://mirror.example/debian");
        assert_eq!(main.keyring, "/usr/share/keyrings/k.pgp");
    }

    #[test]
    fn one_line_sources() {
        let sources = parse_one_line(
            "# deb http://no.example/ bookworm main\n\
             deb-src http://no.example/ bookworm main\n\
             deb http://contrib.example/debian bookworm contrib\n\
             deb [arch=amd64 signed-by=/k.gpg] http://yes.example/debian bookworm main # end\n",
        );
        let main = find_main(&sources, "bookworm").unwrap();
        assert_eq!(
            main,
            Mirror {
                uri: "http://yes.example/debian".into(),
                keyring: "/k.gpg".into()
            }
        );
    }

    #[test]
    fn keys_without_a_path_mean_debians_keyring() {
        let sources = parse_deb822(
            "Types: deb\nURIs: http://a.example/\nSuites: stable\nComponents: main\n\
             Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n",
        );
        assert_eq!(find_main(&sources, "trixie").unwrap().keyring, KEYRING);
        assert_eq!(find_main(&sources[..0], "trixie"), None);
    }
}
