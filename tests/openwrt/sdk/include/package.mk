# SPDX-License-Identifier: MIT
# What OpenWrt's include/package.mk does with a package: prepare, compile, install into a directory of its own.
PKG_BUILD_DIR ?= $(BUILD_DIR)/$(PKG_NAME)-$(PKG_VERSION)
PKG_JOBS      ?= $(if $(PKG_BUILD_PARALLEL),-j2)

# FILE of each has to be in $(DL_DIR).
Download = $(eval $(Download/$(1)))

define BuildPackage
$(foreach part,Package/$(1) Package/$(1)/description Package/$(1)/install Build/Prepare Build/Compile,$(if \
	$(filter undefined,$(flavor $(part))),$(error $(part) is missing)))
.PHONY: all show
all:
	$$(Build/Prepare)
	$$(Build/Compile)
	$$(call Package/$(1)/install,$(TOPDIR)/ipkg/$(1))
show:
	@echo '$$(PKG_NAME) $$(PKG_VERSION) $$(PKG_RELEASE) $$(PKG_LICENSE)'
	@echo '$$(HASH) $$(FILE) $$(URL)'
	@echo '$$(Package/$(1)/conffiles)'
endef
