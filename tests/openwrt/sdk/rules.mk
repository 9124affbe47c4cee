# SPDX-License-Identifier: MIT
# What a package's Makefile needs of OpenWrt's rules.mk.  TARGET_CROSS, TARGET_CFLAGS, ... come from the command line.
INCLUDE_DIR      := $(TOPDIR)/include
DL_DIR           := $(TOPDIR)/dl
BUILD_DIR        := $(TOPDIR)/build_dir
STAGING_DIR_ROOT := $(TOPDIR)/staging_dir/root
HOSTCC           := cc
CP               := cp -fpR
INSTALL_DIR      := install -d -m0755
INSTALL_BIN      := install -m0755
INSTALL_DATA     := install -m0644
INSTALL_CONF     := install -m0600
