#!/bin/sh
# SPDX-License-Identifier: MIT
# size.sh PROGRAM UNSTRIPPED MAX [each]: where the octets of PROGRAM are: code by module, after the lines that
# its functions are from, and the sections; fails when the file has more than MAX octets.  What has been
# inlined counts where it lies.  With "each" every file of BearSSL has a line of its own.
set -eu

program=$1
unstripped=$2
max=$3

printf '%-28s %8s\n' 'octets of' code
LC_ALL=C nm -S -l -t d --defined-only "$unstripped" | LC_ALL=C awk -v each="${4-}" '
	$3 !~ /^[tTwW]$/ { next }
	{
		who = "C library"
		if ($5 ~ /bearssl\/src\//)
			who = each != "" ? "BearSSL " $5 : "BearSSL"
		else if ($5 ~ /\/(src|include)\//)
			who = $5
		sub(/:[0-9?]*$/, "", who)
		sub(/[^ ]*\//, "", who)
		if (!($1 in seen))
			sum[who] += $2
		seen[$1] = 1
	}
	END {
		for (who in sum)
			printf "%d%-28s %8d\n", who ~ /^BearSSL/ ? 1 : who == "C library" ? 2 : 0, who, sum[who]
	}
' | LC_ALL=C sort | cut -c2-
echo
LC_ALL=C size -A -d "$program" | LC_ALL=C awk '$1 ~ /^\.(text|rodata|data|bss)$/ { printf "%-28s %8d\n", substr($1, 2), $2 }'

size=$(wc -c <"$program")
echo
echo "$program: $size octets, at most $max"
[ "$size" -le "$max" ]
