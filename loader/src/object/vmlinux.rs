// SPDX-License-Identifier: GPL-2.0-only
//! Generate `vmlinux.h`, a kernel's types and kfuncs in C, from its BTF.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::mem;
use std::path::Path;
use std::ptr::{self, NonNull};

use libbpf_rs::btf::types::{Composite, DeclTag, Func};
use libbpf_rs::btf::{Btf, BtfKind, BtfType, ReferencesType, TypeId};
use libbpf_rs::{AsRawLibbpf, libbpf_sys};
use nix::libc;

use crate::abi::OPS_TYPE;
use crate::{Error, Result, libbpf_log};

/// The start of the header. preserve_access_index makes libbpf relocate field accesses for
/// the running kernel.
const HEAD: &str = "\
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#endif

#ifndef __ksym
#define __ksym __attribute__((section(\".ksyms\")))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif

";

const TAIL: &str = "
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif
";

/// The header for the kernel whose BTF is in `path`, raw or in an ELF file.
pub fn header(path: &Path) -> Result<String> {
    let name = path.display().to_string();
    let bad = |reason: &str| Error::Object {
        name: name.clone(),
        reason: reason.to_owned(),
    };
    std::fs::File::open(path).map_err(Error::io(format!("cannot read {name}")))?;
    libbpf_log::take();
    let btf = Btf::from_path(path).map_err(|_| {
        bad("no BTF in it; use a copy of /sys/kernel/btf/vmlinux, or an ELF file with a section .BTF")
    })?;
    if btf.type_by_name::<Composite<'_>>(OPS_TYPE).is_none() {
        return Err(bad(
            "the BTF of a kernel without sched_ext; use --btf with the BTF of the target kernel",
        ));
    }
    let text = RefCell::new(HEAD.to_owned());
    Dump::new(&btf, &text)
        .and_then(|dump| dump.all())
        .ok_or_else(|| bad("cannot convert its BTF to C"))?;
    Ok(text.into_inner())
}

/// libbpf's C writer.
struct Dump<'a> {
    btf: &'a Btf<'a>,
    writer: NonNull<libbpf_sys::btf_dump>,
    text: &'a RefCell<String>,
}

impl<'a> Dump<'a> {
    fn new(btf: &'a Btf<'a>, text: &'a RefCell<String>) -> Option<Self> {
        // SAFETY: append() has the type that libbpf declares but for its last argument,
        // va_list, which is a pointer on all architectures; bindgen's name for it differs.
        #[expect(clippy::missing_transmute_annotations)]
        let append: libbpf_sys::btf_dump_printf_fn_t =
            Some(unsafe { mem::transmute(append as *const ()) });
        // SAFETY: `btf` and `text` live longer than the result; there are no options.
        let writer = unsafe {
            libbpf_sys::btf_dump__new(
                btf.as_libbpf_object().as_ptr(),
                append,
                ptr::from_ref(text).cast_mut().cast(),
                ptr::null(),
            )
        };
        let writer = NonNull::new(writer)?;
        Some(Self { btf, writer, text })
    }

    fn say(&self, text: &str) {
        self.text.borrow_mut().push_str(text);
    }

    fn all(&self) -> Option<()> {
        let ids = 1..u32::try_from(self.btf.len()).ok()?;
        for id in ids.clone() {
            // SAFETY: the writer is alive; libbpf checks the id.
            if unsafe { libbpf_sys::btf_dump__dump_type(self.writer.as_ptr(), id) } != 0 {
                return None;
            }
        }
        self.say("\n");
        for id in ids {
            if let Some((name, proto)) = self.kfunc(id.into()) {
                self.declare(name, proto)?;
            }
        }
        self.say(TAIL);
        Some(())
    }

    /// Name and prototype of a kfunc, if type `id` is the tag of one.
    fn kfunc(&self, id: TypeId) -> Option<(CString, TypeId)> {
        let ty: BtfType<'_> = self.btf.type_by_id(id)?;
        if ty.kind() != BtfKind::DeclTag || ty.name()? != "bpf_kfunc" {
            return None;
        }
        let tag = DeclTag::try_from(ty).ok()?;
        let func = Func::try_from(tag.referenced_type()).ok()?;
        let name = CString::new(func.name()?.as_encoded_bytes()).ok()?;
        Some((name, func.referenced_type_id()))
    }

    fn declare(&self, name: CString, proto: TypeId) -> Option<()> {
        let options = libbpf_sys::btf_dump_emit_type_decl_opts {
            sz: size_of::<libbpf_sys::btf_dump_emit_type_decl_opts>() as libbpf_sys::size_t,
            field_name: name.as_ptr(),
            ..Default::default()
        };
        self.say("extern ");
        // SAFETY: the writer is alive, and `options` and the name last until it returns.
        let done = unsafe {
            libbpf_sys::btf_dump__emit_type_decl(self.writer.as_ptr(), proto.into(), &options)
        };
        self.say(" __weak __ksym;\n");
        (done == 0).then_some(())
    }
}

impl Drop for Dump<'_> {
    fn drop(&mut self) {
        // SAFETY: created by btf_dump__new() and freed once.
        unsafe { libbpf_sys::btf_dump__free(self.writer.as_ptr()) }
    }
}

unsafe extern "C" {
    fn vasprintf(text: *mut *mut c_char, format: *const c_char, arguments: *mut c_void) -> c_int;
}

/// libbpf's callback; the last argument is a `va_list`.
extern "C" fn append(context: *mut c_void, format: *const c_char, arguments: *mut c_void) {
    let mut said: *mut c_char = ptr::null_mut();
    // SAFETY: libbpf passes arguments that match the format.
    let len = unsafe { vasprintf(&mut said, format, arguments) };
    let Ok(len) = usize::try_from(len) else {
        // Out of memory, on which Rust aborts, too.
        std::process::abort();
    };
    // SAFETY: the context is that of Dump::new(), not borrowed while libbpf writes;
    // vasprintf() allocated `len` bytes, which are freed once.
    unsafe {
        let bytes = std::slice::from_raw_parts(said.cast::<u8>(), len);
        let text = &*context.cast::<RefCell<String>>();
        text.borrow_mut().push_str(&String::from_utf8_lossy(bytes));
        libc::free(said.cast());
    }
}
