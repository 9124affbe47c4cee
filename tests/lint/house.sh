#!/bin/sh
# SPDX-License-Identifier: MIT
# The rules of this house that no compiler knows.  Prints each line that breaks one.
# house.sh [TOP] takes another tree than this one.
set -eu

self=tests/lint/house.sh
cd "${1:-$(dirname "$0")/../..}"
failed=0

# files PATTERN...: what git knows or would add, without this file.
files() {
	git ls-files --cached --others --exclude-standard -- "$@" | grep -Fxv "$self" | while read -r file; do
		[ ! -f "$file" ] || printf '%s\n' "$file"
	done
}

# never RULE REGEX PATTERN...: no line of these files matches.
never() {
	rule=$1
	regex=$2
	shift 2
	found=$(files "$@" | xargs -r -d '\n' grep -nIHE -e "$regex" -- || true)
	[ -n "$found" ] || return 0
	printf '%s:\n%s\n' "$rule" "$found"
	failed=1
}

# always RULE REGEX PATTERN...: the first three lines of each of these files match.
always() {
	rule=$1
	regex=$2
	shift 2
	for file in $(files "$@"); do
		head -n 3 "$file" | grep -qE -e "$regex" && continue
		printf '%s: %s\n' "$rule" "$file"
		failed=1
	done
}

always 'no licence line' 'SPDX-License-Identifier: MIT' '*.[ch]' '*.sh' '*.py' '.ci/run'
never 'a path of somebody'\''s machine' '(^|[^A-Za-z0-9_.-])/(home|root|work|Users)/' .
never 'a package registry'\''s host' '(deb|security|snapshot)\.debian\.org|pypi\.|npmjs|crates\.io|docker\.io|ghcr\.' .
never 'white space at the end of a line' '[ 	]+$' '*.[ch]' '*.sh' '*.py' '*.mk' Makefile '*.md' '*.yml' ':!tests/data'
never 'memory is taken in main.c alone, at the start' '(^|[^a-z_])(malloc|calloc|realloc|alloca|strdup|free)\(' 'src/*' 'include/*' \
	':!src/main.c' ':!src/mkanchors.c'
never 'floating point' '^[^*/]*(^|[^A-Za-z_"])(float|double)[ *)]' 'src/*' 'include/*'
never 'a call that cannot be bounded' '(^|[^a-z_])(strcpy|strcat|sprintf|gets|strtok|atoi|system|popen)\(' 'src/*' 'include/*'
never 'the clock is read in now.c alone' '(^|[^a-z_])(clock_gettime|gettimeofday|time)\(' \
	'src/*' ':!src/now.c' ':!src/mkanchors.c'
exit "$failed"
