#!/bin/sh
# SPDX-License-Identifier: MIT
# static.sh PROGRAM OBJECT...: what the shipped program must and must not hold.  TAP out.
#
# A router's kernel may come without floating point (MIPS) and a scratch image without any library
# or loader: the program brings all it needs, and its own code never computes with fractions.
# shellcheck disable=SC2317
set -eu

program=$1
shift
for file in "$program" "$@"; do
	readelf -h "$file" >/dev/null
done
count=0
failed=0

# none NAME COMMAND...: the test passes when the command prints nothing.
none() {
	name=$1
	shift
	count=$((count + 1))
	found=$("$@" || true)
	if [ -z "$found" ]; then
		echo "ok $count - $name"
	else
		failed=1
		echo "not ok $count - $name"
		echo "$found" | head -n 20 | sed 's/^/# /'
	fi
}

headers() { LC_ALL=C readelf -lW "$program" | grep -E "$1"; }
sections() { LC_ALL=C readelf -SW "$program" | grep -E "$1"; }
not_executable_type() { LC_ALL=C readelf -hW "$program" | grep 'Type:' | grep -v EXEC; }
absolute_paths() { strings -n 6 "$program" | grep -E '/(home|work|root|tmp|build)/'; }

# Calls of the compiler's soft-float helpers (__adddf3, __floatsidf, ...), on any processor.
soft_float() {
	nm -A -u "$@" | grep -E ' (__|_Q)[a-z_]*(add|sub|mul|div|neg|fix|fixuns|float|floatun|extend|trunc|eq|lt|gt|cmp|unord)[a-z]*[sdtx]f[a-z0-9]*$'
}

# x86: copying a struct through an xmm register is fine, arithmetic and conversions are not.
hard_float() {
	case "$(LC_ALL=C readelf -hW "$program" | sed -n 's/ *Machine: *//p')" in
	*X86-64* | *80386*) ;;
	*) return 0 ;;
	esac
	sse='v?(add|sub|mul|div|sqrt|min|max|u?comi|round|cmp[a-z]*)[sp][sd]'
	x87='f(ld|st|add|sub|mul|div|ild|ist|com|ucom|chs|abs|sqrt)[a-z]*'
	LC_ALL=C objdump -d --no-show-raw-insn "$@" |
		grep -E "[[:space:]]($sse|$x87|v?cvt[a-z0-9]+)([[:space:]]|\$)"
}

echo 1..8
none 'the program asks for no interpreter' headers 'INTERP'
none 'the program has no dynamic section' headers 'DYNAMIC'
none 'the program is of type EXEC: loaded where it was linked' not_executable_type
none 'the program is stripped' sections '\.(symtab|debug|dynsym)'
none 'no segment is both writable and executable' headers 'LOAD.* RWE |GNU_STACK.* RWE '
none 'no path of the building machine is in the program' absolute_paths
none 'our objects call no floating point helper' soft_float "$@"
none 'our objects hold no floating point instruction' hard_float "$@"
exit "$failed"
