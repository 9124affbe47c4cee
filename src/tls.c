/* SPDX-License-Identifier: MIT */
#include "tls.h"

#include <bearssl.h>
#include <string.h>

#include "bounds.h"
#include "cert.h"
#include "entropy.h"
#include "text.h"

/* What we refuse ourselves, beside the library's own reasons. */
enum refusal {
	REFUSAL_NONE,
	REFUSAL_UNREADABLE,
	REFUSAL_TOO_LARGE,
	REFUSAL_TOO_LONG,
	REFUSAL_NO_SAN,
	REFUSAL_NOT_SERVER,
	REFUSAL_CONSTRAINED
};

/* Stands in front of the library's chain verification.  Each certificate is collected whole, read
 * for what the library does not look at, and passed on. */
struct verifier {
	const br_x509_class *vtable; /* first, so that a pointer to it is one to this */
	br_x509_minimal_context chain;
	int64_t utc_s;
	unsigned index; /* of the certificate in the chain; 0 = the server's own */
	size_t len;
	enum refusal refusal;
	int64_t not_before, not_after; /* of the first certificate outside its dates; 0 = none */
	uint8_t cert[CERT_MAX];
};

struct tls {
	br_ssl_client_context client;
	struct verifier verifier;
	const char *name;
	bool was_open;
	bool heard, heard_tls; /* anything at all; and it began like a TLS record */
	bool no_entropy;
	char trouble[HOSTNAME_MAX + 96];
	uint8_t out[TLS_RECORD_OUT];
	uint8_t in[TLS_RECORD_IN];
};

/* ---- Verification --------------------------------------------------------------------------- */

static struct verifier *
verifier_of(const br_x509_class **ctx)
{
	return (struct verifier *)(void *)ctx;
}

/* As much as the library needs to know of time: days and seconds since year 0. */
static void
set_time(struct verifier *v)
{
	br_x509_minimal_set_time(&v->chain, (uint32_t)(v->utc_s / 86400 + 719528),
				 (uint32_t)(v->utc_s % 86400));
}

static void
on_start_chain(const br_x509_class **ctx, const char *server_name)
{
	struct verifier *v = verifier_of(ctx);

	v->index = 0;
	v->refusal = REFUSAL_NONE;
	v->not_before = v->not_after = 0;
	set_time(v);
	v->chain.vtable->start_chain(&v->chain.vtable, server_name);
}

static void
on_start_cert(const br_x509_class **ctx, uint32_t length)
{
	struct verifier *v = verifier_of(ctx);

	v->len = 0;
	if (length > CERT_MAX)
		v->refusal = REFUSAL_TOO_LARGE;
	if (v->index >= CHAIN_MAX)
		v->refusal = REFUSAL_TOO_LONG;
}

static void
on_append(const br_x509_class **ctx, const unsigned char *data, size_t len)
{
	struct verifier *v = verifier_of(ctx);

	if (v->refusal != REFUSAL_NONE || len > sizeof(v->cert) - v->len)
		return;
	memcpy(v->cert + v->len, data, len);
	v->len += len;
}

/* RFC 8310 section 8.1: only subjectAltName counts, the library would fall back on the CN.
 * RFC 5280 section 4.2.1.12: an EKU that does not name servers means it is for something else; in a
 * CA's certificate that goes for all it signs.  Section 4.2.1.10: name constraints bind, and the
 * library, which refuses critical ones, does not look at others. */
static enum refusal
judge(const struct cert_facts *facts, bool is_leaf)
{
	if (is_leaf && !facts->has_san)
		return REFUSAL_NO_SAN;
	if (facts->has_eku && !facts->server_auth)
		return REFUSAL_NOT_SERVER;
	if (facts->has_name_constraints)
		return REFUSAL_CONSTRAINED;
	return REFUSAL_NONE;
}

