// SPDX-License-Identifier: GPL-2.0-only
//! The tree's shell scripts pass shellcheck.

use std::process::Command;

#[test]
fn shellcheck() {
    let scripts = "tests/install-deps tests/initcpio $(grep -rl '^#!' initramfs)";
    let out = Command::new("sh")
        .args(["-c", &format!("shellcheck {scripts}")])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cannot run sh");
    assert!(
        out.status.success(),
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}
