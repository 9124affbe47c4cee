# dnproxy: plain DNS in, authenticated DNS over TLS out.
#
#   make deps         installs what building and testing need (Debian)
#   make              builds build/dnproxy, one static program
#   make demo         shows it at work against a local DNS-over-TLS resolver
#   make run          starts it on 127.0.0.1:5353 with the default upstream
#   make test         all tests; also test-unit, test-san, test-e2e, test-valgrind, test-repro
#   make lint size fuzz bench install clean
#
# Local taste goes into config.mak (CC, CFLAGS, PREFIX, BEARSSL_DIR, ...) or on the command line.

VERSION  = 0.1.0
# The largest stripped x86_64 program that is accepted, in octets.
SIZE_MAX = 130000

CC       = musl-gcc
HOSTCC   = cc
STRIP    = strip
B        = build
PREFIX   = /usr/local
DESTDIR  =

WARN     = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
OPT      = -Os -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables -fno-unwind-tables
# Our own code has no floating point: where the compiler can be told so, it is.
NO_FLOAT = $(if $(filter x86_64-% aarch64-%,$(shell $(CC) -dumpmachine)),-mgeneral-regs-only)
CFLAGS   = $(OPT) -fno-pie -fno-jump-tables -fno-tree-switch-conversion $(NO_FLOAT)
# The small "page" keeps the linker from filling the file up to the next 4,096 octets.
LDFLAGS  = -static -no-pie -Wl,--gc-sections -Wl,-O2 -Wl,--build-id=none \
	   -Wl,-z,noseparate-code,-z,norelro,-z,common-page-size=32
CPPFLAGS = -D_GNU_SOURCE -Iinclude -isystem $(BEARSSL_DIR)/inc -ffile-prefix-map=$(CURDIR)/=
ALL_CFLAGS = -std=c11 $(WARN) $(CPPFLAGS) $(CFLAGS)

# When the sources were last changed: the floor of the clock, and what makes builds reproducible.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y Makefile)
export SOURCE_DATE_EPOCH

MODULES  = entropy now text log addr frame dns yaml edns key config chunks query proxy net pem cert trust tls udp tcp dot loop
OBJ      = $(MODULES:%=$(B)/%.o) $(B)/anchors.o $(B)/main.o

-include config.mak

all: $(B)/dnproxy

include tests/bearssl.mk
include tests/checks.mk

$(B)/dnproxy: $(B)/dnproxy.unstripped
	$(STRIP) -R .comment -o $@ $<

$(B)/dnproxy.unstripped: $(OBJ) $(BEARSSL_LIB)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(OBJ) $(BEARSSL_LIB)

$(B)/%.o: src/%.c Makefile $(BEARSSL_DIR)/inc/bearssl.h
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/anchors.o: $(B)/anchors.c
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

BUILD_DATE := $(shell date -u -d @$(SOURCE_DATE_EPOCH) +%Y-%m-%d)
MAIN_DEFS   = -DDNPROXY_VERSION='"$(VERSION)"' -DDNPROXY_BUILD_EPOCH=$(SOURCE_DATE_EPOCH) \
	      -DDNPROXY_BUILD_DATE='"$(BUILD_DATE)"'
$(B)/main.o: CPPFLAGS += $(MAIN_DEFS)

install: $(B)/dnproxy
	install -D -m 755 $(B)/dnproxy $(DESTDIR)$(PREFIX)/sbin/dnproxy
	install -D -m 644 doc/dnproxy.8 $(DESTDIR)$(PREFIX)/share/man/man8/dnproxy.8
	install -D -m 644 dnproxy.yml $(DESTDIR)$(PREFIX)/share/doc/dnproxy/dnproxy.yml

run: $(B)/dnproxy
	DNPROXY_HOST=127.0.0.1 DNPROXY_PORT=5353 $(B)/dnproxy

clean:
	rm -rf build build-*

.PHONY: all install run clean
-include $(wildcard $(B)/*.d)
