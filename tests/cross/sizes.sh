#!/bin/sh
# SPDX-License-Identifier: MIT
# sizes.sh MAX PROGRAM...: the octets of each program, which lie in directories named after their processors, and
# fails when one of them has more than MAX.
set -eu

max=$1
shift
status=0
printf '%-10s %8s\n' processor octets
for program in "$@"; do
	octets=$(wc -c <"$program")
	note=
	[ "$octets" -le "$max" ] || note="  more than $max"
	[ -z "$note" ] || status=1
	printf '%-10s %8d%s\n' "$(basename "$(dirname "$program")")" "$octets" "$note"
done
exit "$status"
