#!/bin/sh
# SPDX-License-Identifier: MIT
# size.sh PROGRAM MAP MAX [each]: where the octets of PROGRAM are, by module and section, after the
# linker's MAP; fails when the file has more than MAX octets.  With "each" every object of the
# libraries has a line of its own.
set -eu

program=$1
map=$2
max=$3

printf '%-28s %8s %8s %8s %8s\n' 'octets of' text rodata data bss

# A line of the map is " .text.name 0xADDRESS 0xSIZE FILE"; a long name has a line of its own.
LC_ALL=C awk -v each="${4-}" '
	/^Linker script and memory map/ { on = 1 }
	!on { next }
	/^ (\.[a-zA-Z_]|COMMON)[^ ]*$/ { name = $1; next }
	/^ (\.[a-zA-Z_]|COMMON)/ && NF >= 4 { count($1, $3, $4); next }
	/^ +0x[0-9a-f]+ +0x[0-9a-f]+ [^ ]/ && name != "" { count(name, $2, $3) }
	{ name = "" }

	function count(section, octets, file,    kind, who) {
		kind = section
		sub(/^\./, "", kind)
		sub(/\..*/, "", kind)
		if (kind == "COMMON")
			kind = "bss"
		if (kind !~ /^(text|rodata|data|bss)$/)
			return
		if (each != "" && file ~ /\.a\(/) {
			who = file
			sub(/.*\//, "", who)
			sub(/\.a\(/, " ", who)
			sub(/\.l?o\)/, "", who)
		} else if (file ~ /libbearssl\.a/)
			who = "BearSSL"
		else if (file ~ /lib(c|gcc|gcc_eh|ssp_nonshared)\.a|crt[^\/]*\.o$/)
			who = "C library"
		else {
			who = file
			sub(/.*\//, "", who)
			sub(/\.o$/, "", who)
		}
		sum[who, kind] += number(octets)
		sum["sum", kind] += number(octets)
		seen[who] = seen["sum"] = 1
	}
	function number(hex,    i, n) {
		n = 0
		for (i = 3; i <= length(hex); i++)
			n = n * 16 + index("0123456789abcdef", substr(hex, i, 1)) - 1
		return n
	}
	END {
		rank["BearSSL"] = 1
		rank["C library"] = 2
		rank["sum"] = 3
		for (who in seen)
			printf "%d%-28s %8d %8d %8d %8d\n", rank[who], who, sum[who, "text"], sum[who, "rodata"],
				sum[who, "data"], sum[who, "bss"]
	}
' "$map" | LC_ALL=C sort | cut -c2-

size=$(wc -c <"$program")
echo
echo "$program: $size octets, at most $max"
[ "$size" -le "$max" ]