static void
on_end_cert(const br_x509_class **ctx)
{
	struct verifier *v = verifier_of(ctx);
	struct cert_facts facts;
	/* Once an anchor has signed, what follows (a root, a cross-signed twin) vouches for nothing. */
	bool anchored = v->chain.vtable->get_pkey(&v->chain.vtable, NULL) != NULL;

	if (v->refusal == REFUSAL_NONE && !anchored)
		v->refusal = cert_read(v->cert, v->len, &facts) == -1 ? REFUSAL_UNREADABLE
								      : judge(&facts, v->index == 0);
	v->index++;
	if (v->refusal != REFUSAL_NONE)
		return;
	if (!anchored && v->not_after == 0 && (v->utc_s < facts.not_before || v->utc_s > facts.not_after)) {
		v->not_before = facts.not_before;
		v->not_after = facts.not_after;
	}
	v->chain.vtable->start_cert(&v->chain.vtable, (uint32_t)v->len);
	v->chain.vtable->append(&v->chain.vtable, v->cert, v->len);
	v->chain.vtable->end_cert(&v->chain.vtable);
}

static unsigned
on_end_chain(const br_x509_class **ctx)
{
	struct verifier *v = verifier_of(ctx);

	if (v->refusal != REFUSAL_NONE)
		return BR_ERR_X509_NOT_TRUSTED;
	return v->chain.vtable->end_chain(&v->chain.vtable);
}

static const br_x509_pkey *
on_get_pkey(const br_x509_class *const *ctx, unsigned *usages)
{
	const struct verifier *v = (const struct verifier *)(const void *)ctx;

	return v->chain.vtable->get_pkey(&v->chain.vtable, usages);
}

static const br_x509_class verifier_class = {
	.context_size = sizeof(struct verifier),
	.start_chain = on_start_chain,
	.start_cert = on_start_cert,
	.append = on_append,
	.end_cert = on_end_cert,
	.end_chain = on_end_chain,
	.get_pkey = on_get_pkey,
};

/* ---- Set-up --------------------------------------------------------------------------------- */

size_t
tls_memory(void)
{
	return sizeof(struct tls);
}

static void
init_verifier(struct verifier *v, br_ssl_engine_context *eng, const struct trust *trust)
{
	br_x509_minimal_init(&v->chain, &br_sha256_vtable, trust_anchors(trust), trust_count(trust));
	br_x509_minimal_set_rsa(&v->chain, br_ssl_engine_get_rsavrfy(eng));
	br_x509_minimal_set_ecdsa(&v->chain, br_ssl_engine_get_ec(eng), br_ssl_engine_get_ecdsa(eng));
	/* No SHA-1: a signature made with it proves nothing.  RSA from 2,048 bits (RFC 9325 4.4). */
	br_x509_minimal_set_hash(&v->chain, br_sha256_ID, &br_sha256_vtable);
	br_x509_minimal_set_hash(&v->chain, br_sha384_ID, &br_sha384_vtable);
	br_x509_minimal_set_hash(&v->chain, br_sha512_ID, &br_sha512_vtable);
	br_x509_minimal_set_minrsa(&v->chain, 256);
	v->vtable = &verifier_class;
}

/* AES-GCM with the processor's help; else in constant time by plain code, which is slow, and 4 kB that
 * an x86_64 processor as old as that does without: every public resolver knows ChaCha20. */
#ifdef __x86_64__
#define PLAIN_AES NULL
#define PLAIN_GHASH NULL
#else
#define PLAIN_AES (&br_aes_ct_ctr_vtable)
#define PLAIN_GHASH br_ghash_ctmul
#endif

/* AES-GCM is the fastest where the processor helps with it, ChaCha20 everywhere else. */
static void
set_suites(br_ssl_engine_context *eng)
{
	static const uint16_t aes_first[] = {
		BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	};
	static const uint16_t chacha_first[] = {
		BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	};
	const br_block_ctr_class *aes = br_aes_x86ni_ctr_get_vtable();
	br_ghash ghash = br_ghash_pclmul_get();
	bool help = aes != NULL && ghash != 0;

	if (!help) {
		aes = PLAIN_AES;
		ghash = PLAIN_GHASH;
	}
	br_ssl_engine_set_suites(eng, help ? aes_first : chacha_first, aes != NULL ? 6 : 2);
	br_ssl_engine_set_gcm(eng, &br_sslrec_in_gcm_vtable, &br_sslrec_out_gcm_vtable);
	br_ssl_engine_set_aes_ctr(eng, aes);
	br_ssl_engine_set_ghash(eng, ghash);
}

