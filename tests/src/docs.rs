// SPDX-License-Identifier: GPL-2.0-only
//! The fenced blocks of the documents in docs/, which the tests run.

/// docs/tutorial.md
pub const TUTORIAL: &str = include_str!("../../docs/tutorial.md");

/// docs/by-hand.md
pub const BY_HAND: &str = include_str!("../../docs/by-hand.md");

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// Such as `sh`.
    pub language: &'a str,
    /// The rest of the info string: where to run a `sh` block, the file name of a `c` block.
    pub tag: &'a str,
    /// The lines between the fences.
    pub text: &'a str,
}

/// All blocks, in order.
pub fn blocks(document: &str) -> Vec<Block<'_>> {
    let mut parts = document.split("\n```");
    // Text and blocks alternate; a block begins with its language.
    parts.next();
    let mut blocks = Vec::new();
    while let Some(part) = parts.next() {
        parts.next();
        let (info, text) = part.split_once('\n').unwrap_or((part, ""));
        let (language, tag) = info.split_once(' ').unwrap_or((info, ""));
        blocks.push(Block {
            language,
            tag,
            text,
        });
    }
    blocks
}

/// All commands with this tag as one shell script.
pub fn script(document: &str, tag: &str) -> String {
    let of_tag = |b: &Block<'_>| b.language == "sh" && b.tag == tag;
    let texts = blocks(document).into_iter().filter(of_tag).map(|b| b.text);
    texts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_language_tag_and_text() {
        let document =
            "a\n```sh here\ntrue\nfalse\n```\nb\n\n```c x.c\nint x;\n```\n```sh here\nls\n```\n";
        let found = blocks(document);
        assert_eq!(found[0].text, "true\nfalse");
        assert_eq!((found[1].language, found[1].tag), ("c", "x.c"));
        assert_eq!(script(document, "here"), "true\nfalse\nls");
    }

    /// Each block is run by a test or written to a file.
    #[test]
    fn no_block_is_left_out() {
        for block in [TUTORIAL, BY_HAND].into_iter().flat_map(blocks) {
            let known = match block.language {
                "sh" => ["author", "machine", "boot", "demo"].contains(&block.tag),
                "c" => block.tag.ends_with(".bpf.c"),
                _ => false,
            };
            assert!(known, "{block:?}");
        }
    }
}
