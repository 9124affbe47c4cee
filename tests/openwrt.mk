# OpenWrt: the init script on a router of stubs, dnsmasq in front of the program, and packages for opkg.

# Which of our programs (make CROSS=...) is for which routers: what "opkg print-architecture" says there.  Armv5 is for
# all whose processor may lack floating point, and i386 for those before SSE.
IPK_x86_64  = x86_64
IPK_aarch64 = aarch64_generic aarch64_cortex-a53 aarch64_cortex-a72 aarch64_cortex-a76
IPK_armv7   = arm_cortex-a5_vfpv4 arm_cortex-a7_neon-vfpv4 arm_cortex-a7_vfpv4 arm_cortex-a8_vfpv3 arm_cortex-a9_neon \
	      arm_cortex-a9_vfpv3-d16 arm_cortex-a15_neon-vfpv4
IPK_armv5   = arm_arm926ej-s arm_arm1176jzf-s_vfp arm_cortex-a7 arm_cortex-a9 arm_xscale
IPK_mips    = mips_24kc
IPK_mipsel  = mipsel_24kc mipsel_24kc_24kf mipsel_74kc
IPK_riscv64 = riscv64_riscv64
IPK_i386    = i386_pentium-mmx i386_pentium4
IPK_CPUS   ?= x86_64 aarch64 armv7 armv5 mips mipsel riscv64 i386
# The packages go here.
IPK_DIR     = build/ipk

# make ipk builds packages for all of them, make ipk IPK_CPUS=mips those for one.
ipk: $(IPK_CPUS:%=ipk-%)
$(IPK_CPUS:%=ipk-%): ipk-%:
	@$(MAKE) --no-print-directory -s CROSS=$*
	@for architecture in $(IPK_$*); do \
		deploy/openwrt/mkipk.sh build/cross/$*/dnproxy $$architecture $(IPK_DIR) || exit 1; \
	done

TEST_OPENWRT = DNPROXY=$(abspath $<) BEARSSL=$(abspath $(BEARSSL_DIR)) $(PYTEST)
test-openwrt: $(B)/dnproxy
	$(TEST_OPENWRT) -m 'not sdk' tests/openwrt
# The Makefile of the feed with a toolchain that stands in: the program once more.
test-openwrt-sdk: $(B)/dnproxy
	$(TEST_OPENWRT) -n 0 -m sdk tests/openwrt

# What runs on the router is for busybox's ash, which shellcheck knows as dash but for its "local"; variables with no
# other use are read by procd's scripts.
OPENWRT_SCRIPTS = deploy/openwrt/files/dnproxy.init tests/openwrt/stub/rc.common tests/openwrt/stub/functions.sh \
		  tests/openwrt/stub/procd.sh tests/openwrt/stub/dnsmasq.init
lint-openwrt:
	shellcheck -s dash -e SC1008,SC1090,SC1091,SC2034,SC2154,SC3043 $(OPENWRT_SCRIPTS)
	shellcheck -s dash -e SC2148,SC2154 deploy/openwrt/files/dnproxy.ntp
	shellcheck tests/openwrt/stub/uci tests/openwrt/stub/logger

LINT_PARTS += lint-openwrt

.PHONY: ipk $(IPK_CPUS:%=ipk-%) test-openwrt test-openwrt-sdk lint-openwrt
