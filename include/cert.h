/* SPDX-License-Identifier: MIT */
/* What dnproxy itself reads in an X.509 certificate (RFC 5280), beside what the TLS library checks.
 * Pure: octets in, facts out.  Refuses what is not plain DER. */
#ifndef DNPROXY_CERT_H
#define DNPROXY_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cert_key {
	CERT_KEY_OTHER, /* of a kind that no signature is checked with here */
	CERT_KEY_RSA,
	CERT_KEY_P256,
	CERT_KEY_P384,
	CERT_KEY_P521
};

/* A part of the certificate: offset and length in octets. */
struct cert_part {
	size_t at, len;
};

struct cert_facts {
	int64_t not_before, not_after; /* seconds since 1970, UTC */
	struct cert_part issuer;       /* the whole Name, its header included */
	struct cert_part subject;      /* likewise */
	struct cert_part spki;	       /* the whole SubjectPublicKeyInfo, its header included */
	enum cert_key key;
	struct cert_part modulus, exponent; /* of an RSA key, big-endian, without leading zeros */
	struct cert_part point;		    /* of an elliptic curve key, as it stands there */
	bool is_ca;			    /* basicConstraints says so */
	struct cert_part san;		    /* subjectAltName: its GeneralName elements; len 0 = none */
	bool has_san;			    /* a subjectAltName extension */
	bool has_eku;			    /* an extendedKeyUsage extension: */
	bool has_key_usage;		    /* a keyUsage extension: */
	bool may_sign;			    /* with digitalSignature */
	bool has_name_constraints;	    /* critical or not */
	bool server_auth;		    /* it allows serverAuth (or any usage) */
};

/* Reads der[0..len).  Returns 0, or -1 when it is not a certificate that lies exactly in there. */
int cert_read(const uint8_t *der, size_t len, struct cert_facts *facts);

/* Whether a subjectAltName is this IP address of 4 or 16 octets (RFC 5280 section 4.2.1.6). */
bool cert_names_address(const uint8_t *der, const struct cert_facts *facts, const uint8_t *ip, size_t len);

/* Writes what a Name (subject or issuer) is called for people: its last CN, else its last O or OU, else
 * "-"; what is not printable ASCII becomes '?'.  out holds CERT_NAME_MAX octets, the NUL included.
 * Returns out. */
#define CERT_NAME_MAX 128u
char *cert_name_text(char out[CERT_NAME_MAX], const uint8_t *der, const struct cert_part *name);

#endif
