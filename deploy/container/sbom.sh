#!/bin/sh
# SPDX-License-Identifier: MIT
# sbom.sh PROGRAM SETTINGS: what an image of these two files is made of, as SPDX 2.3 JSON on standard output.
# The Makefile tells the rest in the environment; the same input gives the same octets.
set -eu

program=$1
settings=$2
: "${VERSION:?}" "${SOURCE_DATE_EPOCH:?}" "${MUSL_VERSION:?}" "${GCC_VERSION:?}" "${CA_VERSION:?}" "${CA_NAMES:?}"

sum() {
	"sha$1sum" "$2" | cut -d ' ' -f 1
}

# purl NAME VERSION: the Debian source package.
purl() {
	printf 'pkg:deb/debian/%s@%s?arch=source' "$1" "$2" | sed 's/+/%2B/g'
}

# package ID NAME VERSION LICENCE SUPPLIER COMMENT [PURL]
package() {
	printf '  {\n   "SPDXID": "SPDXRef-%s",\n   "name": "%s",\n   "versionInfo": "%s",\n' "$1" "$2" "$3"
	printf '   "licenseConcluded": "%s",\n   "licenseDeclared": "%s",\n' "$4" "$4"
	printf '   "supplier": "Organization: %s",\n   "comment": "%s",\n' "$5" "$6"
	printf '   "copyrightText": "NOASSERTION",\n   "downloadLocation": "NOASSERTION",\n'
	[ -z "${7-}" ] || printf '   "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
     "referenceLocator": "%s"}],\n' "$7"
}

# Ends a package whose files are not listed.
not_analysed() {
	printf '   "filesAnalyzed": false\n  }'
}

# file ID PATH LICENCE TYPE FROM
file() {
	printf '  {\n   "SPDXID": "SPDXRef-%s",\n   "fileName": ".%s",\n   "fileTypes": ["%s"],\n' "$1" "$2" "$4"
	printf '   "licenseConcluded": "%s",\n   "licenseInfoInFiles": ["NOASSERTION"],\n' "$3"
	printf '   "copyrightText": "NOASSERTION",\n   "checksums": [\n'
	printf '    {"algorithm": "SHA1", "checksumValue": "%s"},\n' "$(sum 1 "$5")"
	printf '    {"algorithm": "SHA256", "checksumValue": "%s"}]\n  }' "$(sum 256 "$5")"
}

# relation FROM TYPE TO
relation() {
	printf '  {"spdxElementId": "SPDXRef-%s", "relationshipType": "%s", "relatedSpdxElement": "SPDXRef-%s"}' "$@"
}

# BearSSL's archive has a checksum unless its source came from elsewhere.
bearssl() {
	release=${BEARSSL_TAR#*_}
	release=${release%.orig*}
	if [ -z "${BEARSSL_SHA256-}" ]; then
		package BearSSL BearSSL NOASSERTION MIT 'Thomas Pornin' 'linked into /dnproxy; from a source given by hand'
		not_analysed
		return
	fi
	package BearSSL BearSSL "$release" MIT 'Thomas Pornin' 'linked into /dnproxy' "$(purl bearssl "$release")"
	printf '   "packageFileName": "%s",\n   "checksums": [{"algorithm": "SHA256", "checksumValue": "%s"}],\n' \
		"$BEARSSL_TAR" "$BEARSSL_SHA256"
	not_analysed
}

# The code that SPDX gives the files of a package: SHA-1 of their sorted SHA-1 sums, one after the other.
verification=$( (sum 1 "$program"; sum 1 "$settings") | sort | tr -d '\n' | sha1sum | cut -d ' ' -f 1)

cat <<END
{
 "spdxVersion": "SPDX-2.3",
 "dataLicense": "CC0-1.0",
 "SPDXID": "SPDXRef-DOCUMENT",
 "name": "dnproxy-$VERSION",
 "documentNamespace": "https://spdx.org/spdxdocs/dnproxy-$VERSION-$(sum 256 "$program")",
 "creationInfo": {
  "created": "$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)",
  "creators": ["Organization: dnproxy maintainers", "Tool: sbom.sh-$VERSION"]
 },
 "packages": [
END
package dnproxy dnproxy "$VERSION" MIT 'dnproxy maintainers' 'container image'
printf '   "primaryPackagePurpose": "CONTAINER",\n   "filesAnalyzed": true,\n'
printf '   "licenseInfoFromFiles": ["NOASSERTION"],\n'
printf '   "packageVerificationCode": {"packageVerificationCodeValue": "%s"}\n  },\n' "$verification"
bearssl
printf ',\n'
package musl musl "$MUSL_VERSION" MIT Debian 'C library, linked into /dnproxy' "$(purl musl "$MUSL_VERSION")"
not_analysed
printf ',\n'
package libgcc libgcc "$GCC_VERSION" 'GPL-3.0-or-later WITH GCC-exception-3.1' Debian \
	'start-up code, and arithmetic where the processor lacks it, linked into /dnproxy'
not_analysed
printf ',\n'
package ca-certificates ca-certificates "$CA_VERSION" MPL-2.0 Debian \
	"names and public keys of these authorities are in /dnproxy: $CA_NAMES" "$(purl ca-certificates "$CA_VERSION")"
not_analysed
printf '\n ],\n "files": [\n'
file program /dnproxy 'MIT AND GPL-3.0-or-later WITH GCC-exception-3.1 AND MPL-2.0' BINARY "$program"
printf ',\n'
file settings /etc/dnproxy.yml MIT TEXT "$settings"
printf '\n ],\n "relationships": [\n'
relation DOCUMENT DESCRIBES dnproxy
for related in 'dnproxy CONTAINS program' 'dnproxy CONTAINS settings' 'program STATIC_LINK BearSSL' \
	'program STATIC_LINK musl' 'program STATIC_LINK libgcc' 'program GENERATED_FROM ca-certificates'; do
	printf ',\n'
	# shellcheck disable=SC2086
	relation $related
done
printf '\n ]\n}\n'
