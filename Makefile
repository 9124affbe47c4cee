# dnproxy: plain DNS in, authenticated DNS over TLS out.
#
#   make deps         installs what building and testing need (Debian)
#   make              builds build/dnproxy, one static program
#   make demo         shows it at work against a local DNS-over-TLS resolver
#   make CROSS=mips   builds build/cross/mips/dnproxy, the program for another machine (cross.mk)
#   make run          starts it on 127.0.0.1:5353 with the default upstream
#   make test         all tests; also test-unit, test-san, test-faults, test-e2e, test-valgrind, test-repro
#   make lint size fuzz sim bench cache-hits cache-model install clean
#   make bench-syscalls bench-profile bench-tcp: system calls a query, where CPU goes, what TCP clients cost
#
# The places it runs at, each with its tests (which need root for namespaces):
#   make image images sbom     the container image, one for several machines, its list of parts; test-container
#   make helm-readme           the table of the chart's values; test-helm
#   make ipk                   packages for OpenWrt; test-openwrt, test-openwrt-sdk
#   make deb                   the Debian package; test-debian
#   make cross cross-handshake programs for eight processors, what a handshake costs a router; cross-test
#   make scaling cache-split   a cluster with a failing replica, what splitting the cache costs; test-scaling
#
# Local taste goes into config.mak (CC, CFLAGS, PREFIX, BEARSSL_DIR, ...) or on the command line.

VERSION  = 0.1.0
# The largest stripped x86_64 program that is accepted, in octets.
SIZE_MAX = 150000

CC       = musl-gcc
HOSTCC   = cc
AR       = gcc-ar
STRIP    = strip
B        = build
# What the builds for all machines share: sources of others, and the trust anchors.
SHARED  := $(B)
PREFIX   = /usr/local
DESTDIR  =

WARN     = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
# Small first.  Loads of constants stay in loops, and tables need no more alignment than the processor asks for.
OPT      = -Os -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables -fno-unwind-tables \
	   -fno-move-loop-invariants -fno-tree-loop-im $(if $(filter x86_64-%,$(MACHINE)),-malign-data=abi)
# The program is compiled as a whole, BearSSL with it: 4 kB less.  Objects hold plain code as well, for the tests.
LTO      = -flto -ffat-lto-objects
ifdef CROSS
include cross.mk
else
MACHINE := $(shell $(CC) -dumpmachine)
endif
# Our own code has no floating point: where the compiler can be told so, it is.
NO_FLOAT = $(if $(filter x86_64-% aarch64-%,$(MACHINE)),-mgeneral-regs-only)
# Tails that are alike the compiler finds better in the code it has made than before.
CFLAGS   = $(OPT:-Os=-Oz) $(LTO) -g -fno-pie -fno-jump-tables -fno-tree-switch-conversion -fno-tree-tail-merge \
	   $(NO_FLOAT)
# The small "page" keeps the linker from filling the file up to the next 4,096 octets.
LDFLAGS  = -static -no-pie -flto-partition=one -Wl,--gc-sections -Wl,-O2 -Wl,--build-id=none \
	   -Wl,-z,noseparate-code,-z,norelro,-z,common-page-size=32 $(CROSS_LDFLAGS)
CPPFLAGS = -D_GNU_SOURCE -Iinclude -isystem $(BEARSSL_DIR)/inc -ffile-prefix-map=$(CURDIR)/=
ALL_CFLAGS = -std=c11 $(WARN) $(CPPFLAGS) $(CFLAGS)

# BearSSL 0.6: from Debian's source archive with apt's own downloader, checked by its SHA-256, built once
# with the compiler of the program.  BEARSSL_DIR=path takes an unpacked source instead.
BEARSSL_TAR    = bearssl_0.6+dfsg.1.orig.tar.xz
BEARSSL_SHA256 = 102a625bd8f6155260867a50c508df8d8c3f796985dd744df1a68e5cd1a79004

# The built-in trust anchors: roots of Cloudflare (SSL.com), Google (GTS), Quad9 (DigiCert), AdGuard
# (Sectigo, USERTrust) and Let's Encrypt (ISRG), from Debian's ca-certificates.
CA_DIR   = /usr/share/ca-certificates/mozilla
CA_NAMES = SSL.com_Root_Certification_Authority_ECC SSL.com_TLS_ECC_Root_CA_2022 GTS_Root_R1 GTS_Root_R4 \
	   DigiCert_Global_Root_G2 DigiCert_Global_Root_G3 USERTrust_ECC_Certification_Authority \
	   Sectigo_Public_Server_Authentication_Root_E46 ISRG_Root_X1 ISRG_Root_X2

# When the sources were last changed: the floor of the clock, and what makes builds reproducible.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y Makefile)
export SOURCE_DATE_EPOCH

MODULES  = entropy now text log addr frame dns yaml base64 pin edns key config chunks query cache kept pool proxy net pem cert trust verify tls conn udp tcp dot loop notify start supervisor probe health options
OBJ      = $(MODULES:%=$(B)/%.o) $(B)/anchors.o $(B)/main.o

-include config.mak

all: $(B)/dnproxy

include $(sort $(wildcard tests/*.mk))

$(B)/dnproxy: $(B)/dnproxy.unstripped
	$(STRIP) -R .comment -o $@ $<

$(B)/dnproxy.unstripped: $(OBJ) $(BEARSSL_LIB)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(OBJ) $(BEARSSL_LIB)

$(B)/%.o: src/%.c Makefile $(BEARSSL_DIR)/inc/bearssl.h $(MUSL_LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/anchors.o: $(SHARED)/anchors.c $(MUSL_LIB)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

BUILD_DATE := $(shell date -u -d @$(SOURCE_DATE_EPOCH) +%Y-%m-%d)
MAIN_DEFS   = -DDNPROXY_VERSION='"$(VERSION)"' -DDNPROXY_BUILD_EPOCH=$(SOURCE_DATE_EPOCH) \
	      -DDNPROXY_BUILD_DATE='"$(BUILD_DATE)"'
$(B)/main.o: CPPFLAGS += $(MAIN_DEFS)
# Written only when the date has changed, so that main.o follows it.
$(B)/date: always
	@mkdir -p $(@D)
	@echo $(SOURCE_DATE_EPOCH) | cmp -s - $@ || echo $(SOURCE_DATE_EPOCH) > $@
$(B)/main.o: $(B)/date

install: $(B)/dnproxy
	install -D -m 755 $(B)/dnproxy $(DESTDIR)$(PREFIX)/sbin/dnproxy
	install -D -m 644 doc/dnproxy.8 $(DESTDIR)$(PREFIX)/share/man/man8/dnproxy.8
	install -D -m 644 dnproxy.yml $(DESTDIR)$(PREFIX)/share/doc/dnproxy/dnproxy.yml

run: $(B)/dnproxy
	DNPROXY_HOST=127.0.0.1 DNPROXY_PORT=5353 $(B)/dnproxy

clean:
	rm -rf build build-*

.PHONY: all install run clean always
-include $(wildcard $(B)/*.d)
