/* SPDX-License-Identifier: MIT */
#include "verify.h"

#include <string.h>

#include "addr.h"
#include "cert.h"
#include "text.h"

static struct verify *
verify_of(const br_x509_class **ctx)
{
	return (struct verify *)(void *)ctx;
}

/* Whether anchors bind: pins alone leave them out, unless the user has chosen both. */
static bool
anchors_bind(const struct verify *v)
{
	return v->rules->pins == 0 || v->rules->trust_given;
}

static bool
is_pinned(const struct verify *v, const struct pin *p)
{
	return pin_is_among(p, v->rules->pin, v->rules->pins);
}

/* ---- The library's part --------------------------------------------------------------------- */

static void
begin(struct verify *v, const br_x509_trust_anchor *anchor, size_t count)
{
	const char *name = v->rules->name;

	br_x509_minimal_init(&v->chain, &br_sha256_vtable, anchor, count);
	br_x509_minimal_set_rsa(&v->chain, br_ssl_engine_get_rsavrfy(v->eng));
	br_x509_minimal_set_ecdsa(&v->chain, br_ssl_engine_get_ec(v->eng), br_ssl_engine_get_ecdsa(v->eng));
	/* No SHA-1: a signature made with it proves nothing.  RSA from 2,048 bits (RFC 9325 4.4). */
	br_x509_minimal_set_hash(&v->chain, br_sha256_ID, &br_sha256_vtable);
	br_x509_minimal_set_hash(&v->chain, br_sha384_ID, &br_sha384_vtable);
	br_x509_minimal_set_hash(&v->chain, br_sha512_ID, &br_sha512_vtable);
	br_x509_minimal_set_minrsa(&v->chain, 256);
	v->chain.vtable->start_chain(&v->chain.vtable, name[0] != '\0' ? name : NULL);
}

/* As much as the library needs to know of time: days and seconds since year 0. */
static void
set_time(struct verify *v, int64_t utc_s)
{
	uint64_t s = (uint64_t)(utc_s + INT64_C(719528) * 86400);

	br_x509_minimal_set_time(&v->chain, (uint32_t)(s / 86400), (uint32_t)(s % 86400));
}

static void
pass_on(struct verify *v)
{
	v->chain.vtable->start_cert(&v->chain.vtable, (uint32_t)v->len);
	v->chain.vtable->append(&v->chain.vtable, v->cert, v->len);
	v->chain.vtable->end_cert(&v->chain.vtable);
}

/* Before its end, a chain has a key when an anchor has signed, or is, the last certificate. */
static bool
is_anchored(const struct verify *v)
{
	return v->chain.vtable->get_pkey((const br_x509_class *const *)&v->chain.vtable, NULL) != NULL;
}

/* ---- Whom to trust -------------------------------------------------------------------------- */

/* The server's certificate itself: the library takes an anchor that is no CA without looking at its
 * signature, and checks the name and the dates. */
static bool
trust_leaf(struct verify *v, const struct cert_facts *facts)
{
	if (trust_anchor_of(&v->own[0], v->cert, facts) == -1)
		return false;
	v->own[0].flags = 0;
	begin(v, v->own, 1);
	return true;
}

/* Of the anchors that do not bind, those that are pinned. */
static void
trust_pinned(struct verify *v)
{
	const struct trust *t = v->rules->trust;
	const br_x509_trust_anchor *anchor = trust_anchors(t);
	size_t count = 0;

	for (size_t i = 0; i < trust_count(t) && count < PINS_MAX; i++)
		if ((anchor[i].flags & BR_X509_TA_CA) != 0 && is_pinned(v, trust_pin(t, i)))
			v->own[count++] = anchor[i];
	begin(v, v->own, count);
}

static void
begin_with(struct verify *v, const struct cert_facts *leaf)
{
	br_sha256_context hash;

	br_sha256_init(&hash);
	br_sha256_update(&hash, v->cert, v->len);
	br_sha256_out(&hash, v->leaf);
	v->by_key = v->leaf_pinned && !anchors_bind(v) && trust_leaf(v, leaf);
	if (v->by_key)
		return;
	v->by_known = v->knows && memcmp(v->leaf, v->known, sizeof(v->leaf)) == 0 && trust_leaf(v, leaf);
	if (v->by_known)
		v->until_s = v->known_until_s;
	else if (anchors_bind(v))
		begin(v, trust_anchors(v->rules->trust), trust_count(v->rules->trust));
	else
		trust_pinned(v);
}