static void
init_engine(struct tls *t)
{
	static const char *protocols[] = {"dot"}; /* RFC 7858 as registered for ALPN; not demanded */
	br_ssl_engine_context *eng = &t->client.eng;

	br_ssl_client_zero(&t->client);
	br_ssl_engine_set_versions(eng, BR_TLS12, BR_TLS12);
	set_suites(eng);
	br_ssl_engine_set_default_ec(eng);
	br_ssl_engine_set_default_ecdsa(eng);
	br_ssl_engine_set_rsavrfy(
		eng, br_rsa_i31_pkcs1_vrfy); /* 2 kB less than the 64-bit one, and 0.04 ms slower */
	br_ssl_engine_set_hash(eng, br_sha256_ID, &br_sha256_vtable);
	br_ssl_engine_set_hash(eng, br_sha384_ID, &br_sha384_vtable);
	br_ssl_engine_set_hash(eng, br_sha512_ID, &br_sha512_vtable);
	br_ssl_engine_set_prf_sha256(eng, &br_tls12_sha256_prf);
	br_ssl_engine_set_prf_sha384(eng, &br_tls12_sha384_prf);
	/* Named, for the library's own choice links several: these are as fast as any (see bench). */
	br_ssl_engine_set_chapol(eng, &br_sslrec_in_chapol_vtable, &br_sslrec_out_chapol_vtable);
	br_ssl_engine_set_chacha20(eng, br_chacha20_ct_run);
	br_ssl_engine_set_poly1305(eng, br_poly1305_ctmul_run);
	br_ssl_engine_add_flags(eng, BR_OPT_NO_RENEGOTIATION);
	br_ssl_engine_set_protocol_names(eng, protocols, 1);
	br_ssl_engine_set_buffers_bidi(eng, t->in, sizeof(t->in), t->out, sizeof(t->out));
	/* Else the small buffer for what we send would make the library ask the server for small
	 * records, which many ignore, and cut what we send at the next lower power of two. */
	eng->log_max_frag_len = 14;
	eng->max_frag_len = 16384;
}

struct tls *
tls_init(void *block)
{
	struct tls *t = block;

	memset(t, 0, offsetof(struct tls, out));
	init_engine(t);
	br_ssl_engine_set_x509(&t->client.eng, &t->verifier.vtable);
	return t;
}

int
tls_start(struct tls *t, const struct tls_rules *rules, struct tls_past *past, const struct now *now)
{
	uint8_t seed[32];

	(void)past;
	init_verifier(&t->verifier, &t->client.eng, rules->trust);
	t->name = rules->name;
	t->was_open = t->heard = t->heard_tls = false;
	t->trouble[0] = '\0';
	t->verifier.utc_s = now->utc_s;
	t->verifier.refusal = REFUSAL_NONE;
	t->no_entropy = entropy_fill(seed, sizeof(seed)) == -1;
	if (t->no_entropy)
		return -1;
	br_ssl_engine_inject_entropy(&t->client.eng, seed, sizeof(seed));
	memset(seed, 0, sizeof(seed));
	return br_ssl_client_reset(&t->client, rules->name, 0) ? 0 : -1;
}

void
tls_watch_chain(struct tls *t, void (*seen)(void *ctx, const uint8_t *der, size_t len), void *ctx)
{
	(void)t, (void)seen, (void)ctx;
}

/* ---- State and words ------------------------------------------------------------------------ */

