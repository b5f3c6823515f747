// SPDX-License-Identifier: GPL-2.0-only
//! libbpf's messages. Its reasons for a failure are text for the print callback only.

use std::sync::Mutex;

use libbpf_rs::{PrintLevel, set_print};

static SAID: Mutex<String> = Mutex::new(String::new());

fn print(level: PrintLevel, text: String) {
    log::debug!(target: "libbpf", "{}", text.trim_end());
    if level == PrintLevel::Warn {
        // Poisoned only by a panic in progress.
        SAID.lock()
            .unwrap_or_else(|e| e.into_inner())
            .push_str(&text);
    }
}

/// Send libbpf's messages to the log, and keep its warnings for [`take`].
pub fn install() {
    set_print(Some((PrintLevel::Info, print)));
}

/// The warnings since the last call, without libbpf's own prefix.
pub fn take() -> String {
    let mut said = SAID.lock().unwrap_or_else(|e| e.into_inner());
    std::mem::take(&mut *said).replace("libbpf: ", "")
}

/// The line with the reason: the verifier's last one before its statistics, without the
/// states that it compares; without a verifier log, libbpf's first.
pub fn decisive_line(log: &str) -> Option<&str> {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    let verdict = lines()
        .take_while(|line| !line.starts_with("processed "))
        .filter(|line| !line.starts_with("cur state: ") && !line.starts_with("old state: "))
        .last();
    if lines().any(|line| line.starts_with("processed ")) {
        verdict
    } else {
        lines().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifier_verdict_comes_before_its_statistics() {
        let log = "prog 'x': BPF program load failed: -EACCES\n\
                   prog 'x': -- BEGIN PROG LOAD LOG --\n\
                   0: R1=ctx() R10=fp0\n\
                   R0 !read_ok\n\
                   processed 1 insns (limit 1000000)\n\
                   -- END PROG LOAD LOG --\n";
        assert_eq!(decisive_line(log), Some("R0 !read_ok"));
    }

    #[test]
    fn states_are_no_reason() {
        let log = "infinite loop detected at insn 8\n\
                   cur state: R2=scalar() R10=fp0\n\
                   old state: R2=scalar() R10=fp0\n\
                   processed 12 insns (limit 1000000)\n";
        assert_eq!(decisive_line(log), Some("infinite loop detected at insn 8"));
    }

    #[test]
    fn without_verifier_the_first_line() {
        assert_eq!(decisive_line("\nelf: bad\nmore\n"), Some("elf: bad"));
        assert_eq!(decisive_line(""), None);
    }
}
