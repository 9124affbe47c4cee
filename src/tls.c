/* SPDX-License-Identifier: MIT */
#include "tls.h"

#include <bearssl.h>
#include <string.h>

#include "bounds.h"
#include "entropy.h"
#include "text.h"
#include "verify.h"

/* What is used most comes first, for the sake of short code. */
struct tls {
	struct tls_past *past;
	uint64_t began_ms;
	bool offered;		 /* to go on with the session of past */
	bool past_without_clock; /* what was taken from past began so */
	bool was_open;
	bool heard, heard_tls; /* anything at all; and it began like a TLS record */
	bool no_entropy;
	br_ssl_client_context client;
	struct verify verify;
	char trouble[HOSTNAME_MAX + 96];
	uint8_t out[TLS_RECORD_OUT];
	uint8_t in[TLS_RECORD_IN];
};

/* ---- Set-up --------------------------------------------------------------------------------- */

size_t
tls_memory(void)
{
	return sizeof(struct tls);
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

static const br_ec_impl *curves; /* the library's own */

/* RFC 8422 section 5.11: a shared secret of zeros is that of a point which takes part in no exchange; the
 * library does not look. */
static uint32_t
multiply(unsigned char *point, size_t len, const unsigned char *x, size_t x_len, int curve)
{
	uint32_t good = curves->mul(point, len, x, x_len, curve);
	uint8_t any = 0;

	for (size_t i = 0; i < len; i++)
		any |= point[i];
	return any != 0 ? good : 0;
}

static void
set_curves(br_ssl_engine_context *eng)
{
	static br_ec_impl careful;

	curves = eng->iec;
	careful = *curves;
	careful.mul = multiply;
	br_ssl_engine_set_ec(eng, &careful);
}

static void
init_engine(struct tls *t)
{
	static const char *protocols[] = {"dot"}; /* RFC 7858 as registered for ALPN; not demanded */
	br_ssl_engine_context *eng = &t->client.eng;

	br_ssl_client_zero(&t->client);
	br_ssl_engine_set_versions(eng, BR_TLS12, BR_TLS12);
	set_suites(eng);
	br_ssl_engine_set_default_ecdsa(eng); /* and its curves */
	set_curves(eng);
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
	/* RFC 9325 section 3.8: an answer to what was not asked.  None at all is all right. */
	br_ssl_engine_add_flags(eng, BR_OPT_NO_RENEGOTIATION | BR_OPT_FAIL_ON_ALPN_MISMATCH);
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
	verify_init(&t->verify, &t->client.eng);
	return t;
}

/* ---- What past handshakes have taught ------------------------------------------------------- */

static void
forget_session(struct tls_past *p)
{
	memset(p->secret, 0, sizeof(p->secret));
	p->session_id_len = 0;
}

/* Takes from past what still counts. */
static void
recall(struct tls *t, struct tls_past *p, const struct now *now)
{
	br_ssl_session_parameters s = {.session_id_len = 0};

	if (p->without_clock && !now->unset) {
		forget_session(p);
		p->leaf_known = p->without_clock = false;
	}
	t->past_without_clock = p->without_clock;
	if (now->utc_s > p->until_s)
		return;
	if (p->leaf_known && now->mono_ms - p->leaf_ms < UINT64_C(1000) * TLS_LEAF_S)
		verify_know(&t->verify, p->leaf, p->until_s);
	t->offered = p->session_id_len > 0 && now->mono_ms - p->session_ms < UINT64_C(1000) * TLS_SESSION_S;
	if (!t->offered)
		return;
	s.session_id_len = p->session_id_len;
	memcpy(s.session_id, p->session_id, sizeof(s.session_id));
	memcpy(s.master_secret, p->secret, sizeof(s.master_secret));
	s.version = p->version;
	s.cipher_suite = p->suite;
	br_ssl_engine_set_session_parameters(&t->client.eng, &s);
}

/* A handshake has failed, or has come to no end: what was recalled for it may be the reason. */
static void
forget(struct tls *t)
{
	if (t->past == NULL || t->was_open)
		return;
	if (t->offered)
		forget_session(t->past);
	if (t->verify.by_known)
		t->past->leaf_known = false;
	t->past = NULL;
}

/* A handshake has ended well.  Another one, with the same past, may have done so since this one began. */
static void
remember(struct tls *t)
{
	const br_ssl_session_parameters *s = &t->client.eng.session;
	const struct verify *v = &t->verify;
	struct tls_past *p = t->past;

	if (p == NULL || tls_effort(t) == TLS_RESUMED)
		return;
	if (!v->by_known) {
		p->leaf_known = !v->by_key; /* which takes no more than a known one */
		memcpy(p->leaf, v->leaf, sizeof(p->leaf));
		p->leaf_ms = t->began_ms;
		p->until_s = v->until_s;
	} else if (v->until_s < p->until_s) {
		p->until_s = v->until_s;
	}
	p->without_clock = tls_without_clock(t) || (v->by_known && p->without_clock);
	p->session_id_len = s->session_id_len;
	memcpy(p->session_id, s->session_id, sizeof(p->session_id));
	memcpy(p->secret, s->master_secret, sizeof(p->secret));
	p->version = s->version;
	p->suite = s->cipher_suite;
	p->session_ms = t->began_ms;
}

int
tls_start(struct tls *t, const struct tls_rules *rules, struct tls_past *past, const struct now *now)
{
	uint8_t seed[32];

	if (t->past == past)
		forget(t);
	t->past = past;
	t->began_ms = now->mono_ms;
	t->offered = t->past_without_clock = false;
	t->was_open = t->heard = t->heard_tls = false;
	t->trouble[0] = '\0';
	verify_start(&t->verify, rules, now);
	t->no_entropy = entropy_fill(seed, sizeof(seed)) == -1;
	if (t->no_entropy)
		return -1;
	if (past != NULL)
		recall(t, past, now);
	br_ssl_engine_inject_entropy(&t->client.eng, seed, sizeof(seed));
	memset(seed, 0, sizeof(seed));
	return br_ssl_client_reset(&t->client, rules->name[0] != '\0' ? rules->name : NULL, t->offered) ? 0
													: -1;
}

void
tls_watch_chain(struct tls *t, void (*seen)(void *ctx, const uint8_t *der, size_t len), void *ctx)
{
	t->verify.seen = seen;
	t->verify.seen_ctx = ctx;
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
protocol_words(int error, bool was_open)
{
	switch (error) {
	case BR_ERR_UNSUPPORTED_VERSION:
		return "server does not speak TLS 1.2";
	case BR_ERR_BAD_VERSION:
	case BR_ERR_UNKNOWN_TYPE:
		return was_open ? "server sent what is no TLS record" : "not a TLS server";
	case BR_ERR_WRONG_KEY_USAGE:
		return "certificate's key usage does not allow this";
	case BR_ERR_UNEXPECTED:
		return "server does not keep to the order of a TLS handshake";
	case BR_ERR_TOO_LARGE:
	case BR_ERR_BAD_LENGTH:
		return "server sent an oversized record, or one that is too short";
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

static void
describe(struct tls *t, int error)
{
	const char *words = t->heard && !t->heard_tls ? "not a TLS server" : protocol_words(error, t->was_open);

	if (verify_words(&t->verify, error, t->trouble, sizeof(t->trouble)))
		return;
	if (words != NULL)
		text_make(t->trouble, sizeof(t->trouble), "%s", words);
	else if (error >= BR_ERR_RECV_FATAL_ALERT && error < BR_ERR_SEND_FATAL_ALERT)
		text_make(t->trouble, sizeof(t->trouble), "server ended it with TLS alert %d",
			  error - BR_ERR_RECV_FATAL_ALERT);
	else
		text_make(t->trouble, sizeof(t->trouble), "server breaks the rules of TLS (error %d)", error);
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

	return (error >= 32 && error < 64) || error == BR_ERR_WRONG_KEY_USAGE || error == BR_ERR_BAD_SIGNATURE;
}

/* Who resumes a session shows no certificate. */
enum tls_effort
tls_effort(const struct tls *t)
{
	if (!t->verify.proved)
		return TLS_RESUMED;
	return t->verify.by_known ? TLS_KNOWN_LEAF : TLS_FULL;
}

bool
tls_without_clock(const struct tls *t)
{
	return t->verify.without_clock || (t->past_without_clock && tls_effort(t) != TLS_FULL);
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

	if ((state & BR_SSL_SENDAPP) != 0 && !t->was_open) {
		t->was_open = true;
		remember(t);
	}
	if (state != BR_SSL_CLOSED)
		return;
	forget(t);
	if (error != BR_ERR_OK && t->trouble[0] == '\0')
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

/* What comes in plain text is worked upon as it comes.  Certificates are longer than a bite, and so is what the
 * server signs; the last 4 octets of its part have the key exchange computed.  They come by themselves, with
 * whatever was before them in their record. */
size_t
tls_bite(const struct tls *t)
{
	size_t room;

	(void)br_ssl_engine_recvrec_buf(&t->client.eng, &room);
	if (room > TLS_BITE + 9)
		return TLS_BITE;
	return room > 5 ? room - 4 : room > 0 ? room : 1;
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
