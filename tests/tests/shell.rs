// SPDX-License-Identifier: GPL-2.0-only
//! The tree's shell scripts pass shellcheck.

use std::process::Command;

#[test]
fn shellcheck() {
    let out = Command::new("shellcheck")
        .args([
            "tests/install-deps",
            "initramfs/dracut/50scx_preload/module-setup.sh",
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("shellcheck is installed");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stdout)
    );
}
