// SPDX-License-Identifier: GPL-2.0-only
//! Source of an override that calls the default of each hook.

use scx_preload_defaults::Hook;

use super::hook_docs::wrap;

/// Columns of a comment in the source.
const WIDTH: usize = 90;

const INCLUDES: &str = "\
#include \"vmlinux.h\"

#include <scx_preload/hooks.bpf.h>
#include <scx_preload/kernel.bpf.h>
#include <scx_preload/topology.bpf.h>

char _license[] SEC(\"license\") = \"GPL\";
";

/// The source of the override `name` with `hooks`.
pub fn text(name: &str, hooks: &[&Hook]) -> String {
    let mut out = String::from("// SPDX-License-Identifier: GPL-2.0-only\n");
    let about = [
        format!("{name}: describe what it changes and why."),
        String::new(),
        format!(
            "Compile and link it with `scx_preload build {name}.bpf.c`. \
             `scx_preload hooks --doc HOOK` prints the whole documentation of a hook."
        ),
    ];
    comment(&mut out, &about);
    out.push_str(INCLUDES);
    for hook in hooks {
        out.push('\n');
        let mut about = vec![format!("{}() - {}", hook.name, hook.summary)];
        about.extend(
            hook.args
                .iter()
                .map(|(arg, text)| format!("@{arg}: {text}")),
        );
        about.push(String::new());
        let essential = |title: &str| !matches!(title, "Kernel" | "May call");
        about.extend(
            hook.text
                .iter()
                .filter(|(title, _)| essential(title))
                .map(|(title, text)| format!("{title}: {text}")),
        );
        comment(&mut out, &about);
        out.push_str(&format!("{}\n{{\n\t{}\n}}\n", hook.signature, body(hook)));
    }
    out
}

/// The call of the default, as the body of the hook.
fn body(hook: &Hook) -> String {
    let args: Vec<_> = hook.args.iter().map(|(arg, _)| *arg).collect();
    let default = hook.name.replacen("hook_", "dfl_", 1);
    let keyword = if hook.signature.starts_with("void ") {
        ""
    } else {
        "return "
    };
    format!("{keyword}{default}({});", args.join(", "))
}

fn comment(out: &mut String, paragraphs: &[String]) {
    out.push_str("/*\n");
    for paragraph in paragraphs {
        // The description of an argument has a hanging indent.
        let argument = paragraph.starts_with('@');
        let other = if argument { " *\t" } else { " * " };
        wrap(out, paragraph, WIDTH, [" * ", other]);
    }
    out.push_str(" */\n");
}
