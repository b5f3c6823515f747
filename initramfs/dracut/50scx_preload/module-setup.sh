#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck disable=SC2154 # dracut sets srcmods, kernel, initdir …

# Not if the unit is disabled or the kernel lacks sched_ext.
check() {
    [[ $($SYSTEMCTL --root "$dracutsysrootdir/" is-enabled scx_preload.service 2> /dev/null) != disabled ]] || return 1
    grep -qsx CONFIG_SCHED_CLASS_EXT=y "$srcmods/config" "$dracutsysrootdir/boot/config-$kernel" || return 1
}

depends() {
    return 0
}

install() {
    inst_binary /usr/bin/scx_preload
    inst_rules 60-scx_preload.rules
    # Link the drop-ins on the host, not at boot; the program reports those that it skips.
    mkdir -p "$initdir/etc/scx_preload"
    "$dracutsysrootdir/usr/bin/scx_preload" link --drop-ins --boot --root "$dracutsysrootdir/" \
        -o "$initdir/etc/scx_preload/scheduler.bpf.o" > /dev/null
    if dracut_module_included systemd; then
        inst_simple /usr/lib/systemd/system/scx_preload.service
        $SYSTEMCTL -q --root "$initdir" add-wants sysinit.target scx_preload.service
    else
        inst_hook pre-udev 01 "$moddir/scx_preload.sh"
    fi
}
