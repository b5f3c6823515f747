#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
/usr/bin/scx_preload load --boot --initrd 2> /dev/kmsg