enum tls_state
tls_state(const struct tls *t)
{
	if (t->no_entropy || br_ssl_engine_current_state(&t->client.eng) == BR_SSL_CLOSED)
		return TLS_CLOSED;
	return t->was_open ? TLS_OPEN : TLS_SHAKING;
}

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
	case REFUSAL_CONSTRAINED:
		return "certificate chain holds name constraints, which are not supported";
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

static const char *
protocol_words(int error)
{
	switch (error) {
	case BR_ERR_UNSUPPORTED_VERSION:
		return "server does not speak TLS 1.2";
	case BR_ERR_BAD_VERSION:
	case BR_ERR_UNKNOWN_TYPE:
		return "not a TLS server";
	case BR_ERR_UNEXPECTED:
		return "server does not keep to the order of a TLS handshake";
	case BR_ERR_TOO_LARGE:
	case BR_ERR_BAD_LENGTH:
		return "server sent an oversized record";
	case BR_ERR_BAD_MAC:
		return "server sent a record that was changed on the way";
	case BR_ERR_BAD_SIGNATURE:
	case BR_ERR_BAD_FINISHED:
		return "handshake was changed on the way";
	case BR_ERR_RECV_FATAL_ALERT + BR_ALERT_HANDSHAKE_FAILURE:
	case BR_ERR_RECV_FATAL_ALERT + BR_ALERT_INSUFFICIENT_SECURITY:
		return "no common cipher suite (TLS 1.2, ECDHE with AES-GCM or ChaCha20)";
	case BR_ERR_RECV_FATAL_ALERT + BR_ALERT_PROTOCOL_VERSION:
		return "server requires TLS 1.3";
	case BR_ERR_RECV_FATAL_ALERT + BR_ALERT_NO_APPLICATION_PROTOCOL:
		return "server refuses ALPN \"dot\"";
	default:
		return NULL;
	}
}

/* Which certificate dates and clock disagree, and by how much: a wrong clock shows at once. */
static void
describe_dates(struct tls *t)
{
	const struct verifier *v = &t->verifier;
	long long late = (long long)(v->utc_s - v->not_after), early = (long long)(v->not_before - v->utc_s);

	if (v->utc_s > v->not_after)
		text_make(t->trouble, sizeof(t->trouble), "certificate has expired (%lld days ago)",
			  late / 86400);
	else
		text_make(t->trouble, sizeof(t->trouble),
			  "certificate is not yet valid (for %lld days, by our clock)", early / 86400);
}

static void
describe(struct tls *t, int error)
{
	const char *words = refusal_words(t->verifier.refusal);

	if (words == NULL && error == BR_ERR_X509_BAD_SERVER_NAME) {
		text_make(t->trouble, sizeof(t->trouble), "certificate does not name %s", t->name);
		return;
	}
	if (words == NULL && error == BR_ERR_X509_EXPIRED) {
		describe_dates(t);
		return;
	}
	if (words == NULL && error >= 32 && error < 64)
		words = chain_words(error);
	if (words == NULL && t->heard && !t->heard_tls)
		words = "not a TLS server";
	if (words == NULL)
		words = protocol_words(error);
	if (words != NULL)
		text_make(t->trouble, sizeof(t->trouble), "%s", words);
	else if (error >= BR_ERR_RECV_FATAL_ALERT && error < BR_ERR_SEND_FATAL_ALERT)
		text_make(t->trouble, sizeof(t->trouble), "server ended it with TLS alert %d",
			  error - BR_ERR_RECV_FATAL_ALERT);
	else
		text_make(t->trouble, sizeof(t->trouble), "TLS error %d", error);
}

const char *
tls_trouble(const struct tls *t)
{
	if (t->no_entropy)
		return "the kernel has no entropy yet";
	return t->trouble[0] != '\0' ? t->trouble : NULL;
}

bool
tls_distrusts(const struct tls *t)
{
	int error = br_ssl_engine_last_error(&t->client.eng);

	return error >= 32 && error < 64;
}

enum tls_effort
tls_effort(const struct tls *t)
{
	(void)t;
	return TLS_FULL;
}

bool
tls_without_clock(const struct tls *t)
{
	(void)t;
	return false;
}

