# How BearSSL and the trust anchors get into the program; what is taken stands in the Makefile.
BEARSSL_DIR   ?= $(SHARED)/bearssl-src
BEARSSL_LIB   ?= $(B)/bearssl/libbearssl.a

# No seeding of its own (getrandom() is ours), no clock (ours), no SSE2 (slower than plain C).
BEARSSL_DEFS   = -DBR_RDRAND=0 -DBR_USE_URANDOM=0 -DBR_USE_UNIX_TIME=0 -DBR_USE_WIN32_RAND=0 \
		 -DBR_USE_WIN32_TIME=0 -DBR_SSE2=0

ifeq ($(BEARSSL_DIR),$(SHARED)/bearssl-src)
$(SHARED)/$(BEARSSL_TAR):
	$(call fetch,b/bearssl,$(BEARSSL_SHA256),BEARSSL_DIR=)

$(BEARSSL_DIR)/inc/bearssl.h: $(SHARED)/$(BEARSSL_TAR)
	@mkdir -p $(BEARSSL_DIR)
	tar xJf $< -C $(BEARSSL_DIR) --strip-components=1
	@touch $@
endif

$(BEARSSL_LIB): $(BEARSSL_DIR)/inc/bearssl.h $(MUSL_LIB)
	@mkdir -p $(@D)
	$(MAKE) -s -C $(BEARSSL_DIR) BUILD=$(abspath $(@D)) CC='$(CC)' AR='$(AR)' \
		CFLAGS='-W -Wall -g $(OPT) $(LTO) -fno-pie -ffile-prefix-map=$(abspath $(BEARSSL_DIR))=bearssl $(BEARSSL_DEFS)' lib

CA_FILES = $(wildcard $(CA_NAMES:%=$(CA_DIR)/%.crt))
CA_LACK  = $(filter-out $(CA_FILES:$(CA_DIR)/%.crt=%),$(CA_NAMES))

# mkanchors runs on the building machine; of BearSSL it needs SHA-256, compiled for that machine too.
MKANCHORS_SRC = src/mkanchors.c src/trust.c src/cert.c src/pem.c src/base64.c
MKANCHORS_SHA = $(addprefix $(BEARSSL_DIR)/src/,hash/sha2small.c codec/dec32be.c codec/enc32be.c)
$(SHARED)/mkanchors: $(MKANCHORS_SRC) include/trust.h include/pin.h include/cert.h include/pem.h $(BEARSSL_DIR)/inc/bearssl.h
	@mkdir -p $(@D)
	$(HOSTCC) -std=c11 -O1 -Iinclude -isystem $(BEARSSL_DIR)/inc -I$(BEARSSL_DIR)/src $(BEARSSL_DEFS) \
		-o $@ $(MKANCHORS_SRC) $(MKANCHORS_SHA)

$(SHARED)/anchors.c: $(SHARED)/mkanchors $(CA_FILES)
	$(if $(CA_LACK),@echo "left out of the trust anchors because ca-certificates lacks them: $(CA_LACK)")
	@test -n "$(CA_FILES)" || { echo "no certificates in $(CA_DIR): install ca-certificates, or give CA_DIR="; exit 1; }
	$(SHARED)/mkanchors $(CA_FILES) > $@.tmp
	@mv $@.tmp $@
