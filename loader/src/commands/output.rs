// SPDX-License-Identifier: GPL-2.0-only
//! What commands print and write.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use scx_preload::object::linker::Override;
use scx_preload_defaults::HOOKS;

/// Print to standard output. A reader that has gone away, such as `head`, is
/// no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => Err(err.into()),
        _ => Ok(()),
    }
}

/// Print `value` as indented JSON.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Write next to `path` and rename, so that a full disk leaves what was there.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    fs::write(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Lines with columns as wide as their widest cell; the last is left as it is.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let number = !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit());
            if number {
                line.push_str(&format!("{cell:>width$}  "));
            } else {
                line.push_str(&format!("{cell:<width$}  "));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Who defines each hook once these are linked with the defaults.
pub fn print_overrides(overrides: &[Override]) -> anyhow::Result<()> {
    let mut rows = vec![vec!["HOOK".to_string(), "FROM".into()]];
    for hook in HOOKS {
        let from = overrides.iter().find(|o| o.hooks().any(|h| h == hook.name));
        rows.push(vec![
            hook.name.into(),
            from.map_or("default".into(), |o| format!("override {}", o.name)),
        ]);
    }
    print(&table(&rows))
}

#[cfg(test)]
mod tests {
    #[test]
    fn table_aligns_words_left_and_numbers_right() {
        let rows = [vec!["HOOK", "CALLS"], vec!["a", "7"]];
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| cell.to_string()).collect())
            .collect();
        assert_eq!(super::table(&rows), "HOOK  CALLS\na         7\n");
    }
}