const char *
tls_protocol(const struct tls *t)
{
	return br_ssl_engine_get_selected_protocol((br_ssl_engine_context *)(uintptr_t)&t->client.eng);
}

const char *
tls_cipher(const struct tls *t)
{
	switch (t->client.eng.session.cipher_suite) {
	case BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:
		return "TLS 1.2 ECDHE-ECDSA AES-128-GCM";
	case BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:
		return "TLS 1.2 ECDHE-RSA AES-128-GCM";
	case BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:
		return "TLS 1.2 ECDHE-ECDSA AES-256-GCM";
	case BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:
		return "TLS 1.2 ECDHE-RSA AES-256-GCM";
	case BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:
		return "TLS 1.2 ECDHE-ECDSA ChaCha20-Poly1305";
	case BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:
		return "TLS 1.2 ECDHE-RSA ChaCha20-Poly1305";
	default:
		return "TLS 1.2";
	}
}

const char *
tls_library(void)
{
	return "BearSSL 0.6";
}

/* ---- Octets --------------------------------------------------------------------------------- */

/* After each step of the engine: has the handshake ended, well or badly? */
static void
notice(struct tls *t)
{
	unsigned state = br_ssl_engine_current_state(&t->client.eng);
	int error = br_ssl_engine_last_error(&t->client.eng);

	if ((state & BR_SSL_SENDAPP) != 0)
		t->was_open = true;
	if (state == BR_SSL_CLOSED && error != BR_ERR_OK && t->trouble[0] == '\0')
		describe(t, error);
}

size_t
tls_feed(struct tls *t, const uint8_t *data, size_t len)
{
	size_t room, taken = 0;

	/* A handshake begins with a record of type handshake (22) or alert (21). */
	if (!t->heard && len > 0)
		t->heard_tls = data[0] == 22 || data[0] == 21;
	t->heard |= len > 0;
	while (taken < len) {
		uint8_t *buf = br_ssl_engine_recvrec_buf(&t->client.eng, &room);

		if (buf == NULL)
			break;
		if (room > len - taken)
			room = len - taken;
		memcpy(buf, data + taken, room);
		taken += room;
		br_ssl_engine_recvrec_ack(&t->client.eng, room);
		notice(t);
	}
	return taken;
}

size_t
tls_drain(struct tls *t, uint8_t *out, size_t cap)
{
	size_t have, done = 0;

	while (done < cap) {
		const uint8_t *buf = br_ssl_engine_sendrec_buf(&t->client.eng, &have);

		if (buf == NULL)
			break;
		if (have > cap - done)
			have = cap - done;
		memcpy(out + done, buf, have);
		done += have;
		br_ssl_engine_sendrec_ack(&t->client.eng, have);
		notice(t);
	}
	return done;
}

bool
tls_wants_drain(const struct tls *t)
{
	return (br_ssl_engine_current_state(&t->client.eng) & BR_SSL_SENDREC) != 0;
}

size_t
tls_read(struct tls *t, uint8_t **data)
{
	size_t have;

	*data = br_ssl_engine_recvapp_buf(&t->client.eng, &have);
	return *data == NULL ? 0 : have;
}

void
tls_read_done(struct tls *t, size_t n)
{
	br_ssl_engine_recvapp_ack(&t->client.eng, n);
	notice(t);
}

uint8_t *
tls_write(struct tls *t, size_t *room)
{
	return br_ssl_engine_sendapp_buf(&t->client.eng, room);
}

void
tls_write_done(struct tls *t, size_t n)
{
	br_ssl_engine_sendapp_ack(&t->client.eng, n);
	br_ssl_engine_flush(&t->client.eng, 0);
}

void
tls_close(struct tls *t)
{
	uint8_t *data;
	size_t n;

	/* With octets unread this version of the library would never come to an end. */
	while ((n = tls_read(t, &data)) > 0)
		tls_read_done(t, n);
	br_ssl_engine_close(&t->client.eng);
}
