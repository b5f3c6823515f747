// SPDX-License-Identifier: GPL-2.0-only
//! Read an object file: contract versions, hooks with their source files, calls, defined
//! and undefined names.

use std::collections::HashMap;
use std::ops::Range;

use object::elf::EM_BPF;
use object::read::elf::ElfFile64;
use object::{
    Endianness, Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex, SectionKind,
    SymbolKind,
};
use scx_preload_defaults::{
    CONTRACT_SECTION, CONTRACT_VERSION, HOOKS, Hook, QUEUES_MAX, QUEUES_SECTION,
};

use crate::{Error, Result};

/// Section of the license string.
const LICENSE_SECTION: &str = "license";

/// Binding of a symbol. In a linked object it tells overrides from defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// `static`: ignored by the linker.
    Local,
    /// A default.
    Weak,
    /// An override.
    Global,
}

/// A function of an object whose name begins with `hook_`.
#[derive(Clone, Debug)]
pub struct HookSymbol {
    /// The function's name.
    pub name: String,
    /// How it is bound.
    pub binding: Binding,
    /// Source file, if the object has line info.
    pub file: Option<String>,
}

/// The parts of an object file that linking and listing use.
#[derive(Clone, Debug)]
pub struct BpfObject {
    /// Contract version of each of its parts.
    pub contracts: Vec<u32>,
    /// DSQs that its parts ask for: first id and count.
    pub own_queues: Vec<(u64, u64)>,
    /// Its hooks in the catalog's order, unknown names last.
    pub hooks: Vec<HookSymbol>,
    /// Its license string.
    pub license: Option<String>,
    /// Does it have BTF?
    pub has_btf: bool,
    /// Strong global functions and data: one of each name can be linked.
    pub globals: Vec<String>,
    /// All global names that it defines, weak ones included.
    pub defined: Vec<String>,
    /// Undefined names.
    pub externs: Vec<String>,
}