static bool
is_name(const br_x500_name *name, const uint8_t *der, const struct cert_part *part)
{
	return name->len == part->len && memcmp(name->data, der + part->at, part->len) == 0;
}

/* Whether the anchor that has signed this certificate is pinned.  Which one it was the library does not say:
 * of several with one name, all have to be.  And it may have been none, but the server's certificate. */
static bool
anchor_is_pinned(const struct verify *v, const struct cert_facts *facts)
{
	const struct trust *t = v->rules->trust;
	const br_x509_trust_anchor *anchor = trust_anchors(t);
	bool found = false;

	if (!anchors_bind(v))
		return true; /* no others were given */
	for (size_t i = 0; i < trust_count(t); i++) {
		bool ca = (anchor[i].flags & BR_X509_TA_CA) != 0;

		if (!is_name(&anchor[i].dn, v->cert, ca ? &facts->issuer : &facts->subject))
			continue;
		if (!ca || !is_pinned(v, trust_pin(t, i)))
			return false;
		found = true;
	}
	return found;
}

/* ---- Judgement ------------------------------------------------------------------------------ */

/* RFC 8310 section 8.1: only subjectAltName counts, the library would fall back on the CN.
 * RFC 5280 section 4.2.1.12: an EKU that does not name servers means it is for something else; in a
 * CA's certificate that goes for all it signs.
 * RFC 5246 section 7.4.2: the server's key signs its part of the key exchange; the library takes
 * contentCommitment for that as well.
 * RFC 5280 section 4.2.1.10: name constraints bind, and the library, which refuses critical ones, does not
 * look at others. */
static enum refusal
judge(const struct verify *v, const struct cert_facts *facts)
{
	const struct tls_rules *r = v->rules;

	if (v->index == 0 && r->name[0] != '\0' && !facts->has_san)
		return REFUSAL_NO_SAN;
	if (v->index == 0 && r->name[0] == '\0' && r->pins == 0 && !v->names_address)
		return REFUSAL_ADDRESS;
	if (v->by_key)
		return REFUSAL_NONE;
	if (facts->has_eku && !facts->server_auth)
		return REFUSAL_NOT_SERVER;
	if (v->index == 0 && facts->has_key_usage && !facts->may_sign)
		return REFUSAL_KEY_USAGE;
	return facts->has_name_constraints ? REFUSAL_CONSTRAINED : REFUSAL_NONE;
}

/* The time that a certificate's dates are compared with. */
static int64_t
time_for(struct verify *v, const struct cert_facts *facts)
{
	if (v->by_key)
		return facts->not_before;
	if (v->utc_s >= facts->not_before && v->utc_s <= facts->not_after)
		return v->utc_s;
	if (v->utc_s < facts->not_before && v->lenient) {
		v->without_clock = true;
		return facts->not_before;
	}
	if (v->not_after == 0) {
		v->not_before = facts->not_before;
		v->not_after = facts->not_after;
	}
	return v->utc_s;
}

/* A certificate that somebody has to vouch for still. */
static enum refusal
take(struct verify *v)
{
	struct cert_facts facts;
	enum refusal refusal;
	struct pin pin;
	bool pinned;

	if (cert_read(v->cert, v->len, &facts) == -1)
		return REFUSAL_UNREADABLE;
	trust_pin_of(&pin, v->cert, &facts.spki);
	pinned = is_pinned(v, &pin);
	if (v->index == 0) {
		v->leaf_pinned = pinned;
		v->names_address =
			cert_names_address(v->cert, &facts, v->rules->address, v->rules->address_len);
		begin_with(v, &facts);
	} else {
		v->issuer_pinned |= pinned;
	}
	refusal = judge(v, &facts);
	if (refusal != REFUSAL_NONE)
		return refusal;
	set_time(v, time_for(v, &facts));
	pass_on(v);
	if (!v->by_key && !v->by_known && facts.not_after < v->until_s)
		v->until_s = facts.not_after;
	v->settled = is_anchored(v);
	if (v->settled && !v->by_key && !v->by_known)
		v->issuer_pinned |= anchor_is_pinned(v, &facts);
	/* A pinned issuer that has signed what stands before it needs nobody behind it. */
	v->settled |= v->issuer_pinned && !anchors_bind(v);
	return REFUSAL_NONE;
}

