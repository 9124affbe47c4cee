# Other machines: musl for each, all programs at once, and their tests under an emulator (cross.mk says which).
MUSL_TAR    = musl_1.2.3.orig.tar.gz
MUSL_SHA256 = 7d5b0b6062521e4627e099e4c9dc8248d32a30285e959b7eecaa780cf8cfd4a4
MUSL_DIR    = $(SHARED)/musl-src

$(SHARED)/$(MUSL_TAR):
	$(call fetch,m/musl,$(MUSL_SHA256))

$(MUSL_DIR)/configure: $(SHARED)/$(MUSL_TAR)
	@mkdir -p $(MUSL_DIR)
	tar xzf $< -C $(MUSL_DIR) --strip-components=1
	@touch $@

ifdef CROSS
# What of musl neither the program nor its tests call: a third of the work.  printf() wants three files of math,
# scanf() three more.
MUSL_LESS = aio complex crypt dirent fenv ipc legacy math mq passwd regex search termios thread/cnd_ thread/mtx_ \
	    thread/sem_ thread/thrd_ thread/tss_ network/dn_ network/ent network/ether network/lookup_ network/res_
MUSL_MORE = $(addprefix obj/src/math/,frexpl.o __fpclassifyl.o __signbitl.o copysignl.o fmodl.o scalbnl.o scalbn.o)
MUSL_MEMBERS = $$(filter-out $(foreach d,$(MUSL_LESS),obj/src/$d%),$$(LIBC_OBJS)) $(MUSL_MORE)

# Built where it stays: headers copied together, the compiler told of them by musl's own specs.
$(MUSL)/musl-gcc.specs: $(MUSL_DIR)/configure
	@mkdir -p $(MUSL)
	cd $(MUSL) && CC=$(TRIPLET)-gcc CFLAGS='$(OPT) $(ARCH_$(CROSS)) -fno-pie' $(abspath $(MUSL_DIR))/configure \
		--target=$(TRIPLET) --prefix=$(MUSL) --disable-shared >configure.log
	$(MAKE) -s -C $(MUSL) 'AOBJS=$(MUSL_MEMBERS)' lib/libc.a lib/Scrt1.o lib/crti.o lib/crtn.o lib/musl-gcc.specs \
		obj/include/bits/syscall.h obj/include/bits/alltypes.h >$(MUSL)/make.log 2>&1 || { cat $(MUSL)/make.log; exit 1; }
	mkdir -p $(MUSL)/include/bits
	cp -R $(MUSL_DIR)/include/. $(MUSL)/include
	cp $(MUSL_DIR)/arch/generic/bits/*.h $(MUSL)/include/bits
	cp $(MUSL_DIR)/arch/$$(sed -n 's/^ARCH = //p' $(MUSL)/config.mak)/bits/*.h $(MUSL)/obj/include/bits/*.h $(MUSL)/include/bits
	mv $(MUSL)/lib/musl-gcc.specs $@
endif

# ---- All of them -------------------------------------------------------------------------------------

# make cross ARCHS='aarch64 mips' takes these alone.
ARCHS    ?= x86_64 aarch64 armv7 armv5 mips mipsel riscv64 i386
CROSS_MAX = 200000

# What they share is made first, by one.
cross-sources: $(BEARSSL_DIR)/inc/bearssl.h $(SHARED)/anchors.c $(MUSL_DIR)/configure
$(ARCHS:%=cross-%): cross-%: cross-sources
	@$(MAKE) --no-print-directory -s CROSS=$*
# The size of each stripped program, and whether it is small enough.
cross: $(ARCHS:%=cross-%)
	@tests/cross/sizes.sh $(CROSS_MAX) $(ARCHS:%=$(SHARED)/cross/%/dnproxy)

.PHONY: cross cross-sources $(ARCHS:%=cross-%)
