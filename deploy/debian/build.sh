#!/bin/sh
# SPDX-License-Identifier: MIT
# build.sh PROGRAM VERSION DIRECTORY: packs a static dnproxy into DIRECTORY/dnproxy_VERSION_ARCH.deb and prints that
# name.  The architecture is that of the program.  The same program and version, with the same $SOURCE_DATE_EPOCH, give
# the same octets.  $DEB_MAINTAINER is who answers for the package, $BUILT_USING what of Debian is in the program.
set -eu

program=$1
version=$2
directory=$3
top=$(dirname "$0")/../..
maintainer=${DEB_MAINTAINER:?}
using=${BUILT_USING-}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 1' HUP INT TERM
umask 022
export LC_ALL=C

# As Debian names it; there is none for big-endian MIPS.
architecture() {
	header=$(readelf -hW "$program")
	case "$header" in
	*"Machine:"*X86-64*) echo amd64 ;;
	*"Machine:"*AArch64*) echo arm64 ;;
	*"Machine:"*ARM*hard-float*) echo armhf ;;
	*"Machine:"*ARM*) echo armel ;;
	*"Machine:"*80386*) echo i386 ;;
	*ELF64*"Machine:"*RISC-V*) echo riscv64 ;;
	*"little endian"*"Machine:"*MIPS*) echo mipsel ;;
	*)
		echo "build.sh: Debian has no architecture for $program" >&2
		exit 1
		;;
	esac
}

# put MODE FILE PATH: a file of the package.
put() {
	install -D -m "$1" "$2" "$root/$3"
}

# put_gz PATH: the same of what is read, compressed.
put_gz() {
	mkdir -p "$(dirname "$root/$1")"
	gzip -9n >"$root/$1"
	chmod 644 "$root/$1"
}

fill_in() {
	sed -e "s|@VERSION@|$version|" -e "s|@UPSTREAM@|${version%-*}|" -e "s|@MAINTAINER@|$maintainer|" \
		-e "s|@ARCH@|$arch|" -e "s|@BUILT_USING@|${using#, }|" -e "/^Built-Using: *$/d" \
		-e "s|@DATE@|$(date -u -R -d "@$SOURCE_DATE_EPOCH")|" -e "s|@SIZE@|${size-}|" "$1"
}

arch=$(architecture)
deb=$directory/dnproxy_${version}_$arch.deb
doc=usr/share/doc/dnproxy

put 755 "$program" usr/sbin/dnproxy
put 644 "$top/deploy/debian/dnproxy.yml" etc/dnproxy.yml
put 644 "$top/deploy/systemd/dnproxy.service" lib/systemd/system/dnproxy.service
put 644 "$top/deploy/debian/lintian-overrides" usr/share/lintian/overrides/dnproxy
put 644 "$top/deploy/debian/copyright" "$doc/copyright"
put 644 "$top/doc/debian.md" "$doc/README.Debian"
put 644 "$top/doc/migrating.md" "$doc/migrating.md"
put 644 "$top/dnproxy.yml" "$doc/examples/dnproxy.yml"
put 755 "$top/deploy/debian/network-changed" "$doc/examples/network-changed"
put 644 "$top/deploy/systemd/unprivileged.conf" "$doc/examples/unprivileged.conf"
sed "s|/usr/local/$doc/|/$doc/examples/|; s|/usr/local/share/doc/dnproxy/|/$doc/examples/|" "$top/doc/dnproxy.8" |
	put_gz usr/share/man/man8/dnproxy.8.gz
fill_in "$top/deploy/debian/changelog.in" | put_gz "$doc/changelog.Debian.gz"

size=$(du -sk --apparent-size "$root" | cut -f1)
mkdir "$root/DEBIAN"
(cd "$root" && find lib usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
echo /etc/dnproxy.yml >"$root/DEBIAN/conffiles"
fill_in "$top/deploy/debian/control.in" >"$root/DEBIAN/control"
for script in postinst prerm postrm; do
	put 755 "$top/deploy/debian/$script" "DEBIAN/$script"
done
chmod 644 "$root/DEBIAN/md5sums" "$root/DEBIAN/conffiles" "$root/DEBIAN/control"
chmod 755 "$root"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$directory"
dpkg-deb --root-owner-group -Zxz --threads-max=1 -b "$root" "$deb" >/dev/null
echo "$deb"
