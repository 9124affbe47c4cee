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

CMOCKA_TAR    = cmocka_1.1.5.orig.tar.xz
CMOCKA_SHA256 = f0ccd8242d55e2fd74b16ba518359151f6f8383ff8aef4976e48393f77bba8b6
CMOCKA_DIR    = $(SHARED)/cmocka-src

$(SHARED)/$(CMOCKA_TAR):
	$(call fetch,c/cmocka,$(CMOCKA_SHA256))

$(CMOCKA_DIR)/src/cmocka.c: $(SHARED)/$(CMOCKA_TAR)
	@mkdir -p $(CMOCKA_DIR)
	tar xJf $< -C $(CMOCKA_DIR) --strip-components=1
	@touch $@

# What tests take from the kernel's headers is the same on all processors.
$(SHARED)/kernel:
	@mkdir -p $@
	@ln -s /usr/include/linux /usr/include/asm-generic $@
	@ln -s /usr/include/asm-generic $@/asm

ifdef CROSS
# The quarter of musl that the program and its tests call: what is there is whole directories, what the processor
# does in its own way, and files by name.  "undefined reference" to a function of the C library: its file is to be
# named here, and build/cross to go.
MUSL_WHOLE  = env errno exit fcntl internal malloc mman select setjmp signal string
MUSL_FILES  = ctype/tolower linux/epoll linux/getrandom linux/signalfd locale/__lctrans locale/langinfo \
	      locale/c_locale math/__fpclassifyl math/__signbitl math/frexp math/frexpl misc/ioctl misc/syscall \
	      multibyte/wcrtomb multibyte/wctomb network/accept network/accept4 network/bind network/connect \
	      network/getsockname network/getsockopt network/htonl network/htons network/if_nametoindex \
	      network/inet_pton network/listen network/ntohs network/recv network/recvfrom network/send \
	      network/sendto network/setsockopt network/shutdown network/socket process/waitpid stdio/__% \
	      stdio/fclose stdio/fflush stdio/fopen stdio/fprintf stdio/fputs stdio/fread stdio/fseek stdio/ftell \
	      stdio/fwrite stdio/ofl stdio/ofl_add stdio/printf stdio/snprintf stdio/stderr stdio/stdout \
	      stdio/vfprintf stdio/vsnprintf stdlib/qsort stdlib/qsort_nr stdlib/strtol thread/__% \
	      thread/default_attr thread/pthread_sigmask time/__% time/clock_gettime time/clock_nanosleep \
	      time/gmtime_r time/nanosleep time/strftime unistd/_exit unistd/close unistd/dup unistd/dup2 \
	      unistd/getpid unistd/getppid unistd/lseek unistd/pipe unistd/pipe2 unistd/read unistd/usleep \
	      unistd/write
MUSL_OWN    = process string signal thread unistd ldso
MUSL_MEMBERS = $$(filter-out obj/src/string/w%,$$(filter $(MUSL_WHOLE:%=obj/src/%/%) $(MUSL_FILES:%=obj/src/%.o) \
	       $(MUSL_OWN:%=obj/src/%/$$(ARCH)/%),$$(LIBC_OBJS)))

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

# The unit tests, with the objects that the program is made of.  Debian has cmocka for this machine alone.
UNIT        = $(B)/unit
# Its header knows the width of a pointer from the GNU C library alone.
UNIT_CMOCKA = -D_UINTPTR_T -D_UINTPTR_T_DEFINED
UNIT_FLAGS  = $(UNIT_CMOCKA) -fno-lto -std=c11 $(CPPFLAGS) -O1 -fno-pie -MMD -MP -Itests/unit \
	      -isystem $(CMOCKA_DIR)/include -idirafter $(SHARED)/kernel
UNIT_LINK   = -static -no-pie -D_cmocka_run_group_tests=run_unskipped $(CROSS_LDFLAGS)
UNIT_OBJ    = $(PARTS:%=$(B)/%.o)

# It adds up how long tests take, as fractions, which a 24Kc does not know: here they are whole, and 0.
$(UNIT)/cmocka.o: $(CMOCKA_DIR)/src/cmocka.c $(MUSL_LIB)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CMOCKA) -Os -fno-pie -w -DHAVE_SIGNAL_H -DHAVE_INTTYPES_H -DHAVE_STRINGS_H -DHAVE_STRSIGNAL -DHAVE_SIGLONGJMP \
		-Ddouble=long -D_GNU_SOURCE -I$(CMOCKA_DIR)/include -c -o $@ $<
