# SPDX-License-Identifier: GPL-2.0-only

CARGO ?= cargo
PREFIX ?= /usr
DESTDIR ?=
BUILD ?= target/release
DEFAULTS_OBJ ?= $(BUILD)/defaults.bpf.o
MINUTES ?= 10

all: build

build:
	$(CARGO) build --release --workspace --bins --example generate_docs
	$(BUILD)/scx_preload link -o $(DEFAULTS_OBJ) > $(BUILD)/defaults.hooks
	$(BUILD)/scx_preload hooks --man > $(BUILD)/scx_preload-hooks.7
	$(BUILD)/examples/generate_docs $(BUILD)

demo: deps build
	$(BUILD)/vm demo

test: deps build
	$(BUILD)/vm test --unit

bench: bench-deps build
	$(BUILD)/vm bench

soak: soak-deps build
	$(BUILD)/vm soak --minutes $(MINUTES)

lint: deps lint-deps
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	clang-format-19 --dry-run -Werror $$(git ls-files '*.bpf.[ch]')
	shellcheck $$(git grep -lE '^#!/bin/(ba)?sh')

deps:
	tests/install-deps

bench-deps lint-deps soak-deps:
	tests/install-deps $(@:-deps=)

lib = $(DESTDIR)$(PREFIX)/lib
share = $(DESTDIR)$(PREFIX)/share
unit_dir = $(lib)/systemd/system
rules_dir = $(lib)/udev/rules.d
dracut_dir = $(lib)/dracut/modules.d/50scx_preload
initramfs_tools_dir = $(share)/initramfs-tools
mkinitcpio_dir = $(lib)/initcpio

install:
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(BUILD)/scx_preload
	install -D -m 644 $(DEFAULTS_OBJ) $(lib)/scx_preload/defaults.bpf.o
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include/scx_preload defaults-bpf/include/scx_preload/*.h
	install -D -m 644 -t $(share)/man/man7 $(BUILD)/scx_preload-hooks.7
	install -D -m 644 -t $(share)/man/man8 $(BUILD)/scx_preload.8
	install -D -m 644 $(BUILD)/scx_preload.bash $(share)/bash-completion/completions/scx_preload
	install -D -m 644 -t $(share)/zsh/site-functions $(BUILD)/_scx_preload
	install -D -m 644 -t $(share)/fish/vendor_completions.d $(BUILD)/scx_preload.fish
	install -D -m 644 -t $(unit_dir) initramfs/systemd/scx_preload.service
	install -D -m 644 -t $(rules_dir) initramfs/udev/60-scx_preload.rules
	install -D -m 755 -t $(dracut_dir) initramfs/dracut/50scx_preload/*.sh
	install -D -m 755 -t $(initramfs_tools_dir)/hooks initramfs/initramfs-tools/hooks/*
	install -D -m 755 -t $(initramfs_tools_dir)/scripts/init-top initramfs/initramfs-tools/scripts/init-top/*
	install -D -m 755 -t $(mkinitcpio_dir)/install initramfs/mkinitcpio/install/*
	install -D -m 755 -t $(mkinitcpio_dir)/hooks initramfs/mkinitcpio/hooks/*
	# They have absolute paths of installed files.
	sed -i 's,/usr/\(bin/scx\|lib/systemd\|lib/udev\),$(PREFIX)/\1,g' \
		$(unit_dir)/scx_preload.service $(rules_dir)/60-scx_preload.rules $(dracut_dir)/*.sh \
		$(initramfs_tools_dir)/*/scx_preload $(initramfs_tools_dir)/*/*/scx_preload \
		$(mkinitcpio_dir)/*/scx_preload

clean:
	$(CARGO) clean

.PHONY: all bench bench-deps build clean demo deps install lint lint-deps soak soak-deps test
