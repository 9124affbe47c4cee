/* SPDX-License-Identifier: MIT */
#include "trust.h"

#include <bearssl.h>
#include <stdbool.h>
#include <string.h>

#include "bounds.h"

struct trust {
	const br_x509_trust_anchor *anchor;
	size_t count;
};

/* From build/anchors.c. */
extern const br_x509_trust_anchor trust_builtin_anchor[];
extern const size_t trust_builtin_count;

/* The work of loading: one certificate at a time is collected in der, and what is kept of it goes to
 * the block's free space. */
struct loading {
	br_x509_trust_anchor *anchor;
	size_t count, skipped;
	uint8_t *free;
	uint8_t der[CERT_MAX];
	size_t der_len;
	size_t dn_len;
	bool inside; /* a certificate is being collected */
	bool bad;    /* and it is of no use */
};

const struct trust *
trust_builtin(void)
{
	static struct trust t;

	t.anchor = trust_builtin_anchor;
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
	return sizeof(struct trust) + count_begins(pem, len) * sizeof(br_x509_trust_anchor) + len;
}

static void
collect(void *ctx, const void *data, size_t len)
{
	struct loading *l = ctx;

	if (len > sizeof(l->der) - l->der_len) {
		l->bad = true;
		return;
	}
	memcpy(l->der + l->der_len, data, len);
	l->der_len += len;
}

static void
collect_name(void *ctx, const void *data, size_t len)
{
	struct loading *l = ctx;

	memcpy(l->free + l->dn_len, data, len);
	l->dn_len += len;
}

static unsigned char *
keep(struct loading *l, const unsigned char *data, size_t len)
{
	unsigned char *p = l->free;

	memcpy(p, data, len);
	l->free += len;
	return p;
}

/* Turns the certificate in der into an anchor. */
static int
add_anchor(struct loading *l)
{
	br_x509_trust_anchor *ta = &l->anchor[l->count];
	br_x509_decoder_context dc;
	const br_x509_pkey *key;

	l->dn_len = 0;
	br_x509_decoder_init(&dc, collect_name, l);
	br_x509_decoder_push(&dc, l->der, l->der_len);
	key = br_x509_decoder_get_pkey(&dc);
	if (l->bad || key == NULL)
		return -1;
	ta->dn.data = l->free;
	ta->dn.len = l->dn_len;
	l->free += l->dn_len;
	ta->flags = br_x509_decoder_isCA(&dc) ? BR_X509_TA_CA : 0;
	ta->pkey = *key;
	if (key->key_type == BR_KEYTYPE_RSA) {
		ta->pkey.key.rsa.n = keep(l, key->key.rsa.n, key->key.rsa.nlen);
		ta->pkey.key.rsa.e = keep(l, key->key.rsa.e, key->key.rsa.elen);
	} else {
		ta->pkey.key.ec.q = keep(l, key->key.ec.q, key->key.ec.qlen);
	}
	l->count++;
	return 0;
}

static void
on_pem_event(struct loading *l, br_pem_decoder_context *pc)
{
	const char *name;

	switch (br_pem_decoder_event(pc)) {
	case BR_PEM_BEGIN_OBJ:
		name = br_pem_decoder_name(pc);
		l->inside = strcmp(name, "CERTIFICATE") == 0 || strcmp(name, "X509 CERTIFICATE") == 0;
		l->bad = false;
		l->der_len = 0;
		br_pem_decoder_setdest(pc, l->inside ? collect : NULL, l);
		break;
	case BR_PEM_END_OBJ:
		if (l->inside && add_anchor(l) == -1)
			l->skipped++;
		l->inside = false;
		break;
	case BR_PEM_ERROR:
		l->skipped++;
		l->inside = false;
		break;
	default:
		break;
	}
}

static void
push(struct loading *l, br_pem_decoder_context *pc, const uint8_t *data, size_t len)
{
	while (len > 0) {
		size_t n = br_pem_decoder_push(pc, data, len);

		data += n;
		len -= n;
		on_pem_event(l, pc);
	}
}

/* BearSSL's decoder finds nothing in lines that end in CRLF, nor behind a byte order mark, and not
 * the last block when its newline is missing: it is fed without CR, and with a newline before and
 * after all. */
static void
push_normalised(struct loading *l, const uint8_t *pem, size_t len)
{
	static const uint8_t newline[] = {'\n'};
	br_pem_decoder_context pc;

	if (len >= 3 && memcmp(pem, "\xef\xbb\xbf", 3) == 0) {
		pem += 3;
		len -= 3;
	}
	br_pem_decoder_init(&pc);
	while (len > 0) {
		const uint8_t *cr = memchr(pem, '\r', len);
		size_t n = cr == NULL ? len : (size_t)(cr - pem);

		push(l, &pc, pem, n);
		pem += n + (cr != NULL);
		len -= n + (cr != NULL);
	}
	push(l, &pc, newline, 1);
	if (l->inside)
		l->skipped++; /* the file ends inside a certificate */
}

const struct trust *
trust_load(void *block, const uint8_t *pem, size_t len, size_t *skipped)
{
	static struct loading l;
	struct trust *t = block;
	size_t begins = count_begins(pem, len);

	*skipped = 0;
	if (begins > ANCHORS_MAX)
		return NULL;
	memset(&l, 0, offsetof(struct loading, der));
	l.der_len = 0;
	l.inside = false;
	l.anchor = (br_x509_trust_anchor *)(void *)(t + 1);
	l.free = (uint8_t *)(l.anchor + begins);
	push_normalised(&l, pem, len);
	*skipped = l.skipped;
	t->anchor = l.anchor;
	t->count = l.count;
	return l.count > 0 ? t : NULL;
}
