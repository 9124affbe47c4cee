# BearSSL 0.6: from Debian's source archive with apt's own downloader, checked by its SHA-256, and
# built once with the compiler of the program.  BEARSSL_DIR=path takes an unpacked source instead.
BEARSSL_SHA256 = 102a625bd8f6155260867a50c508df8d8c3f796985dd744df1a68e5cd1a79004
BEARSSL_TAR    = bearssl_0.6+dfsg.1.orig.tar.xz
BEARSSL_DIR   ?= $(B)/bearssl-src
BEARSSL_LIB    = $(B)/bearssl/libbearssl.a

# No seeding of its own (getrandom() is ours), no clock (ours), no SSE2 (slower than plain C).
BEARSSL_DEFS   = -DBR_RDRAND=0 -DBR_USE_URANDOM=0 -DBR_USE_UNIX_TIME=0 -DBR_USE_WIN32_RAND=0 \
		 -DBR_USE_WIN32_TIME=0 -DBR_SSE2=0

ifeq ($(BEARSSL_DIR),$(B)/bearssl-src)
$(B)/$(BEARSSL_TAR):
	@mkdir -p $(@D)
	@site="$$(apt-get indextargets --format '$$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | \
		grep -v security | sort -u | head -n1)"; \
	test -n "$$site" || { echo "no Debian archive in apt's sources: run apt-get update, or give BEARSSL_DIR="; exit 1; }; \
	/usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file \
		"$${site}pool/main/b/bearssl/$(BEARSSL_TAR)" $@.part SHA256:$(BEARSSL_SHA256)
	@mv $@.part $@

$(BEARSSL_DIR)/inc/bearssl.h: $(B)/$(BEARSSL_TAR)
	@mkdir -p $(BEARSSL_DIR)
	tar xJf $< -C $(BEARSSL_DIR) --strip-components=1
	@touch $@
endif

$(BEARSSL_LIB): $(BEARSSL_DIR)/inc/bearssl.h
	@mkdir -p $(@D)
	$(MAKE) -s -C $(BEARSSL_DIR) BUILD=$(abspath $(@D)) CC='$(CC)' \
		CFLAGS='-W -Wall $(OPT) -fno-pie -ffile-prefix-map=$(abspath $(BEARSSL_DIR))=bearssl $(BEARSSL_DEFS)' lib

# The built-in trust anchors: roots of Cloudflare (SSL.com), Google (GTS), Quad9 (DigiCert), AdGuard
# (Sectigo, USERTrust) and Let's Encrypt (ISRG), from Debian's ca-certificates.
CA_DIR   = /usr/share/ca-certificates/mozilla
CA_NAMES = SSL.com_Root_Certification_Authority_ECC SSL.com_TLS_ECC_Root_CA_2022 GTS_Root_R1 GTS_Root_R4 DigiCert_Global_Root_G2 DigiCert_Global_Root_G3 \
	   USERTrust_ECC_Certification_Authority Sectigo_Public_Server_Authentication_Root_E46 ISRG_Root_X1 ISRG_Root_X2
CA_FILES = $(wildcard $(CA_NAMES:%=$(CA_DIR)/%.crt))
CA_LACK  = $(filter-out $(CA_FILES:$(CA_DIR)/%.crt=%),$(CA_NAMES))

# mkanchors runs on the building machine; of BearSSL it needs the headers only.
MKANCHORS_SRC = src/mkanchors.c src/trust.c src/cert.c src/pem.c
$(B)/mkanchors: $(MKANCHORS_SRC) include/trust.h include/cert.h include/pem.h $(BEARSSL_DIR)/inc/bearssl.h
	@mkdir -p $(@D)
	$(HOSTCC) -std=c11 -O1 -Iinclude -isystem $(BEARSSL_DIR)/inc -o $@ $(MKANCHORS_SRC)

$(B)/anchors.c: $(B)/mkanchors $(CA_FILES)
	$(if $(CA_LACK),@echo "no trust anchors for lack of them in ca-certificates: $(CA_LACK)")
	@test -n "$(CA_FILES)" || { echo "no certificates in $(CA_DIR): install ca-certificates, or give CA_DIR="; exit 1; }
	$(B)/mkanchors $(CA_FILES) > $@.tmp
	@mv $@.tmp $@
