/* SPDX-License-Identifier: MIT */
/* For tests: keys and certificates (RFC 5280), made while the test runs, with whatever names, dates and
 * faults it wants.  Keys come from a fixed seed, so every run has the same.
 *
 *	struct made_key root_key, key;
 *	struct made_cert root, leaf;
 *	made_key_ec(&root_key, "root");
 *	made_key_ec(&key, "leaf");
 *	made_cert(&root, &(struct cert_wish){.name = "Root", .key = &root_key, .ca = true});
 *	made_cert(&leaf, &(struct cert_wish){.name = "dns.example", .key = &key, .san = "dns.example",
 *					     .issuer = "Root", .signer = &root_key});
 *
 * Whatever does not fit fails an assert(). */
#ifndef DNPROXY_TESTS_CERTS_H
#define DNPROXY_TESTS_CERTS_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <bearssl.h>

#define MADE_NOT_BEFORE INT64_C(1577836800) /* 2020-01-01 */
#define MADE_NOT_AFTER INT64_C(1893455999)  /* 2029-12-31 23:59:59 */
#define MADE_NOW INT64_C(1735689600)	    /* 2025-01-01 */

/* ---- DER -------------------------------------------------------------------------------------- */

struct made_der {
	uint8_t buf[24576];
	size_t len;
};

static inline void
der_octets(struct made_der *d, const void *data, size_t len)
{
	assert(len <= sizeof(d->buf) - d->len);
	memcpy(d->buf + d->len, data, len);
	d->len += len;
}

/* Begins an element; der_close() puts its length in. */
static inline size_t
der_open(struct made_der *d, unsigned tag)
{
	uint8_t octet = (uint8_t)tag;

	der_octets(d, &octet, 1);
	return d->len;
}

static inline void
der_close(struct made_der *d, size_t begin)
{
	size_t len = d->len - begin, n = len < 0x80 ? 1 : len < 0x100 ? 2 : 3;
	uint8_t header[3] = {(uint8_t)len, (uint8_t)len, (uint8_t)len};

	if (n == 2)
		header[0] = 0x81;
	if (n == 3) {
		header[0] = 0x82;
		header[1] = (uint8_t)(len >> 8);
	}
	assert(n <= sizeof(d->buf) - d->len);
	memmove(d->buf + begin + n, d->buf + begin, len);
	memcpy(d->buf + begin, header, n);
	d->len += n;
}

static inline void
der_put(struct made_der *d, unsigned tag, const void *data, size_t len)
{
	size_t begin = der_open(d, tag);

	der_octets(d, data, len);
	der_close(d, begin);
}

#define DER_OID(d, oid) der_put(d, 0x06, oid, sizeof(oid) - 1)

/* A number above 0, big-endian. */
static inline void
der_number(struct made_der *d, const unsigned char *data, size_t len)
{
	size_t begin = der_open(d, 0x02);

	if (data[0] & 0x80)
		der_octets(d, "", 1);
	der_octets(d, data, len);
	der_close(d, begin);
}

/* ---- Keys ------------------------------------------------------------------------------------- */

struct made_key {
	int type; /* BR_KEYTYPE_EC or BR_KEYTYPE_RSA */
	br_ec_private_key ec;
	br_ec_public_key ec_public;
	br_rsa_private_key rsa;
	br_rsa_public_key rsa_public;
	uint8_t secret[BR_RSA_KBUF_PRIV_SIZE(2048)];
	uint8_t public[BR_RSA_KBUF_PUB_SIZE(2048)];
};

/* curve is BR_EC_secp256r1 or BR_EC_secp384r1. */
static inline void
made_key_ec(struct made_key *k, const char *seed, int curve)
{
	const br_ec_impl *ec = br_ec_get_default();
	br_hmac_drbg_context rng;

	br_hmac_drbg_init(&rng, &br_sha256_vtable, seed, strlen(seed));
	k->type = BR_KEYTYPE_EC;
	if (br_ec_keygen(&rng.vtable, ec, &k->ec, k->secret, curve) == 0 ||
	    br_ec_compute_pub(ec, &k->ec_public, k->public, &k->ec) == 0)
		assert(false);
}

