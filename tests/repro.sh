#!/bin/sh
# SPDX-License-Identifier: MIT
# repro.sh PROGRAM [TARBALL]: a build of this commit in another directory, by another user's habits, is the same as
# PROGRAM octet for octet.  PROGRAM is what was built here; where files are changed that git knows, or settings of
# one's own are in config.mak, it is not of this commit, and one more build takes its place.  TAP out.
# TARBALL is BearSSL's source archive, so that it is fetched once.
set -eu

top=$(git rev-parse --show-toplevel)
program=$(realpath "$1")
tarball=${2:+$(realpath "$2")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

short=$work/a
long=$work/another/place/with/a/longer/name

# The settings of the make that calls this test are not those of the builds.
unset MAKEFLAGS MAKELEVEL MFLAGS MAKEOVERRIDES SOURCE_DATE_EPOCH

build() {
	git clone -q "$top" "$1"
	if [ -n "$tarball" ]; then
		mkdir -p "$1/build"
		cp -p "$tarball" "$1/build/"
	fi
	make -C "$1" -s >"$work/$2.log" 2>&1
}

of_this_commit() {
	[ ! -e "$top/config.mak" ] && git -C "$top" diff --quiet HEAD --
}

echo 1..2
mkdir -p "$(dirname "$long")"
built=yes
(umask 077 && LC_ALL=C.UTF-8 TZ=Asia/Kathmandu MAKEFLAGS=-j2 build "$long" long) || built=no
if ! of_this_commit; then
	program=$short/build/dnproxy
	build "$short" short || built=no
fi
if [ "$built" = no ]; then
	echo "not ok 1 - the build succeeds"
	tail -n 20 "$work"/*.log | sed 's/^/# /'
	echo "not ok 2 - both programs are the same octet for octet # nothing to compare"
	exit 1
fi
echo "ok 1 - the build succeeds"
if cmp "$program" "$long/build/dnproxy" >"$work/cmp" 2>&1; then
	echo "ok 2 - both programs are the same octet for octet"
else
	echo "not ok 2 - both programs are the same octet for octet"
	sed 's/^/# /' "$work/cmp"
	exit 1
fi