impl BpfObject {
    /// Read `bytes`; `name` is for error messages.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        let bad = |reason: String| Error::Object {
            name: name.to_owned(),
            reason,
        };
        if bytes.is_empty() {
            return Err(bad("the file is empty".into()));
        }
        let elf = ElfFile64::<Endianness>::parse(bytes)
            .map_err(|err| bad(format!("not a BPF object: {err}")))?;
        let endian = elf.endian();
        if elf.elf_header().e_machine.get(endian) != EM_BPF {
            return Err(bad(
                "an ELF file, but not a BPF object; compile it with clang -target bpf".into(),
            ));
        }
        if (endian == Endianness::Little) != cfg!(target_endian = "little") {
            return Err(bad(
                "compiled for the other byte order; compile it with clang -target bpf".into(),
            ));
        }

        let lines = LineInfo::read(&elf);
        let data = |section| {
            let section = elf.section_by_name(section)?;
            section.data().ok()
        };
        let license = data(LICENSE_SECTION).and_then(|data| string_at(data, 0));
        // Every object has one, and the linker merges them.
        let license_index = elf.section_by_name(LICENSE_SECTION).map(|s| s.index());

        let mut hooks = Vec::new();
        let (mut globals, mut defined, mut externs) = (Vec::new(), Vec::new(), Vec::new());
        for symbol in elf.symbols() {
            let Ok(symbol_name) = symbol.name() else {
                continue;
            };
            if symbol.is_undefined() {
                if !symbol_name.is_empty() {
                    externs.push(symbol_name.to_owned());
                }
            } else if symbol.is_global() && symbol.section_index() != license_index {
                if !symbol.is_weak() {
                    globals.push(symbol_name.to_owned());
                }
                defined.push(symbol_name.to_owned());
            }
            if symbol.kind() != SymbolKind::Text
                || symbol.is_undefined()
                || !symbol_name.starts_with("hook_")
            {
                continue;
            }
            let section = symbol
                .section_index()
                .and_then(|index| elf.section_by_index(index).ok());
            let binding = if symbol.is_local() {
                Binding::Local
            } else if symbol.is_weak() {
                Binding::Weak
            } else {
                Binding::Global
            };
            hooks.push(HookSymbol {
                name: symbol_name.to_owned(),
                binding,
                file: section
                    .and_then(|s| {
                        let code = symbol.address()..symbol.address().saturating_add(symbol.size());
                        lines.file(s.name().ok()?, code)
                    })
                    .map(str::to_owned),
            });
        }
        let position = |name: &str| HOOKS.iter().position(|hook| hook.name == name);
        hooks.sort_by_key(|hook| position(&hook.name).unwrap_or(HOOKS.len()));

        let contracts = data(CONTRACT_SECTION)
            .unwrap_or_default()
            .chunks_exact(4)
            .map(|word| u32::from_ne_bytes(word.try_into().unwrap_or_default()))
            .collect();
        let own_queues = data(QUEUES_SECTION)
            .unwrap_or_default()
            .chunks_exact(16)
            .filter_map(|entry| Some((u64_at(entry, 0)?, u64_at(entry, 8)?)))
            .collect();
        Ok(Self {
            contracts,
            own_queues,
            hooks,
            license: license.map(str::to_owned),
            has_btf: elf.section_by_name(".BTF").is_some(),
            globals,
            defined,
            externs,
        })
    }

    /// Fail unless every part of the object was built for the contract version of this
    /// program.
    pub fn check_contract(&self, name: &str) -> Result<()> {
        let reason = match self.contracts.iter().find(|&&v| v != CONTRACT_VERSION) {
            None if !self.contracts.is_empty() => return Ok(()),
            None => "it has no contract version; \
                     include <scx_preload/hooks.bpf.h> and recompile it"
                .to_owned(),
            Some(other) => format!(
                "built for hook contract {other}, but this scx_preload knows contract \
                 {CONTRACT_VERSION}; recompile it with this version's headers"
            ),
        };
        Err(Error::Object {
            name: name.to_owned(),
            reason,
        })
    }

    /// Fail if the object asks for no DSQs, or for more than the defaults create at once.
    pub fn check_queues(&self, name: &str) -> Result<()> {
        let mut counts = self.own_queues.iter().map(|(_, count)| count);
        match counts.find(|count| !(1..=QUEUES_MAX).contains(count)) {
            None => Ok(()),
            Some(count) => Err(Error::Object {
                name: name.to_owned(),
                reason: format!(
                    "it asks for {count} DSQs in one PRELOAD_OWN_QUEUES(), which creates 1 to \
                     {QUEUES_MAX}; divide them among several, each with its own space"
                ),
            }),
        }
    }

    /// The symbol of `hook`, if the object defines it.
    pub fn hook(&self, hook: &Hook) -> Option<&HookSymbol> {
        self.hooks.iter().find(|symbol| symbol.name == hook.name)
    }
}

/// A called function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callee {
    /// A function of the object.
    Function(String),
    /// A function that the object does not define: a kfunc in a linked object.
    Kernel(String),
}

/// The functions of an object and their calls. Damaged parts are left out; libbpf reports
/// them.
#[derive(Debug, Default)]
pub struct Functions(Vec<Function>);

#[derive(Debug)]
struct Function {
    name: String,
    section: SectionIndex,
    start: u64,
    end: u64,
    calls: Vec<Callee>,
}

impl Functions {
    /// Read the object in `bytes`.
    pub fn read(bytes: &[u8]) -> Self {
        let Ok(elf) = ElfFile64::<Endianness>::parse(bytes) else {
            return Self::default();
        };
        let mut functions: Vec<_> = elf
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text && !symbol.is_undefined())
            .filter_map(|symbol| {
                Some(Function {
                    name: symbol.name().ok()?.to_owned(),
                    section: symbol.section_index()?,
                    start: symbol.address(),
                    end: symbol.address().checked_add(symbol.size())?,
                    calls: Vec::new(),
                })
            })
            .collect();
        for section in elf.sections().filter(|s| s.kind() == SectionKind::Text) {
            let Ok(code) = section.data() else { continue };
            for (at, callee) in calls(&elf, &section, code, &functions) {
                let caller = functions
                    .iter_mut()
                    .find(|f| f.section == section.index() && (f.start..f.end).contains(&at));
                if let Some(caller) = caller
                    && !caller.calls.contains(&callee)
                {
                    caller.calls.push(callee);
                }
            }
        }
        Self(functions)
    }

    /// The functions that `function` calls, each once.
    pub fn calls(&self, function: &str) -> Vec<Callee> {
        let function = self.0.iter().find(|f| f.name == function);
        function.map(|f| f.calls.clone()).unwrap_or_default()
    }
}

