# The Debian package and the systemd unit; the Makefile includes this.
#
#   make deb           packs the program into build/dnproxy_VERSION_ARCH.deb, for the machine it was built for
#   make test-debian   looks at package and unit, and installs and runs them under systemd in a namespace (root)

DEB_VERSION    ?= $(VERSION)-1
DEB_MAINTAINER ?= The dnproxy authors <dnproxy@users.noreply.dnproxy.example>
# What of Debian is in the program: musl, and BearSSL unless BEARSSL_DIR names another.
DEB_BEARSSL     = $(if $(findstring bearssl-src,$(BEARSSL_DIR)),$(shell apt-cache show libbearssl-dev 2>/dev/null | sed -n 's/^Version: //p' | head -n1))
DEB_MUSL        = $(if $(MUSL_LIB),$(MUSL_TAR:musl_%.orig.tar.gz=%-1),$(shell dpkg-query -W -f '$${source:Version}' musl-dev 2>/dev/null))
DEB_USING       = $(if $(DEB_BEARSSL),bearssl (= $(DEB_BEARSSL)))$(if $(DEB_MUSL),$(comma) musl (= $(DEB_MUSL)))

LINT_SCRIPT    += deploy/debian/network-changed $(addprefix deploy/debian/,postinst prerm postrm)

deb: $(B)/dnproxy
	@DEB_MAINTAINER='$(DEB_MAINTAINER)' BUILT_USING='$(DEB_USING)' deploy/debian/build.sh $< $(DEB_VERSION) $(B)

test-debian: $(B)/dnproxy
	DNPROXY=$(abspath $<) $(PYTEST) -n 2 --dist loadfile $(or $(filter tests/debian/%,$(TESTS)),tests/debian)

.PHONY: deb test-debian
