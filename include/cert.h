/* SPDX-License-Identifier: MIT */
/* What dnproxy itself reads in an X.509 certificate (RFC 5280), beside what the TLS library checks.
 * Pure: octets in, facts out.  Refuses what is not plain DER. */
#ifndef DNPROXY_CERT_H
#define DNPROXY_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cert_facts {
	int64_t not_before, not_after; /* seconds since 1970, UTC */
	size_t spki_at, spki_len;      /* the whole SubjectPublicKeyInfo, its header included */
	bool has_san;		       /* a subjectAltName extension */
	bool has_eku;		       /* an extendedKeyUsage extension: */
	bool server_auth;	       /* it allows serverAuth (or any usage) */
};

/* Reads der[0..len).  Returns 0, or -1 when it is not a certificate that lies exactly in there. */
int cert_read(const uint8_t *der, size_t len, struct cert_facts *facts);

#endif