/* What the chain as a whole lacks. */
static enum refusal
judge_pins(const struct verify *v)
{
	if (v->rules->pins == 0 || v->by_known || v->leaf_pinned)
		return REFUSAL_NONE;
	if (!v->issuer_pinned)
		return REFUSAL_NOT_PINNED;
	/* Else all whom the issuer has ever given a certificate would be believed. */
	return v->rules->name[0] == '\0' && !v->names_address ? REFUSAL_PIN_NEEDS_NAME : REFUSAL_NONE;
}

/* ---- What the library calls ----------------------------------------------------------------- */

/* The library begins when the first certificate has said which anchors there are. */
static void
on_start_chain(const br_x509_class **ctx, const char *server_name)
{
	(void)ctx;
	(void)server_name;
}

static void
on_start_cert(const br_x509_class **ctx, uint32_t length)
{
	struct verify *v = verify_of(ctx);

	v->wanted = length;
	v->len = 0;
	if (v->refusal == REFUSAL_NONE && length > CERT_MAX)
		v->refusal = REFUSAL_TOO_LARGE;
	if (v->refusal == REFUSAL_NONE && v->index >= CHAIN_MAX)
		v->refusal = REFUSAL_TOO_LONG;
}

static void
on_append(const br_x509_class **ctx, const unsigned char *data, size_t len)
{
	struct verify *v = verify_of(ctx);

	if (v->wanted > sizeof(v->cert) || len > sizeof(v->cert) - v->len)
		return;
	memcpy(v->cert + v->len, data, len);
	v->len += len;
}

static void
on_end_cert(const br_x509_class **ctx)
{
	struct verify *v = verify_of(ctx);

	if (v->seen != NULL && v->len == v->wanted && v->index < CHAIN_MAX)
		v->seen(v->seen_ctx, v->cert, v->len);
	if (v->refusal == REFUSAL_NONE && !v->settled)
		v->refusal = take(v);
	v->index++;
}

static unsigned
on_end_chain(const br_x509_class **ctx)
{
	struct verify *v = verify_of(ctx);
	unsigned error;

	if (v->index == 0)
		return BR_ERR_X509_EMPTY_CHAIN;
	if (v->refusal != REFUSAL_NONE)
		return BR_ERR_X509_NOT_TRUSTED;
	error = v->chain.vtable->end_chain(&v->chain.vtable);
	/* This one says that all is well but for an anchor, which pins stand for: that of an issuer. */
	if (error != 0 && (error != BR_ERR_X509_NOT_TRUSTED || anchors_bind(v)))
		return error;
	v->refusal = error != 0 && !v->issuer_pinned ? REFUSAL_NOT_PINNED : judge_pins(v);
	v->proved = v->refusal == REFUSAL_NONE;
	return v->proved ? 0 : BR_ERR_X509_NOT_TRUSTED;
}

/* The library has the server's key also where it found no anchor; it is asked for it after on_end_chain()
 * has allowed that. */
static const br_x509_pkey *
on_get_pkey(const br_x509_class *const *ctx, unsigned *usages)
{
	const struct verify *v = (const struct verify *)(const void *)ctx;

	return v->proved ? v->chain.vtable->get_pkey(&v->chain.vtable, usages) : NULL;
}

static const br_x509_class verify_class = {
	.context_size = sizeof(struct verify),
	.start_chain = on_start_chain,
	.start_cert = on_start_cert,
	.append = on_append,
	.end_cert = on_end_cert,
	.end_chain = on_end_chain,
	.get_pkey = on_get_pkey,
};

/* ---- Set-up --------------------------------------------------------------------------------- */

void
verify_init(struct verify *v, br_ssl_engine_context *eng)
{
	v->vtable = &verify_class;
	v->eng = eng;
	br_ssl_engine_set_x509(eng, &v->vtable);
}

