# SPDX-License-Identifier: GPL-2.0-only

CARGO ?= cargo
PREFIX ?= /usr
DESTDIR ?=
BUILD ?= target/release
DEFAULTS_OBJ ?= $(BUILD)/defaults.bpf.o

all: build

build:
	$(CARGO) build --release --workspace
	$(BUILD)/scx_preload link -o $(DEFAULTS_OBJ) > $(BUILD)/defaults.hooks
	$(BUILD)/scx_preload hooks --man > $(BUILD)/scx_preload-hooks.7

demo: deps build
	$(BUILD)/vm demo

test: deps build
	$(BUILD)/vm test --unit

bench: bench-deps build
	$(BUILD)/vm bench

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	clang-format-19 --dry-run -Werror $$(git ls-files '*.bpf.[ch]')
	shellcheck tests/install-deps initramfs/dracut/*/*.sh

deps:
	tests/install-deps

bench-deps:
	tests/install-deps bench

# The unit, the rule and the dracut module name what they need by its path.
to_prefix = sed 's,/usr/,$(PREFIX)/,'
lib = $(DESTDIR)$(PREFIX)/lib
dracut_dir = $(lib)/dracut/modules.d/50scx_preload
unit_dir = $(lib)/systemd/system
rules_dir = $(lib)/udev/rules.d

install:
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(BUILD)/scx_preload
	install -D -m 644 $(DEFAULTS_OBJ) $(lib)/scx_preload/defaults.bpf.o
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include/scx_preload defaults-bpf/include/scx_preload/*.h
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man7 $(BUILD)/scx_preload-hooks.7
	install -d $(dracut_dir) $(unit_dir) $(rules_dir)
	$(to_prefix) initramfs/dracut/50scx_preload/module-setup.sh > $(dracut_dir)/module-setup.sh
	chmod 755 $(dracut_dir)/module-setup.sh
	$(to_prefix) initramfs/systemd/scx_preload.service > $(unit_dir)/scx_preload.service
	$(to_prefix) initramfs/udev/60-scx_preload.rules > $(rules_dir)/60-scx_preload.rules

clean:
	$(CARGO) clean

.PHONY: all bench bench-deps build clean demo deps install lint test
