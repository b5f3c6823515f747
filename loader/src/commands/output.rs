// SPDX-License-Identifier: GPL-2.0-only
//! What commands print and write.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use scx_preload::object::linker::Override;
use scx_preload_defaults::HOOKS;
use tempfile::NamedTempFile;

/// Print to standard output. A closed pipe, as to `head`, is no error.
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

/// Replace the file at `path`. A failure, such as a full disk, leaves it unchanged.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    temporary(path, bytes)
        .and_then(|file| Ok(file.persist(path)?))
        .map(drop)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Create the file at `path`, or fail if it exists.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    temporary(path, bytes)?.persist_noclobber(path)?;
    Ok(())
}

/// A file in the directory of `path`, to be renamed. The umask applies to its mode, as to
/// that of other outputs.
fn temporary(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".scx_preload-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(dir)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Lines with aligned columns.
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

/// Print which override defines each hook once these are linked with the defaults.
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