void
verify_start(struct verify *v, const struct tls_rules *rules, const struct now *now)
{
	v->rules = rules;
	v->utc_s = now->utc_s;
	v->lenient = now->unset && !rules->strict_clock;
	v->knows = false;
	v->index = 0;
	v->settled = v->leaf_pinned = v->issuer_pinned = v->names_address = false;
	v->refusal = REFUSAL_NONE;
	v->not_before = v->not_after = 0;
	v->proved = v->by_key = v->by_known = v->without_clock = false;
	v->until_s = INT64_MAX;
}

void
verify_know(struct verify *v, const uint8_t sha256[32], int64_t until_s)
{
	v->knows = true;
	memcpy(v->known, sha256, sizeof(v->known));
	v->known_until_s = until_s;
}

/* ---- Words ---------------------------------------------------------------------------------- */

static const char *
refusal_words(enum refusal refusal)
{
	switch (refusal) {
	case REFUSAL_UNREADABLE:
		return "certificate cannot be read";
	case REFUSAL_TOO_LARGE:
		return "certificate is larger than 16384 octets";
	case REFUSAL_TOO_LONG:
		return "certificate chain is longer than 10";
	case REFUSAL_NO_SAN:
		return "certificate has no subjectAltName";
	case REFUSAL_NOT_PINNED:
		return "no key of the certificate chain is pinned";
	case REFUSAL_PIN_NEEDS_NAME:
		return "pin is of an issuer: a hostname, or a certificate for the address, is needed as well";
	case REFUSAL_CONSTRAINED:
		return "certificate chain holds name constraints, which are not supported";
	case REFUSAL_KEY_USAGE:
		return "certificate's key usage does not allow this";
	case REFUSAL_NOT_SERVER:
		return "certificate is not for servers (extended key usage)";
	default:
		return NULL;
	}
}

static const char *
chain_words(int error)
{
	switch (error) {
	case BR_ERR_X509_EMPTY_CHAIN:
		return "server sent no certificate";
	case BR_ERR_X509_BAD_SIGNATURE:
		return "certificate has a broken signature";
	case BR_ERR_X509_UNSUPPORTED:
		return "certificate is signed or keyed with what is too weak or unknown (SHA-1, MD5, Ed25519, "
		       "PSS)";
	case BR_ERR_X509_DN_MISMATCH:
		return "certificate chain is not in order";
	case BR_ERR_X509_CRITICAL_EXTENSION:
		return "certificate has an unknown critical extension";
	case BR_ERR_X509_NOT_CA:
		return "certificate chain holds an issuer that is no CA";
	case BR_ERR_X509_FORBIDDEN_KEY_USAGE:
		return "certificate's key usage does not allow this";
	case BR_ERR_X509_WEAK_PUBLIC_KEY:
		return "certificate key is too small (RSA below 2048 bits)";
	case BR_ERR_X509_NOT_TRUSTED:
		return "certificate is not signed by a trust anchor";
	default:
		return "certificate cannot be read";
	}
}

/* Which certificate dates and clock disagree, and by how much: a wrong clock shows at once. */
static void
date_words(const struct verify *v, char *out, size_t cap)
{
	long long late = (long long)(v->utc_s - v->not_after), early = (long long)(v->not_before - v->utc_s);

	if (v->utc_s > v->not_after)
		text_make(out, cap, "certificate has expired (%lld days ago)", late / 86400);
	else
		text_make(out, cap, "certificate is not yet valid (for %lld days, by our clock)",
			  early / 86400);
}

static void
address_words(const struct tls_rules *r, char *out, size_t cap)
{
	struct addr a = {.family = r->address_len == 4 ? ADDR_V4 : ADDR_V6};
	char text[ADDR_TEXT_MAX];

	memcpy(a.ip, r->address, r->address_len);
	text_make(out, cap, "certificate does not name %s", addr_text(text, &a));
}

bool
verify_words(const struct verify *v, int error, char *out, size_t cap)
{
	if (error < 32 || error >= 64)
		return false;
	if (v->refusal == REFUSAL_ADDRESS)
		address_words(v->rules, out, cap);
	else if (v->refusal != REFUSAL_NONE)
		text_make(out, cap, "%s", refusal_words(v->refusal));
	else if (error == BR_ERR_X509_BAD_SERVER_NAME)
		text_make(out, cap, "certificate does not name %s", v->rules->name);
	else if (error == BR_ERR_X509_EXPIRED)
		date_words(v, out, cap);
	else
		text_make(out, cap, "%s", chain_words(error));
	return true;
}
