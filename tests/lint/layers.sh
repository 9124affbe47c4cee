#!/bin/sh
# SPDX-License-Identifier: MIT
# Compares every #include of src/ and include/ with the table in layers.txt, and names the line that
# looks where it may not.  layers.sh [TOP] takes another tree than this one.
set -eu

table=$(realpath "$(dirname "$0")/layers.txt")
cd "${1:-$(dirname "$table")/../..}"

# shellcheck disable=SC2046
awk '
	function complain(text) { print text; bad = 1 }
	function includes(module, other) {
		return module == other || row[other] == 1 && row[module] > 1 ||
			(module, "*") in may || (module, other) in may
	}

	FILENAME == ARGV[1] {
		sub(/#.*/, "")
		if (NF == 0)
			next
		if (!($1 in height))
			height[$1] = ++rows
		row[$2] = height[$1]
		for (i = 3; i <= NF; i++) {
			may[$2, $i] = 1
			if ($i != "*" && !($i in row))
				complain("layers.txt:" FNR ": " $2 " names " $i ", which no row above has")
			else if ($i != "*" && row[$i] == row[$2])
				complain("layers.txt:" FNR ": " $2 " and " $i " stand in one row")
		}
		next
	}
	FNR == 1 {
		module = FILENAME
		sub(/.*\//, "", module)
		sub(/\.[ch]$/, "", module)
		if (!(module in row))
			complain(FILENAME ": no row of layers.txt has " module)
	}
	/^[ \t]*#[ \t]*include[ \t]*("|<bearssl)/ {
		other = $0
		sub(/^[^"<]*["<]/, "", other)
		sub(/[">].*/, "", other)
		sub(/\.h$/, "", other)
		if (other ~ /^bearssl/)
			other = "bearssl"
		if (module in row && !includes(module, other))
			complain(FILENAME ":" FNR ": " module " may not include " other)
	}
	END { exit bad }
' "$table" $(find src include -name '*.[ch]' | LC_ALL=C sort)
