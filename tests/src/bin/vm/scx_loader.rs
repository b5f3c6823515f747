// SPDX-License-Identifier: GPL-2.0-only
//! A Debian root with scx_loader, which switches between schedulers, its dependencies, and
//! schedulers for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::apt::Mirror;
use crate::cache::{Cache, Key};
use crate::debian::Debian;
use crate::kernel::Kernel;
use crate::peers;

/// polkit authorizes its callers.
const PACKAGES: &str = "dbus,polkitd,libseccomp2";

/// Crates and their versions; each program has the name of its crate.
const PROGRAMS: &[(&str, &str)] = &[
    ("scx_loader", "1.1.3"),
    ("scxctl", "1.1.3"),
    ("scx_bpfland", "1.1.4"),
    ("scx_cosmos", "1.1.7"),
    ("scx_lavd", "1.1.4"),
];

/// Not part of the crate; equivalent to upstream's files as to D-Bus, signals and
/// authorization.
const FILES: &[(&str, &str)] = &[
    (
        "etc/systemd/system/scx_loader.service",
        "\
[Unit]
Description=Loader of sched_ext schedulers
[Service]
Type=dbus
BusName=org.scx.Loader
ExecStart=/usr/bin/scx_loader
KillSignal=SIGINT
",
    ),
    (
        "etc/dbus-1/system.d/org.scx.Loader.conf",
        r#"<!DOCTYPE busconfig PUBLIC
 "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <policy user="root">
    <allow own="org.scx.Loader"/>
    <allow send_destination="org.scx.Loader"/>
  </policy>
</busconfig>
"#,
    ),
    (
        "usr/share/polkit-1/actions/org.scx.Loader.policy",
        r#"<!DOCTYPE policyconfig PUBLIC
 "-//freedesktop//DTD PolicyKit Policy Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/PolicyKit/1.0/policyconfig.dtd">
<policyconfig>
  <action id="org.scx.loader.manage-schedulers">
    <description>Choose a scheduler</description>
    <message>Choosing a scheduler needs a password.</message>
    <defaults>
      <allow_any>no</allow_any>
      <allow_inactive>no</allow_inactive>
      <allow_active>auth_admin_keep</allow_active>
    </defaults>
  </action>
</policyconfig>
"#,
    ),
];

pub fn disk(cache: &Cache, mirror: &Mirror, kernel: &Kernel) -> Result<PathBuf> {
    let mut programs = Vec::new();
    for (name, version) in PROGRAMS {
        programs.push((*name, peers::installed(cache, name, version)?));
    }
    let key = Key::default().with((PROGRAMS, FILES));
    Debian::more(cache, mirror, kernel, PACKAGES, key, |root| {
        add(root, &programs, kernel)
    })
}

fn add(root: &Path, programs: &[(&str, PathBuf)], kernel: &Kernel) -> Result<()> {
    for (name, text) in FILES {
        let path = root.join(name);
        fs::create_dir_all(path.parent().context("no directory for the file")?)?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for (name, from) in programs {
        let to = root.join("usr/bin").join(name);
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    }
    // Schedulers in Rust require it to start.
    let config = root.join(format!("boot/config-{}", kernel.release));
    fs::copy(kernel.dir.join("config"), config).context("cannot copy the kernel's config")?;
    Ok(())
}
