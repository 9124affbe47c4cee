# make CROSS=ARCH builds for another machine: what differs there, and nothing else.  The Makefile takes this before
# its rules, because it chooses the compiler; the rules are in tests/cross.mk.
#
# Debian's compilers (all of one version) know where the processor is; the C library is musl, from source.
# Every program says by its name which routers it is for in doc/architectures.md.
ARCHITECTURES = x86_64 aarch64 armv7 armv5 mips mipsel riscv64 i386

TRIPLET_x86_64  = x86_64-linux-gnu
TRIPLET_aarch64 = aarch64-linux-gnu
TRIPLET_armv7   = arm-linux-gnueabihf
TRIPLET_armv5   = arm-linux-gnueabi
TRIPLET_mips    = mips-linux-gnu
TRIPLET_mipsel  = mipsel-linux-gnu
TRIPLET_riscv64 = riscv64-linux-gnu
TRIPLET_i386    = i686-linux-gnu

# Routers' MIPS processors and their kernels know no floating point.
ARCH_armv5  = -march=armv5te -mfloat-abi=soft
ARCH_mips   = -march=24kc -msoft-float
ARCH_mipsel = -march=24kc -msoft-float
ARCH_i386   = -march=pentium

# The oldest processor that the program has to run on.  x86_64 runs as it is.
QEMU_x86_64  =
QEMU_aarch64 = qemu-aarch64-static -cpu cortex-a53
QEMU_armv7   = qemu-arm-static -cpu cortex-a7
QEMU_armv5   = qemu-arm-static -cpu arm926
QEMU_mips    = qemu-mips-static -cpu 24Kc
QEMU_mipsel  = qemu-mipsel-static -cpu 24Kc
QEMU_riscv64 = qemu-riscv64-static
QEMU_i386    = qemu-i386-static -cpu pentium

ifneq ($(filter-out $(ARCHITECTURES),$(CROSS))$(words $(CROSS)),1)
$(error CROSS=$(CROSS) is unknown; there are: $(ARCHITECTURES))
endif

TRIPLET := $(TRIPLET_$(CROSS))
B       := $(SHARED)/cross/$(CROSS)
# Native programs are built with Debian's musl; so is this one for the same processor.
MUSL     = $(abspath $(B))/musl
MUSL_CC  = $(TRIPLET)-gcc -specs $(MUSL)/musl-gcc.specs $(ARCH_$(CROSS))
MUSL_LIB = $(if $(filter x86_64,$(CROSS)),,$(MUSL)/musl-gcc.specs)

CC       = $(if $(MUSL_LIB),$(MUSL_CC),musl-gcc)
AR       = $(TRIPLET)-gcc-ar
# x86_64's is the native one: compiler and flags are the same.
BEARSSL_LIB = $(if $(MUSL_LIB),$(B),$(SHARED))/bearssl/libbearssl.a
STRIP    = $(TRIPLET)-strip
export OBJDUMP = $(TRIPLET)-objdump
MACHINE := $(TRIPLET)
# Debian's libgcc is for MIPS with floating point, but what is taken from it, divisions of 64 bits, has none: see
# tests/static.sh.  Without this the linker warns of each piece.  And no pointer has to be kept to where a shared
# library would have its addresses: 7 kB less.
CROSS_LDFLAGS = $(if $(filter mips%,$(CROSS)),-Xlinker --no-warn-mismatch -mno-abicalls -G0)
