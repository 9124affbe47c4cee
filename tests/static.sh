#!/bin/sh
# SPDX-License-Identifier: MIT
# static.sh PROGRAM OBJECT...: what the shipped program must and must not hold.  TAP out.
#
# A router's kernel may come without floating point (MIPS) and a scratch image without any library
# or loader: the program brings all it needs, and its own code never computes with fractions.
# $OBJDUMP is that for the processor, unless it is this machine's.
# shellcheck disable=SC2317
set -eu

program=$1
shift
for file in "$program" "$@"; do
	readelf -h "$file" >/dev/null
done
objdump=${OBJDUMP-objdump}
"$objdump" -d "$program" >/dev/null
machine=$(LC_ALL=C readelf -hW "$program" | sed -n 's/ *Machine: *//p')
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

# Calls of the compiler's soft-float helpers (__adddf3, __floatsidf, __aeabi_dmul, ...), on any processor.  Not nm,
# which shows of an object for link-time optimisation what the compiler thought of before it made code.
soft_float() {
	LC_ALL=C readelf -sW "$@" | awk '$7 == "UND" { print $8 }' | grep -E \
		-e '^(__|_Q)[a-z_]*(add|sub|mul|div|neg|fix|fixuns|float|floatun|extend|trunc|eq|lt|gt|cmp|unord)[a-z]*[sdtx]f[a-z0-9]*$' \
		-e '^__aeabi_([df][a-z0-9]+|c[df][a-z]+|u?[il]2[df])$'
}

# Copying a struct through a register of that kind is fine, arithmetic and conversions are not; on MIPS, where
# kernels know none of them, nothing is.
hard_float() {
	case "$machine" in
	*X86-64* | *80386*)
		sse='v?(add|sub|mul|div|sqrt|min|max|u?comi|round|cmp[a-z]*)[sp][sd]'
		found="$sse|f(ld|st|add|sub|mul|div|ild|ist|com|ucom|chs|abs|sqrt)[a-z]*|v?cvt[a-z0-9]+"
		;;
	AArch64) found='f(n?m?add|n?m?sub|n?mul|div|sqrt|cmp|cvt|neg|abs|round|rint)[a-z]*|[su]cvtf' ;;
	ARM) found='v(add|sub|n?mul|n?ml[as]|div|sqrt|cmpe?|cvt[a-z]?|neg|abs)\.f[0-9]+(\.[a-z0-9]+)?|vcvt[a-z]?\.[a-z0-9.]+' ;;
	RISC-V) found='f(n?m?add|n?m?sub|mul|div|sqrt|cvt|eq|lt|le|min|max|sgnj[nx]?|neg|abs)\.[a-z.]+' ;;
	MIPS*) found='[a-z0-9.]+\.[sd](\.[a-z]+)?|[ls][wd]x?c1|[dcm][mt]?[tf]h?c1|bc1[a-z0-9]+' ;;
	*) echo "no list of instructions for $machine" ;;
	esac
	LC_ALL=C "$objdump" -d --no-show-raw-insn "$@" | grep -E "[[:space:]]($found)([[:space:]]|\$)"
}

# The program as a whole, where the processor has to do without.
hard_float_at_all() {
	case "$machine" in
	MIPS*) hard_float "$program" ;;
	esac
}

echo 1..9
none 'the program asks for no interpreter' headers 'INTERP'
none 'the program has no dynamic section' headers 'DYNAMIC'
none 'the program is of type EXEC: loaded where it was linked' not_executable_type
none 'the program is stripped' sections '\.(symtab|debug|dynsym)'
none 'no segment is both writable and executable' headers 'LOAD.* RWE |GNU_STACK.* RWE '
none 'no path of the building machine is in the program' absolute_paths
none 'our objects call no floating point helper' soft_float "$@"
none 'our objects hold no floating point instruction' hard_float "$@"
none 'the program holds none where the processor knows none' hard_float_at_all
exit "$failed"