/// The calls in a section: offset and callee.
fn calls<'data>(
    elf: &ElfFile64<'data>,
    section: &impl ObjectSection<'data>,
    code: &[u8],
    functions: &[Function],
) -> Vec<(u64, Callee)> {
    const INSTRUCTION: usize = 8;
    const CALL: u8 = 0x85;
    /// Source register of a call of a function and of a kfunc; 0 is a helper.
    const PSEUDO: [u8; 2] = [1, 2];

    let targets: HashMap<u64, RelocationTarget> = section
        .relocations()
        .map(|(at, relocation)| (at, relocation.target()))
        .collect();
    let function_at = |section: SectionIndex, at: u64| {
        let found = functions
            .iter()
            .find(|f| f.section == section && f.start == at);
        found.map(|f| Callee::Function(f.name.clone()))
    };
    let mut found = Vec::new();
    for (n, instruction) in code.chunks_exact(INSTRUCTION).enumerate() {
        let at = (n * INSTRUCTION) as u64;
        let target = targets.get(&at);
        if instruction[0] != CALL || !(target.is_some() || PSEUDO.contains(&(instruction[1] >> 4)))
        {
            continue;
        }
        // In instructions: relative to the next one, or to the section with a relocation.
        let distance = u32_at(instruction, 4).map_or(0, |imm| i64::from(imm as i32));
        let offset = (distance + 1).wrapping_mul(INSTRUCTION as i64) as u64;
        let callee = match target {
            Some(RelocationTarget::Symbol(index)) => {
                elf.symbol_by_index(*index).ok().and_then(|symbol| {
                    let name = symbol.name().unwrap_or_default();
                    match symbol.section_index() {
                        Some(section) if symbol.kind() == SymbolKind::Section => {
                            function_at(section, offset)
                        }
                        Some(_) => Some(Callee::Function(name.to_owned())),
                        None => Some(Callee::Kernel(name.to_owned())),
                    }
                })
            }
            _ => function_at(section.index(), at.wrapping_add(offset)),
        };
        found.extend(callee.map(|callee| (at, callee)));
    }
    found
}

/// The line info of `.BTF.ext`: the source file of the code at an offset. Damaged tables
/// are empty; libbpf reports them.
#[derive(Default)]
struct LineInfo<'data> {
    strings: &'data [u8],
    /// Section name, and offset and file of each record.
    sections: Vec<(&'data str, Vec<(u64, u32)>)>,
}

impl<'data> LineInfo<'data> {
    fn read(elf: &ElfFile64<'data>) -> Self {
        Self::try_read(elf).unwrap_or_default()
    }

    fn try_read(elf: &ElfFile64<'data>) -> Option<Self> {
        let btf = elf.section_by_name(".BTF")?.data().ok()?;
        let ext = elf.section_by_name(".BTF.ext")?.data().ok()?;

        let start = u32_at(btf, 4)?.checked_add(u32_at(btf, 16)?)? as usize;
        let strings = btf.get(start..)?.get(..u32_at(btf, 20)? as usize)?;

        let start = u32_at(ext, 4)?.checked_add(u32_at(ext, 16)?)? as usize;
        let table = ext.get(start..)?.get(..u32_at(ext, 20)? as usize)?;
        let record_len = (u32_at(table, 0)? as usize).max(16);
        let mut rest = table.get(4..)?;
        let mut sections = Vec::new();
        while let (Some(name), Some(count)) = (u32_at(rest, 0), u32_at(rest, 4)) {
            let len = (count as usize).checked_mul(record_len)?;
            let records = rest.get(8..)?.get(..len)?;
            rest = &rest[8 + len..];
            let records = records
                .chunks_exact(record_len)
                .filter_map(|r| Some((u64::from(u32_at(r, 0)?), u32_at(r, 4)?)))
                .collect();
            sections.push((string_at(strings, name)?, records));
        }
        Some(Self { strings, sections })
    }

