#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck disable=SC2154 # dracut sets srcmods, kernel, initdir …

# Out of the image where it could do nothing: the kernel must have sched_ext.
check() {
    grep -qsx CONFIG_SCHED_CLASS_EXT=y "$srcmods/config" "$dracutsysrootdir/boot/config-$kernel" || return 1
}

depends() {
    return 0
}

install() {
    inst_binary /usr/bin/scx_preload
    inst_simple /usr/lib/systemd/system/scx_preload.service
    # An object of the administrator's wins over the one in the program.
    [[ ! -e $dracutsysrootdir/etc/scx_preload/scheduler.bpf.o ]] || inst_simple /etc/scx_preload/scheduler.bpf.o
    $SYSTEMCTL -q --root "$initdir" add-wants sysinit.target scx_preload.service
}
