// SPDX-License-Identifier: GPL-2.0-only
//! `generate_docs DIR`: write scx_preload(8) and the completions of bash, zsh and fish into
//! DIR. An example and not a part of the program, which goes into initramfs images.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use scx_preload::cli::Cli;

fn main() -> anyhow::Result<()> {
    let dir = env::args_os().nth(1).context("usage: generate_docs DIR")?;
    write_all(Path::new(&dir)).map(drop)
}

/// Write all files into `dir`; returns their paths.
pub fn write_all(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let page = dir.join("scx_preload.8");
    fs::write(&page, man_page()?).with_context(|| format!("cannot write {}", page.display()))?;
    let mut files = vec![page];
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut command = Cli::command();
        let file = clap_complete::generate_to(shell, &mut command, "scx_preload", dir);
        files.push(file.with_context(|| format!("cannot write the completions of {shell}"))?);
    }
    Ok(files)
}

/// All subcommands on one page. A page for each would make scx_preload-hooks(8) hide
/// scx_preload-hooks(7).
fn man_page() -> io::Result<Vec<u8>> {
    let command = Cli::command().disable_help_subcommand(true);
    let man = Man::new(command.clone()).section("8").manual("scx_preload");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    write_roff(&mut page, Roff::new().control("SH", ["COMMANDS"]))?;
    for subcommand in command.get_subcommands() {
        page.extend(subsection(subcommand)?);
    }
    let mut rest = Roff::new();
    rest.control("SH", ["NOTES"]);
    let notes = command.get_after_help().map(ToString::to_string);
    for note in notes.iter().flat_map(|notes| notes.lines()) {
        rest.text([roman(note)]).control("PP", []);
    }
    rest.control("SH", ["SEE ALSO"]);
    rest.text([bold("scx_preload-hooks"), roman("(7)")]);
    write_roff(&mut page, &rest)?;
    Ok(page)
}

/// A subcommand's page without its title, under one heading.
fn subsection(subcommand: &Command) -> io::Result<Vec<u8>> {
    let name = subcommand.get_name();
    let command = subcommand
        .clone()
        .bin_name(format!("scx_preload {name}"))
        .disable_help_flag(true);
    let notes = command.get_after_help().map(ToString::to_string);
    let man = Man::new(command);
    let mut sections = Vec::new();
    man.render_synopsis_section(&mut sections)?;
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;

    let mut out = Roff::new().control("SS", [name]).to_roff().into_bytes();
    for line in String::from_utf8_lossy(&sections).lines() {
        match line {
            ".SH SYNOPSIS" => continue,
            _ if line.starts_with(".SH ") => writeln!(out, ".PP")?,
            _ => writeln!(out, "{line}")?,
        }
    }
    if let Some(notes) = notes {
        let mut roff = Roff::new();
        roff.control("PP", []);
        match notes.contains('\n') {
            // Examples, which must stay lines.
            true => roff
                .control("EX", [])
                .text([roman(notes)])
                .control("EE", []),
            false => roff.text([roman(notes)]),
        };
        write_roff(&mut out, &roff)?;
    }
    Ok(out)
}

fn write_roff(out: &mut Vec<u8>, roff: &Roff) -> io::Result<()> {
    out.write_all(roff.to_roff().as_bytes())
}
