/* SPDX-License-Identifier: MIT */
#include "trust.h"

#include <bearssl.h>
#include <string.h>

#include "bounds.h"
#include "pem.h"

struct trust {
	const br_x509_trust_anchor *anchor;
	const struct pin *pin; /* of each anchor */
	size_t count;
};

/* From build/anchors.c. */
extern const br_x509_trust_anchor trust_builtin_anchor[];
extern const struct pin trust_builtin_pin[];
extern const size_t trust_builtin_count;

const struct trust *
trust_builtin(void)
{
	static struct trust t;

	t.anchor = trust_builtin_anchor;
	t.pin = trust_builtin_pin;
	t.count = trust_builtin_count;
	return &t;
}

size_t
trust_count(const struct trust *t)
{
	return t->count;
}

const void *
trust_anchors(const struct trust *t)
{
	return t->anchor;
}

const struct pin *
trust_pin(const struct trust *t, size_t i)
{
	return &t->pin[i];
}

/* How many certificates pem may hold at most. */
static size_t
count_begins(const uint8_t *pem, size_t len)
{
	static const char begin[] = "-----BEGIN";
	const size_t n = sizeof(begin) - 1;
	size_t count = 0;

	for (size_t i = 0; i + n <= len; i++)
		if (pem[i] == '-' && memcmp(pem + i, begin, n) == 0)
			count++;
	return count;
}

/* Names and keys are parts of the certificates, whose DER is shorter than their PEM. */
size_t
trust_memory(const uint8_t *pem, size_t len)
{
	return sizeof(struct trust) +
	       count_begins(pem, len) * (sizeof(br_x509_trust_anchor) + sizeof(struct pin)) + len;
}

static int
curve_of(enum cert_key key)
{
	switch (key) {
	case CERT_KEY_P256:
		return BR_EC_secp256r1;
	case CERT_KEY_P384:
		return BR_EC_secp384r1;
	default:
		return BR_EC_secp521r1;
	}
}

void
trust_pin_of(struct pin *p, const uint8_t *der, const struct cert_part *spki)
{
	br_sha256_context hash;

	br_sha256_init(&hash);
	br_sha256_update(&hash, der + spki->at, spki->len);
	br_sha256_out(&hash, p->sha256);
}

/* The library's structures have no const: what they point to is only read. */
static unsigned char *
octets_of(const uint8_t *der, const struct cert_part *part)
{
	return (unsigned char *)(uintptr_t)(der + part->at);
}

int
trust_anchor_of(void *anchor, const uint8_t *der, const struct cert_facts *facts)
{
	br_x509_trust_anchor *ta = anchor;

	if (facts->key == CERT_KEY_OTHER)
		return -1;
	ta->flags = facts->is_ca ? BR_X509_TA_CA : 0;
	ta->dn.data = octets_of(der, &facts->subject);
	ta->dn.len = facts->subject.len;
	if (facts->key == CERT_KEY_RSA) {
		ta->pkey.key_type = BR_KEYTYPE_RSA;
		ta->pkey.key.rsa.n = octets_of(der, &facts->modulus);
		ta->pkey.key.rsa.nlen = facts->modulus.len;
		ta->pkey.key.rsa.e = octets_of(der, &facts->exponent);
		ta->pkey.key.rsa.elen = facts->exponent.len;
	} else {
		ta->pkey.key_type = BR_KEYTYPE_EC;
		ta->pkey.key.ec.curve = curve_of(facts->key);
		ta->pkey.key.ec.q = octets_of(der, &facts->point);
		ta->pkey.key.ec.qlen = facts->point.len;
	}
	return 0;
}

/* Moves octets to the spare memory, which is never behind them. */
static void
keep(uint8_t **spare, unsigned char **octets, size_t len)
{
	memmove(*spare, *octets, len);
	*octets = *spare;
	*spare += len;
}

/* Turns the certificate that lies at *spare into an anchor, whose name and key take its place: they lie
 * in this order in every certificate, so each is moved towards the front. */
static int
make_anchor(br_x509_trust_anchor *ta, struct pin *pin, uint8_t **spare, size_t len)
{
	const uint8_t *der = *spare;
	struct cert_facts facts;

	if (cert_read(der, len, &facts) == -1 || trust_anchor_of(ta, der, &facts) == -1)
		return -1;
	trust_pin_of(pin, der, &facts.spki);
	keep(spare, &ta->dn.data, ta->dn.len);
	if (ta->pkey.key_type == BR_KEYTYPE_RSA) {
		keep(spare, &ta->pkey.key.rsa.n, ta->pkey.key.rsa.nlen);
		keep(spare, &ta->pkey.key.rsa.e, ta->pkey.key.rsa.elen);
	} else {
		keep(spare, &ta->pkey.key.ec.q, ta->pkey.key.ec.qlen);
	}
	return 0;
}

const struct trust *
trust_load(void *block, const uint8_t *pem, size_t len, size_t *skipped)
{
	struct trust *t = block;
	size_t begins = count_begins(pem, len), der_len;
	br_x509_trust_anchor *anchor = (br_x509_trust_anchor *)(void *)(t + 1);
	struct pin *pin = (struct pin *)(void *)(anchor + begins);
	uint8_t *spare = (uint8_t *)(pin + begins);
	enum pem_result result;

	*skipped = 0;
	t->anchor = anchor;
	t->pin = pin;
	t->count = 0;
	if (begins > ANCHORS_MAX)
		return NULL;
	while ((result = pem_next(&pem, &len, spare, &der_len)) != PEM_END)
		if (result == PEM_CERTIFICATE &&
		    make_anchor(&anchor[t->count], &pin[t->count], &spare, der_len) == 0)
			t->count++;
		else
			++*skipped;
	return t->count > 0 ? t : NULL;
}
