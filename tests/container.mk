# The container image: what goes into it, and its tests.

IMAGE      = dnproxy
# The tests give --pull-never, since their Debian is made on the spot.
IMAGE_FLAGS =
IMAGE_ROOT = $(B)/image/root
SBOM       = $(B)/dnproxy.spdx.json
# Docker's format, because that of the OCI knows no HEALTHCHECK; IMAGE_FORMAT=oci gives the same ID each time.
IMAGE_FORMAT = docker
REVISION  := $(shell git rev-parse HEAD 2>/dev/null)
BUILDAH    = buildah bud --format $(IMAGE_FORMAT) --timestamp $(SOURCE_DATE_EPOCH) --build-arg VERSION=$(VERSION) \
	     $(if $(REVISION),--label org.opencontainers.image.revision=$(REVISION)) $(IMAGE_FLAGS)

image:
	$(BUILDAH) --build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) -f Dockerfile.scratch -t $(IMAGE) .

# What the build stage runs: the two files as they lie in the image, and what they are made of.
image-root: $(B)/dnproxy sbom
	install -D -m 755 $(B)/dnproxy $(IMAGE_ROOT)/dnproxy
	install -D -m 644 deploy/container/dnproxy.yml $(IMAGE_ROOT)/etc/dnproxy.yml

# musl is Debian's, or that of MUSL_TAR for other machines.
debian_version = $(shell dpkg-query -W -f '$${Version}' $1 2>/dev/null || echo NOASSERTION)
MUSL_VERSION   = $(or $(if $(MUSL_LIB),$(patsubst musl_%.orig.tar.gz,%,$(MUSL_TAR))),$(call debian_version,musl-dev))
sbom: $(B)/dnproxy
	@mkdir -p $(dir $(SBOM))
	@VERSION='$(VERSION)' BEARSSL_TAR='$(BEARSSL_TAR)' MUSL_VERSION='$(MUSL_VERSION)' \
		BEARSSL_SHA256='$(if $(wildcard $(dir $(BEARSSL_DIR))$(BEARSSL_TAR)),$(BEARSSL_SHA256))' \
		GCC_VERSION="$$($(CC) -dumpfullversion)" CA_VERSION='$(call debian_version,ca-certificates)' \
		CA_NAMES='$(CA_FILES:$(CA_DIR)/%.crt=%)' \
		deploy/container/sbom.sh $< deploy/container/dnproxy.yml > $(SBOM).tmp
	@mv $(SBOM).tmp $(SBOM)

# One name for several machines: the last stage of the Dockerfile, with programs that lie there already.
PLATFORMS   = linux/amd64@x86_64 linux/arm64@aarch64 linux/arm/v7@armv7
IMAGE_ROOTS = $(PLATFORMS:%=image-root/%)
comma      := ,
empty      :=
names_of    = $(foreach p,$1,$(firstword $(subst @, ,$p)))
images: $(IMAGE_ROOTS)
	sed -n '/^FROM scratch$$/,$$s|^COPY .*|ARG TARGETPLATFORM\nCOPY $${TARGETPLATFORM}/ /|;/^FROM scratch$$/,$$p' \
		Dockerfile.scratch > $(B)/image/Dockerfile
	$(BUILDAH) --platform $(subst $(empty) $(empty),$(comma),$(call names_of,$(PLATFORMS))) --manifest $(IMAGE) \
		-f $(B)/image/Dockerfile $(B)/image
$(IMAGE_ROOTS): image-root/%:
	$(MAKE) -s CROSS=$(lastword $(subst @, ,$*)) image-root IMAGE_ROOT=$(B)/image/$(call names_of,$*) \
		SBOM=$(B)/image/$(call names_of,$*).spdx.json

test-container:
	$(PYTEST) -n 0 tests/container

.PHONY: image images image-root sbom $(IMAGE_ROOTS) test-container
