#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the Debian packages that building (deps.sh build) or building and testing (deps.sh all)
# need, and nothing when all are there.  Services that come with them are kept from starting, now
# and at the next boot: the tests start their own, on ports of their own.
set -eu

BUILD='gcc libc6-dev make musl-tools xz-utils ca-certificates'
TESTS='git perl libcmocka-dev clang libclang-rt-dev valgrind procps
	python3 python3-pytest python3-pytest-xdist python3-dnspython python3-yaml python3-cryptography
	knot-dnsutils openssl iproute2 nftables tcpdump libfaketime strace'
SERVERS='unbound nsd dnsdist nginx-light libnginx-mod-stream'
LINT='clang-format clang-tidy cppcheck shellcheck mandoc'
BENCH='dnsperf libssl-dev stubby smartdns knot-resolver gnuplot-nox nftables linux-perf'
CROSS='gcc-aarch64-linux-gnu gcc-arm-linux-gnueabihf gcc-arm-linux-gnueabi gcc-mips-linux-gnu gcc-mipsel-linux-gnu
	gcc-riscv64-linux-gnu gcc-i686-linux-gnu qemu-user-static'
CONTAINER='buildah podman runc netavark iptables mmdebstrap'
CHART='nodejs unzip yamllint'
# Debian has npm in a package of its own; where nodejs comes from others, npm often is part of it.
command -v npm >/dev/null || CHART="$CHART npm"
OPENWRT='busybox-static dnsmasq-base'
DEBIAN='lintian systemd'
SCALING='conntrack'
SERVICES='unbound nsd dnsdist nginx stubby smartdns kresd kres-cache-gc'
POLICY=/usr/sbin/policy-rc.d

case "${1-all}" in
build) wanted=$BUILD ;;
all) wanted="$BUILD $TESTS $SERVERS $LINT $BENCH $CROSS $CONTAINER $CHART $OPENWRT $DEBIAN $SCALING" ;;
*)
	echo "usage: deps.sh [build|all]" >&2
	exit 2
	;;
esac

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# BearSSL's source is fetched from the archive that apt's lists name.
# shellcheck disable=SC2016
archive_known() {
	[ -n "$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian')" ]
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

apt() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

hold_services() {
	[ ! -e "$POLICY" ] || return 0
	trap 'as_root rm -f "$POLICY"' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
	as_root chmod 755 "$POLICY"
}

keep_from_boot() {
	[ -x /bin/systemctl ] || return 0
	as_root systemctl --quiet disable "$1" 2>/dev/null || true
}

missing=
for package in $wanted; do
	installed "$package" || missing="$missing $package"
done
new_services=
for service in $SERVICES; do
	[ -e "/etc/init.d/$service" ] || [ -e "/lib/systemd/system/$service.service" ] ||
		new_services="$new_services $service"
done

if [ -z "$missing" ] && archive_known; then
	echo "nothing to install"
	exit 0
fi
apt update
[ -n "$missing" ] || exit 0
echo "installing:$missing"
hold_services
# shellcheck disable=SC2086
apt install -y --no-install-recommends $missing
for service in $new_services; do
	keep_from_boot "$service"
done