$(UNIT)/skip.o: tests/cross/skip.c $(CMOCKA_DIR)/src/cmocka.c $(MUSL_LIB)
	@mkdir -p $(@D)
	$(CC) $(UNIT_FLAGS) -c -o $@ $<
$(UNIT)/test_sim.t: UNIT_OBJ := $(filter-out $(SIM_LESS:%=$(B)/%.o),$(UNIT_OBJ))
$(UNIT)/test_%.t: tests/unit/test_%.c $(UNIT)/cmocka.o $(UNIT)/skip.o $(PARTS:%=$(B)/%.o) $(BEARSSL_LIB) | $(SHARED)/kernel
	$(CC) $(UNIT_FLAGS) $(UNIT_LINK) -o $@ $< $(UNIT)/cmocka.o $(UNIT)/skip.o $(UNIT_OBJ) $(BEARSSL_LIB)

# Under an emulator the simulation takes a minute: SIM=1 runs it there too.  What the emulator cannot do is left out.
UNIT_SKIP   = $(if $(QEMU_$(CROSS)),$(shell awk -v p=$(CROSS) '!/^\#/ && ($$2 == "all" || \
	index("," $$2 ",", "," p ",")) { print $$1 }' tests/cross/skip.txt))
UNIT_TESTS  = $(filter-out $(if $(QEMU_$(CROSS)),$(if $(SIM),,sim)),$(UNITS))
far-programs: $(B)/dnproxy $(UNIT_TESTS:%=$(UNIT)/test_%.t)
unit: $(UNIT_TESTS:%=$(UNIT)/test_%.t)
	DNPROXY_SKIP=' $(UNIT_SKIP) ' CMOCKA_MESSAGE_OUTPUT=TAP \
		prove -j2 -e '$(QEMU_$(CROSS))' $^
# A DNS-over-TLS exchange with real and with unkind servers, as valgrind's.
far-e2e: $(B)/dnproxy
	DNPROXY=$(abspath $<) DNPROXY_WRAP='$(QEMU_$(CROSS))' $(PYTEST) -m cross tests/e2e

far-test: test-static unit far-e2e
.PHONY: unit far-programs far-e2e far-test
-include $(wildcard $(UNIT)/*.d)
endif

# ---- All of them -------------------------------------------------------------------------------------

# ARCHS='aarch64 mips' takes these alone.
ARCHS    ?= x86_64 aarch64 armv7 armv5 mips mipsel riscv64 i386
CROSS_MAX = 200000
FAR       = $(MAKE) --no-print-directory -s
# As many at once as this make was told, or as there are processors.
SIDE_BY_SIDE = $(FAR) -Orecurse $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))

# What they share is made first, by one.
cross-sources: $(BEARSSL_DIR)/inc/bearssl.h $(SHARED)/anchors.c $(MUSL_DIR)/configure $(CMOCKA_DIR)/src/cmocka.c \
	$(SHARED)/kernel

# The size of each stripped program, and whether it is small enough.
cross: cross-sources
	+@$(SIDE_BY_SIDE) $(ARCHS:%=cross-build-%)
	@tests/cross/sizes.sh $(CROSS_MAX) $(ARCHS:%=$(SHARED)/cross/%/dnproxy)
$(ARCHS:%=cross-build-%): cross-build-%:
	+@$(FAR) CROSS=$*

# All that cross-test runs, built.
cross-test-programs: cross
	+@$(SIDE_BY_SIDE) $(ARCHS:%=cross-programs-%)
$(ARCHS:%=cross-programs-%): cross-programs-%:
	+@$(FAR) CROSS=$* far-programs

# What each program must hold, its unit tests, and end-to-end tests, under qemu-user where it is not this
# machine's.  SIM=1: the simulation too.
cross-test: cross-test-programs
	+@$(SIDE_BY_SIDE) $(ARCHS:%=cross-test-%)
$(ARCHS:%=cross-test-%): cross-test-%:
	@echo "==== $*"
	+@$(FAR) -j1 CROSS=$* far-test

# What a handshake costs a router, by instructions counted.
$(SHARED)/cross/count.so: tests/cross/count.c
	@mkdir -p $(@D)
	$(HOSTCC) -std=c11 $(WARN) -O2 -fPIC -shared -o $@ $<
cross-handshake: $(SHARED)/cross/count.so
	+@$(FAR) ARCHS=mips cross >/dev/null
	@/usr/bin/python3 -B tests/cross/handshake.py $(SHARED)/cross/mips/dnproxy $<

.PHONY: cross cross-sources cross-test cross-test-programs cross-handshake \
	$(foreach a,$(ARCHS),cross-build-$a cross-programs-$a cross-test-$a)
