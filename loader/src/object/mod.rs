// SPDX-License-Identifier: GPL-2.0-only
//! What an author's object goes through: read, check, link, build. Nothing here asks the
//! running kernel.

pub mod dropins;
pub mod elf;
pub mod hook_docs;
pub mod kfuncs;
pub mod linker;
pub mod signature;
pub mod source;
pub mod template;
pub mod vmlinux;
