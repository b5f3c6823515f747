// SPDX-License-Identifier: GPL-2.0-only
//! The documentation of the hooks as text and as the man page scx_preload-hooks(7), from
//! the comments in the contract's headers.

use scx_preload_defaults::{HEADERS, HOOKS, Hook};

/// The documentation of one hook for a terminal.
pub fn plain(hook: &Hook) -> String {
    let mut out = format!(
        "{} - {}\n\n    {};\n",
        hook.name, hook.summary, hook.signature
    );
    for (name, text) in hook.args.iter().chain(hook.text) {
        out.push_str(&format!("\n{name}\n"));
        wrap(&mut out, text, 80, ["    "; 2]);
    }
    out
}

/// Append `text` in lines of at most `width` bytes. `indents` are those of the first line
/// and of the others.
pub(crate) fn wrap(out: &mut String, text: &str, width: usize, indents: [&str; 2]) {
    let [first, other] = indents;
    let mut line = first.to_owned();
    let mut space = "";
    for word in text.split_whitespace() {
        if line.len() + space.len() + word.len() > width {
            out.push_str(&line);
            out.push('\n');
            line = other.to_owned();
            space = "";
        }
        line.push_str(space);
        line.push_str(word);
        space = " ";
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// Sections of the page, and the headers whose introductions they contain.
const CHAPTERS: [(&str, &str); 2] = [
    ("TOPOLOGY", "scx_preload/topology.bpf.h"),
    ("BYPASS", "scx_preload/bypass.bpf.h"),
];

/// The man page in roff.
pub fn page() -> String {
    let mut out = format!(
        ".TH SCX_PRELOAD\\-HOOKS 7 \"\" \"scx_preload {}\" \"scx_preload\"\n\
         .SH NAME\nscx_preload\\-hooks \\- decisions of the default scheduler that an override can replace\n\
         .SH SYNOPSIS\n.EX\n#include \"vmlinux.h\"\n#include <scx_preload/hooks.bpf.h>\n.EE\n.PP\n\
         .B scx_preload build\n.IR FILE .bpf.c\n\
         .SH DESCRIPTION\n",
        env!("CARGO_PKG_VERSION")
    );
    chapter(&mut out, "scx_preload/hooks.bpf.h");
    out.push_str(".SH HOOKS\n");
    for hook in HOOKS {
        out.push_str(&format!(
            ".SS \"{}() \\- {}\"\n.EX\n{};\n.EE\n",
            hook.name,
            escape(hook.summary),
            escape(hook.signature)
        ));
        for (arg, text) in hook.args {
            out.push_str(&format!(".TP\n.I {arg}\n{}\n", paragraph(text)));
        }
        for (title, text) in hook.text {
            out.push_str(&format!(".TP\n.B {title}\n{}\n", paragraph(text)));
        }
    }
    for (title, header) in CHAPTERS {
        out.push_str(&format!(".SH {title}\n"));
        chapter(&mut out, header);
        out.push_str(&format!(".PP\nSee\n.IR {header} .\n"));
    }
    out.push_str(".SH SEE ALSO\n.BR scx_preload (8),\n.B scx_preload hooks \\-\\-doc\n.I HOOK\n");
    out
}

/// The introduction of a header: its second comment; the first is the license.
fn introduction(header: &str) -> Option<&'static str> {
    let (_, text) = HEADERS.iter().find(|(name, _)| *name == header)?;
    let (_, comment) = text.split_once("\n/*\n")?;
    Some(comment.split_once(" */")?.0)
}

/// Paragraphs are separated by empty lines; lines that begin with a tab are code.
fn chapter(out: &mut String, header: &str) {
    let mut code = false;
    // Paragraph breaks must not follow a heading.
    let mut empty = false;
    for line in introduction(header).unwrap_or_default().lines() {
        let line = line.strip_prefix(" *").unwrap_or(line);
        if line.trim().is_empty() {
            empty = true;
            continue;
        }
        if code != line.starts_with('\t') {
            code = !code;
            out.push_str(if code {
                ".PP\n.RS\n.EX\n"
            } else {
                ".EE\n.RE\n"
            });
        }
        if empty {
            out.push_str(if code { "" } else { ".PP\n" });
            empty = false;
        }
        match line.strip_prefix('\t') {
            Some(line) => out.push_str(&escape(line)),
            None => out.push_str(&paragraph(line.trim())),
        }
        out.push('\n');
    }
    if code {
        out.push_str(".EE\n.RE\n");
    }
}

/// Running text: arguments (`@p`) in italics.
fn paragraph(text: &str) -> String {
    let mut out = String::new();
    for (n, part) in escape(text).split('@').enumerate() {
        if n == 0 {
            out.push_str(part);
            continue;
        }
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (name, rest) = part.split_at(end.unwrap_or(part.len()));
        out.push_str(&format!("\\fI{name}\\fR{rest}"));
    }
    out
}

fn escape(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('`', "\\(ga")
        .replace('\'', "\\(aq")
        .replace('…', "...");
    // A leading dot would start a request.
    match text.strip_prefix('.') {
        Some(rest) => format!("\\&.{rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_all_of_every_hook() {
        let page = page();
        for hook in HOOKS {
            let section = page
                .split(&format!(".SS \"{}() ", hook.name))
                .nth(1)
                .unwrap_or_default();
            let section = format!("{}\n", section.split("\n.S").next().unwrap_or_default());
            assert!(section.contains(&escape(hook.signature)), "{}", hook.name);
            for (name, text) in hook.args.iter().chain(hook.text) {
                let part = format!(" {name}\n{}\n", paragraph(text));
                assert!(section.contains(&part), "{}: {part}", hook.name);
            }
        }
        for (title, header) in CHAPTERS {
            assert!(introduction(header).is_some_and(|text| text.len() > 200));
            assert!(page.contains(&format!(".SH {title}\n")));
        }
        assert!(page.contains("dfl_pick_idle_cpu(p, prev_cpu, wake_flags);"));
    }

    #[test]
    fn arguments_are_italic_and_requests_are_text() {
        assert_eq!(
            paragraph("@p's, or @cpu."),
            "\\fIp\\fR\\(aqs, or \\fIcpu\\fR."
        );
        assert_eq!(escape(".so -x"), "\\&.so \\-x");
    }
}
