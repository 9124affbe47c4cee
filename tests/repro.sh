#!/bin/sh
# SPDX-License-Identifier: MIT
# repro.sh [TARBALL]: two builds of this commit, in directories with paths of different length, are
# the same octet for octet.  TAP out.  TARBALL is BearSSL's source archive, fetched once for both.
set -eu

top=$(git rev-parse --show-toplevel)
tarball=${1:+$(realpath "$1")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

short=$work/a
long=$work/another/place/with/a/longer/name

# The settings of the make that calls this test are not those of the two builds.
unset MAKEFLAGS MAKELEVEL MFLAGS MAKEOVERRIDES SOURCE_DATE_EPOCH

build() {
	git clone -q "$top" "$1"
	if [ -n "$tarball" ]; then
		mkdir -p "$1/build"
		cp -p "$tarball" "$1/build/"
	fi
	make -C "$1" -s >"$work/$2.log" 2>&1
}

echo 1..2
mkdir -p "$(dirname "$long")"
build "$short" short &
first=$!
built=yes
(umask 077 && LC_ALL=C.UTF-8 TZ=Asia/Kathmandu build "$long" long) || built=no
wait "$first" || built=no
if [ "$built" = no ]; then
	echo "not ok 1 - both builds succeed"
	tail -n 20 "$work"/*.log | sed 's/^/# /'
	echo "not ok 2 - both programs are the same octet for octet # nothing to compare"
	exit 1
fi
echo "ok 1 - both builds succeed"
if cmp "$short/build/dnproxy" "$long/build/dnproxy" >"$work/cmp" 2>&1; then
	echo "ok 2 - both programs are the same octet for octet"
else
	echo "not ok 2 - both programs are the same octet for octet"
	sed 's/^/# /' "$work/cmp"
	exit 1
fi
