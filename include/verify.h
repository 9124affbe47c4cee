/* SPDX-License-Identifier: MIT */
/* Whether a server is who the rules say (rules.h): stands in front of the TLS library's own verification of
 * a certificate chain (RFC 5280), adds what that does not look at, and says in words what is wrong.
 * For tls.c alone. */
#ifndef DNPROXY_VERIFY_H
#define DNPROXY_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bearssl.h>

#include "bounds.h"
#include "now.h"
#include "rules.h"

/* What we refuse ourselves, beside the library's own reasons. */
enum refusal {
	REFUSAL_NONE,
	REFUSAL_UNREADABLE,
	REFUSAL_TOO_LARGE,
	REFUSAL_TOO_LONG,
	REFUSAL_NO_SAN,
	REFUSAL_ADDRESS,
	REFUSAL_NOT_SERVER,
	REFUSAL_KEY_USAGE,
	REFUSAL_CONSTRAINED,
	REFUSAL_NOT_PINNED,
	REFUSAL_PIN_NEEDS_NAME
};

/* Each certificate is collected whole, read, judged, and passed on to the library.  What is used most comes
 * first, for the sake of short code. */
struct verify {
	const br_x509_class *vtable; /* first, so that a pointer to it is one to this */
	const struct tls_rules *rules;
	int64_t utc_s;
	bool lenient; /* validity starts do not bind */
	bool knows;   /* known and known_until_s are set */
	/* What came out: */
	bool proved;	    /* the server's certificate is believed */
	bool by_key;	    /* for its own key, which is pinned: nothing else was looked at */
	bool by_known;	    /* for it is the known one */
	bool without_clock; /* a validity start was passed over */
	int64_t until_s;    /* the first end of validity of what was verified */
	/* Of this chain: */
	unsigned index; /* of the certificate; 0 = the server's own */
	bool settled;	/* who vouches is known: what follows does not count */
	bool leaf_pinned, issuer_pinned;
	bool names_address; /* the server's own certificate does */
	enum refusal refusal;
	size_t wanted, len;	       /* octets of the certificate: all, and those that came */
	int64_t not_before, not_after; /* of the first certificate outside its dates; 0 = none */
	br_ssl_engine_context *eng;
	void (*seen)(void *ctx, const uint8_t *der, size_t len);
	void *seen_ctx;
	int64_t known_until_s;		    /* and how long that counts */
	uint8_t known[32];		    /* the SHA-256 of a certificate that was verified before */
	uint8_t leaf[32];		    /* that of the server's certificate */
	br_x509_trust_anchor own[PINS_MAX]; /* pinned anchors; or the server's certificate, trusted itself */
	br_x509_minimal_context chain;
	uint8_t cert[CERT_MAX];
};

/* Takes over eng's verification.  v: zero. */
void verify_init(struct verify *v, br_ssl_engine_context *eng);

/* For the next handshake; rules stay in use. */
void verify_start(struct verify *v, const struct tls_rules *rules, const struct now *now);

/* After verify_start(): the certificate with this SHA-256 was verified before, and may be believed until
 * then if it names the server and its dates hold. */
void verify_know(struct verify *v, const uint8_t sha256[32], int64_t until_s);

/* Writes what is wrong with the chain; error is the engine's.  Returns false when it is not about
 * certificates. */
bool verify_words(const struct verify *v, int error, char *out, size_t cap);

#endif