    /// The source file of the function at `code`. Its first records can belong to an inline
    /// function of a header.
    fn file(&self, section: &str, code: Range<u64>) -> Option<&'data str> {
        let (_, records) = self.sections.iter().find(|(name, _)| *name == section)?;
        let files = || {
            let own = records.iter().filter(|(at, _)| code.contains(at));
            own.filter_map(|(_, file)| string_at(self.strings, *file))
        };
        files().find(|file| file.ends_with(".c")).or(files().next())
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.get(..4)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.get(..8)?;
    Some(u64::from_ne_bytes(word.try_into().ok()?))
}

fn string_at(strings: &[u8], at: u32) -> Option<&str> {
    let tail = strings.get(at as usize..)?;
    let end = tail.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&tail[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use scx_preload_defaults::{ALONE, OBJECT};

    #[test]
    fn defaults_define_every_hook_weakly() {
        for bytes in [OBJECT, ALONE] {
            defines_every_hook_weakly(bytes);
        }
    }

    fn defines_every_hook_weakly(bytes: &[u8]) {
        let object = BpfObject::parse("defaults", bytes).unwrap();
        object.check_contract("defaults").unwrap();
        assert_eq!(object.hooks.len(), HOOKS.len());
        for (symbol, hook) in object.hooks.iter().zip(HOOKS) {
            assert_eq!(symbol.name, hook.name);
            assert_eq!(symbol.binding, Binding::Weak, "{}", hook.name);
            let file = symbol.file.as_deref().unwrap_or_default();
            assert!(file.ends_with(".bpf.c"), "{}: file {file:?}", hook.name);
        }
    }

    #[test]
    fn defaults_alone_do_not_watch_overrides() {
        let watch = Callee::Function("dispatch_before_change".into());
        let watches = |bytes| {
            let calls = Functions::read(bytes).calls("preload_dispatch");
            assert!(!calls.is_empty());
            calls.contains(&watch)
        };
        assert!(watches(OBJECT) && !watches(ALONE));
    }

    #[test]
    fn other_files_are_refused_with_a_reason() {
        for (bytes, reason) in [
            (&b""[..], "empty"),
            (&b"int main;"[..], "not a BPF object"),
            (&OBJECT[..100], "not a BPF object"),
        ] {
            let err = BpfObject::parse("x.bpf.o", bytes).unwrap_err().to_string();
            assert!(
                err.starts_with("x.bpf.o: ") && err.contains(reason),
                "{err}"
            );
        }
        let exe = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let err = BpfObject::parse("exe", &exe).unwrap_err().to_string();
        assert!(err.contains("clang -target bpf"), "{err}");
    }

    #[test]
    fn no_truncation_and_no_flipped_byte_panics() {
        for len in (0..OBJECT.len()).step_by(97) {
            let _ = BpfObject::parse("cut", &OBJECT[..len]);
        }
        let mut bytes = OBJECT.to_vec();
        for at in (0..bytes.len()).step_by(31) {
            bytes[at] ^= 0xff;
            let _ = BpfObject::parse("flipped", &bytes);
            bytes[at] ^= 0xff;
        }
    }

    #[test]
    fn other_contract_version_is_named() {
        let mut bytes = OBJECT.to_vec();
        let range = {
            let elf = ElfFile64::<Endianness>::parse(OBJECT).unwrap();
            let section = elf.section_by_name(CONTRACT_SECTION).unwrap();
            section.file_range().unwrap()
        };
        bytes[range.0 as usize] = 7;
        let object = BpfObject::parse("new.bpf.o", &bytes).unwrap();
        let err = object.check_contract("new.bpf.o").unwrap_err().to_string();
        assert!(
            err.contains("contract 7") && err.contains("knows contract 1"),
            "{err}"
        );
    }
}
