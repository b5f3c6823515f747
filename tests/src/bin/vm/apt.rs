// SPDX-License-Identifier: GPL-2.0-only
//! Packages of any Debian suite from the system's mirror, through a private apt
//! configuration for each suite: the system's lists and sources stay untouched.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::cache::Cache;
use crate::kernel::output;
use crate::step;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Kernel versions disappear from mirrors; a week-old list usually still resolves.
const LISTS_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A Debian mirror.
pub struct Mirror {
    uri: String,
}

impl Mirror {
    /// The mirror of the system's main suite.
    pub fn of_this_machine() -> Result<Self> {
        let os_release =
            fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
        let codename = os_release
            .lines()
            .find_map(|l| l.strip_prefix("VERSION_CODENAME="))
            .map(|v| v.trim_matches('"'))
            .unwrap_or("sid");
        let targets = output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(RELEASE) $(COMPONENT) $(REPO_URI)",
            "Created-By: Packages",
        ]))?;
        let uri = find_main(&targets, codename)
            .with_context(|| format!("no apt source has Debian's {codename} main; add one"))?;
        Ok(Mirror {
            uri: uri.trim_end_matches('/').into(),
        })
    }

    /// A line for sources.list, with Debian's keyring, because most suites have no source
    /// on this system. A frozen mirror is good enough for tests: signatures are checked,
    /// expiry dates are not.
    pub fn line(&self, suite: &str) -> String {
        format!(
            "deb [signed-by={KEYRING} check-valid-until=no] {} {suite} main",
            self.uri
        )
    }
}

/// The URI of main, from lines with a suite as the source names it, a component and the
/// archive's URI.
fn find_main<'a>(targets: &'a str, codename: &str) -> Option<&'a str> {
    let main_of = |suites: &[&str]| {
        let mut lines = targets.lines().map(|l| l.split(' ').collect::<Vec<_>>());
        lines.find_map(|words| match words[..] {
            [suite, "main", uri] if suites.contains(&suite) => Some(uri),
            _ => None,
        })
    };
    main_of(&[codename]).or_else(|| main_of(&["stable", "oldstable", "testing", "unstable", "sid"]))
}

/// The packages of one suite.
pub struct Suite {
    pub name: String,
    options: Vec<String>,
}

/// A package, from the package lists.
pub struct Package {
    pub name: String,
    pub version: String,
    /// Names only; the first of alternatives.
    pub depends: Vec<String>,
}

impl Suite {
    pub fn open(cache: &Cache, mirror: &Mirror, name: &str, refresh: bool) -> Result<Self> {
        let dir = cache.dir.join("apt").join(name);
        for sub in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(sub))
                .with_context(|| format!("cannot create {}", dir.display()))?;
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
            // The user _apt may not read the cache.
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

    /// Downloads packages into `dir`; apt checks their hashes.
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

    const TARGETS: &str = "\
./  http://flat.example/
trixie contrib http://contrib.example/debian/
trixie-security main http://security.example/debian-security/
stable main http://role.example/debian/
trixie main http://mirror.example/debian/
";

    #[test]
    fn mirror_of_the_main_suite() {
        assert_eq!(
            find_main(TARGETS, "trixie"),
            Some("http://mirror.example/debian/")
        );
        assert_eq!(
            find_main(TARGETS, "bookworm"),
            Some("http://role.example/debian/")
        );
        assert_eq!(find_main("bookworm main http://a.example/", "trixie"), None);
    }
}
