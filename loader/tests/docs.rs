// SPDX-License-Identifier: GPL-2.0-only
//! The generated man page and completions cover the whole command line.

use std::fs;
use std::process::Command;

use clap::CommandFactory;
use scx_preload::cli::Cli;

#[expect(dead_code)] // Its main().
#[path = "../examples/generate_docs.rs"]
mod generate_docs;

#[test]
fn every_subcommand_and_option_is_documented_and_completed() {
    let dir = tempfile::tempdir().unwrap();
    let files = generate_docs::write_all(dir.path()).unwrap();
    let texts: Vec<_> = files
        .iter()
        .map(|f| fs::read_to_string(f).unwrap())
        .collect();
    let [page, completions @ ..] = &texts[..] else {
        panic!("no files");
    };
    assert_eq!(completions.len(), 3);
    let command = Cli::command();
    assert!(command.get_subcommands().count() >= 12);
    for subcommand in command.get_subcommands() {
        let name = subcommand.get_name();
        let section = page.split(&format!("\n.SS {name}\n")).nth(1);
        let section = section.unwrap_or_else(|| panic!("no section {name}"));
        let section = section.split("\n.S").next().unwrap_or_default();
        for text in completions {
            assert!(text.contains(name), "{name} is not completed");
        }
        for long in subcommand.get_arguments().filter_map(|a| a.get_long()) {
            let option = format!("\\fB\\-\\-{}\\fR", long.replace('-', "\\-"));
            assert!(section.contains(&option), "{name} {option}: {section}");
            for text in completions {
                assert!(text.contains(long), "{name} --{long} is not completed");
            }
        }
    }
}

#[test]
fn man_page_has_correct_roff() {
    let dir = tempfile::tempdir().unwrap();
    let files = generate_docs::write_all(dir.path()).unwrap();
    let groff = Command::new("groff")
        .args(["-man", "-ww", "-z"])
        .arg(&files[0])
        .output()
        .expect("groff is installed");
    let said = String::from_utf8_lossy(&groff.stderr);
    assert!(groff.status.success() && said.is_empty(), "{said}");
}