static inline void
made_key_rsa(struct made_key *k, const char *seed, unsigned bits)
{
	br_hmac_drbg_context rng;

	assert(bits <= 2048);
	br_hmac_drbg_init(&rng, &br_sha256_vtable, seed, strlen(seed));
	k->type = BR_KEYTYPE_RSA;
	if (br_rsa_keygen_get_default()(&rng.vtable, &k->rsa, k->secret, &k->rsa_public, k->public, bits,
					65537) == 0)
		assert(false);
}

static inline void
der_spki(struct made_der *d, const struct made_key *k)
{
	size_t spki = der_open(d, 0x30), algorithm = der_open(d, 0x30), bits, numbers;

	if (k->type == BR_KEYTYPE_EC) {
		DER_OID(d, "\x2a\x86\x48\xce\x3d\x02\x01");
		if (k->ec.curve == BR_EC_secp256r1)
			DER_OID(d, "\x2a\x86\x48\xce\x3d\x03\x01\x07");
		else
			DER_OID(d, "\x2b\x81\x04\x00\x22");
	} else {
		DER_OID(d, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01");
		der_put(d, 0x05, "", 0);
	}
	der_close(d, algorithm);
	bits = der_open(d, 0x03);
	der_octets(d, "", 1);
	if (k->type == BR_KEYTYPE_EC) {
		der_octets(d, k->ec_public.q, k->ec_public.qlen);
	} else {
		numbers = der_open(d, 0x30);
		der_number(d, k->rsa_public.n, k->rsa_public.nlen);
		der_number(d, k->rsa_public.e, k->rsa_public.elen);
		der_close(d, numbers);
	}
	der_close(d, bits);
	der_close(d, spki);
}

/* ---- Certificates ----------------------------------------------------------------------------- */

enum made_eku { MADE_NO_EKU, MADE_EKU_SERVER, MADE_EKU_CLIENT, MADE_EKU_ANY, MADE_EKU_BOTH, MADE_EKU_MAIL };

enum made_constraints { MADE_NO_CONSTRAINTS, MADE_CONSTRAINTS, MADE_CRITICAL_CONSTRAINTS };

/* What is left 0 takes the sense of its comment. */
struct cert_wish {
	const char *name;	       /* common name of the subject */
	const char *issuer;	       /* common name of the issuer; NULL = the subject */
	const struct made_key *key;    /* the subject's */
	const struct made_key *signer; /* NULL = key */
	const char *san;	       /* DNS names, "a.example,b.example"; NULL = no such extension */
	const char *ip;		       /* an iPAddress beside them, of so many octets; NULL = none */
	size_t ip_len;
	size_t san_filler;	       /* octets of further names, to make it large */
	int64_t not_before, not_after; /* 0 = MADE_NOT_BEFORE, MADE_NOT_AFTER */
	enum made_eku eku;
	enum made_constraints constraints; /* a nameConstraints extension that permits "example" */
	bool ca;
	bool sha1;     /* signed with SHA-1 */
	bool critical; /* has a critical extension that nobody knows */
	bool v1;       /* X.509 version 1: no extensions */
};

struct made_cert {
	struct made_der der;
	br_x509_certificate x509; /* the same, as BearSSL takes it */
};

static inline void
der_name(struct made_der *d, const char *name)
{
	size_t list = der_open(d, 0x30), set = der_open(d, 0x31), pair = der_open(d, 0x30);

	DER_OID(d, "\x55\x04\x03");
	der_put(d, 0x0c, name, strlen(name));
	der_close(d, pair);
	der_close(d, set);
	der_close(d, list);
}

/* RFC 5280 section 4.1.2.5: UTCTime up to 2049. */
static inline void
der_time(struct made_der *d, int64_t utc_s)
{
	time_t t = (time_t)utc_s;
	struct tm tm;
	char text[32];
	size_t len;

	gmtime_r(&t, &tm);
	len = strftime(text, sizeof(text), "%Y%m%d%H%M%SZ", &tm);
	if (tm.tm_year >= 150 || tm.tm_year < 50)
		der_put(d, 0x18, text, len);
	else
		der_put(d, 0x17, text + 2, len - 2);
}

static inline void
der_signature_algorithm(struct made_der *d, const struct made_key *k, bool sha1)
{
	size_t begin = der_open(d, 0x30);

	if (k->type == BR_KEYTYPE_EC && sha1)
		DER_OID(d, "\x2a\x86\x48\xce\x3d\x04\x01");
	else if (k->type == BR_KEYTYPE_EC)
		DER_OID(d, "\x2a\x86\x48\xce\x3d\x04\x03\x02");
	else if (sha1)
		DER_OID(d, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05");
	else
		DER_OID(d, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b");
	if (k->type == BR_KEYTYPE_RSA)
		der_put(d, 0x05, "", 0);
	der_close(d, begin);
}

static inline void
der_san(struct made_der *d, const struct cert_wish *w)
{
	size_t ext = der_open(d, 0x30), value, list;

	DER_OID(d, "\x55\x1d\x11");
	value = der_open(d, 0x04);
	list = der_open(d, 0x30);
	for (const char *name = w->san != NULL ? w->san : ""; *name != '\0';) {
		size_t n = strcspn(name, ",");

		der_put(d, 0x82, name, n);
		name += n + (name[n] == ',');
	}
	if (w->ip != NULL)
		der_put(d, 0x87, w->ip, w->ip_len);
	for (size_t done = 0; done < w->san_filler; done += 66) {
		char filler[64];

		memset(filler, 'x', sizeof(filler));
		filler[32] = '.';
		der_put(d, 0x82, filler, sizeof(filler));
	}
	der_close(d, list);
	der_close(d, value);
	der_close(d, ext);
}

static inline void
der_eku(struct made_der *d, enum made_eku eku)
{
	size_t ext = der_open(d, 0x30), value, list;

	DER_OID(d, "\x55\x1d\x25");
	value = der_open(d, 0x04);
	list = der_open(d, 0x30);
	if (eku == MADE_EKU_CLIENT || eku == MADE_EKU_BOTH)
		DER_OID(d, "\x2b\x06\x01\x05\x05\x07\x03\x02");
	if (eku == MADE_EKU_SERVER || eku == MADE_EKU_BOTH)
		DER_OID(d, "\x2b\x06\x01\x05\x05\x07\x03\x01");
	if (eku == MADE_EKU_ANY)
		DER_OID(d, "\x55\x1d\x25\x00");
	if (eku == MADE_EKU_MAIL)
		DER_OID(d, "\x2b\x06\x01\x05\x05\x07\x03\x04");
	der_close(d, list);
	der_close(d, value);
	der_close(d, ext);
}

/* RFC 5280 section 4.2.1.10. */
static inline void
der_constraints(struct made_der *d, bool critical)
{
	size_t ext = der_open(d, 0x30), value, constraints, permitted, subtree;

	DER_OID(d, "\x55\x1d\x1e");
	if (critical)
		der_put(d, 0x01, "\xff", 1);
	value = der_open(d, 0x04);
	constraints = der_open(d, 0x30);
	permitted = der_open(d, 0xa0);
	subtree = der_open(d, 0x30);
	der_put(d, 0x82, "example", 7);
	der_close(d, subtree);
	der_close(d, permitted);
	der_close(d, constraints);
	der_close(d, value);
	der_close(d, ext);
}

static inline void
der_extensions(struct made_der *d, const struct cert_wish *w)
{
	static const uint8_t basic_ca[] = {0x30, 0x0f, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01,
					   0xff, 0x04, 0x05, 0x30, 0x03, 0x01, 0x01, 0xff};
	static const uint8_t unknown[] = {0x30, 0x0b, 0x06, 0x03, 0x55, 0x1d, 0x7f,
					  0x01, 0x01, 0xff, 0x04, 0x01, 0x00};
	size_t outer = der_open(d, 0xa3), list = der_open(d, 0x30);

	if (w->ca)
		der_octets(d, basic_ca, sizeof(basic_ca));
	if (w->san != NULL || w->ip != NULL)
		der_san(d, w);
	if (w->eku != MADE_NO_EKU)
		der_eku(d, w->eku);
	if (w->constraints != MADE_NO_CONSTRAINTS)
		der_constraints(d, w->constraints == MADE_CRITICAL_CONSTRAINTS);
	if (w->critical)
		der_octets(d, unknown, sizeof(unknown));
	if (d->len == list) { /* an empty list is not allowed: an extension that says nothing */
		static const uint8_t nothing[] = {0x30, 0x09, 0x06, 0x03, 0x55, 0x1d,
						  0x7e, 0x04, 0x02, 0x05, 0x00};

		der_octets(d, nothing, sizeof(nothing));
	}
	der_close(d, list);
	der_close(d, outer);
}

static inline void
der_sign(struct made_der *d, const uint8_t *tbs, size_t len, const struct made_key *k, bool sha1)
{
	const br_hash_class *hf = sha1 ? &br_sha1_vtable : &br_sha256_vtable;
	size_t bits = der_open(d, 0x03), hash_len = sha1 ? br_sha1_SIZE : br_sha256_SIZE;
	uint8_t hash[br_sha256_SIZE], signature[256];
	br_hash_compat_context hc;

	hf->init(&hc.vtable);
	hf->update(&hc.vtable, tbs, len);
	hf->out(&hc.vtable, hash);
	der_octets(d, "", 1);
	if (k->type == BR_KEYTYPE_EC) {
		len = br_ecdsa_i31_sign_asn1(br_ec_get_default(), hf, hash, &k->ec, signature);
		assert(len > 0);
	} else {
		len = k->rsa_public.nlen;
		if (br_rsa_i31_pkcs1_sign(sha1 ? BR_HASH_OID_SHA1 : BR_HASH_OID_SHA256, hash, hash_len, &k->rsa,
					  signature) == 0)
			assert(false);
	}
	der_octets(d, signature, len);
	der_close(d, bits);
}

static inline void
made_cert(struct made_cert *c, const struct cert_wish *w)
{
	const struct made_key *signer = w->signer != NULL ? w->signer : w->key;
	struct made_der *d = &c->der;
	size_t cert, tbs, part;

	d->len = 0;
	cert = der_open(d, 0x30);
	tbs = der_open(d, 0x30);
	if (!w->v1)
		der_octets(d, "\xa0\x03\x02\x01\x02", 5);
	der_octets(d, "\x02\x01\x01", 3);
	der_signature_algorithm(d, signer, w->sha1);
	der_name(d, w->issuer != NULL ? w->issuer : w->name);
	part = der_open(d, 0x30);
	der_time(d, w->not_before != 0 ? w->not_before : MADE_NOT_BEFORE);
	der_time(d, w->not_after != 0 ? w->not_after : MADE_NOT_AFTER);
	der_close(d, part);
	der_name(d, w->name);
	der_spki(d, w->key);
	if (!w->v1)
		der_extensions(d, w);
	der_close(d, tbs);
	part = d->len;
	der_signature_algorithm(d, signer, w->sha1);
	der_sign(d, d->buf + tbs - 1, part - (tbs - 1), signer, w->sha1);
	der_close(d, cert);
	c->x509.data = d->buf;
	c->x509.data_len = d->len;
}

/* Writes the certificate as PEM; flags are those of br_pem_encode().  Returns the length. */
static inline size_t
made_pem(char *out, size_t cap, const struct made_cert *c, unsigned flags)
{
	size_t len = br_pem_encode(NULL, c->der.buf, c->der.len, "CERTIFICATE", flags);

	assert(len < cap);
	br_pem_encode(out, c->der.buf, c->der.len, "CERTIFICATE", flags);
	return len;
}

#endif
