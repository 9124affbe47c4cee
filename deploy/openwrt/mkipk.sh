#!/bin/sh
# SPDX-License-Identifier: MIT
# mkipk.sh PROGRAM ARCHITECTURE DIRECTORY: makes DIRECTORY/dnproxy_VERSION_ARCHITECTURE.ipk of a static program, for
# OpenWrt releases before 25.12.  ARCHITECTURE is what "opkg print-architecture" of the router says.  The same program
# and SOURCE_DATE_EPOCH make the same file, octet for octet.
set -eu

[ $# -eq 3 ] || {
	echo "usage: mkipk.sh PROGRAM ARCHITECTURE DIRECTORY" >&2
	exit 2
}
program=$1
architecture=$2
here=$(dirname "$0")
top=$here/../..
version=$(sed -n 's/^VERSION *= *//p' "$top/Makefile")-r$(sed -n 's/^PKG_RELEASE:=//p' "$here/Makefile")
date=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || stat -c %Y "$here/mkipk.sh")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
umask 022

# put SOURCE TARGET MODE: what Package/dnproxy/install of the Makefile beside this puts there too.
put() {
	install -D -m "$3" "$1" "$work/data$2"
}
put "$program" /usr/sbin/dnproxy 755
put "$here/files/dnproxy.init" /etc/init.d/dnproxy 755
put "$here/files/dnproxy.config" /etc/config/dnproxy 600
put "$here/files/dnproxy.json" /etc/capabilities/dnproxy.json 644
put "$here/files/dnproxy.ntp" /etc/hotplug.d/ntp/30-dnproxy 644
put "$here/files/dnproxy.keep" /lib/upgrade/keep.d/dnproxy 644

# script NAME: one that leaves the work to what every package of OpenWrt leaves it to.
script() {
	cat >"$work/control/$1" <<-END
		#!/bin/sh
		[ "\$IPKG_NO_SCRIPT" != 1 ] || exit 0
		[ -s "\$IPKG_INSTROOT/lib/functions.sh" ] || exit 0
		. "\$IPKG_INSTROOT/lib/functions.sh"
		default_$1 "\$0" "\$@"
	END
	chmod 755 "$work/control/$1"
}
mkdir "$work/control"
script postinst
script prerm
echo /etc/config/dnproxy >"$work/control/conffiles"
cat >"$work/control/control" <<END
Package: dnproxy
Version: $version
Section: net
Architecture: $architecture
Installed-Size: $(find "$work/data" -type f -exec cat {} + | wc -c)
License: MIT
Require-User: dnproxy:dnproxy
Description:  DNS proxy: plain DNS in, authenticated DNS over TLS out.
 One static program with built-in trust anchors; it needs no other package.
END

echo 2.0 >"$work/debian-binary"
archive() {
	in=$1
	shift
	tar -C "$in" --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$date" -cf - "$@" | gzip -n9
}
archive "$work/data" . >"$work/data.tar.gz"
archive "$work/control" . >"$work/control.tar.gz"
mkdir -p "$3"
archive "$work" ./debian-binary ./data.tar.gz ./control.tar.gz >"$3/dnproxy_${version}_$architecture.ipk"
echo "$3/dnproxy_${version}_$architecture.ipk"
