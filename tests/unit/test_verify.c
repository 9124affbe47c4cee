/* SPDX-License-Identifier: MIT */
/* Who is believed: pins, addresses, a clock that nobody has set, and what one handshake teaches the next.
 * Names, dates, chains and purposes by anchors alone are in test_tls.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bounds.h"
#include "tls.h"
#include "tls_server.h"

#define NAME "dns.example"
#define NOT_PINNED "no key of the certificate chain is pinned"
#define NEEDS_NAME "pin is of an issuer: a hostname, or a certificate for the address, is needed as well"
#define UNKNOWN "certificate is not signed by a trust anchor"
#define BROKEN "certificate has a broken signature"
#define V4 "\xc6\x33\x64\x07" /* 198.51.100.7 */
#define V6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"

static struct made_key root_key, twin_key, ca_key, key, other_key;
static struct made_cert root, twin, leaf, middle, odd;
static const struct trust *root_only, *both_twins;
static void *blocks[4];
static struct tls_server server;
static struct tls *client, *second;
static br_ssl_session_cache_lru cache;
static uint8_t cache_store[4096];

static struct tls_rules rules;
static struct pin pins[PINS_MAX];
static struct tls_past past;
static struct now now;

/* ---- Rules, certificates, handshakes ---------------------------------------------------------- */

static const struct trust *
trust_in(void **block, const struct made_cert *a, const struct made_cert *b)
{
	static char pem[16384];
	size_t len = made_pem(pem, sizeof(pem), a, BR_PEM_LINE64), skipped;

	if (b != NULL)
		len += made_pem(pem + len, sizeof(pem) - len, b, BR_PEM_LINE64);
	free(*block);
	*block = calloc(1, trust_memory((const uint8_t *)pem, len));
	assert_non_null(*block);
	return trust_load(*block, (const uint8_t *)pem, len, &skipped);
}

static int
make_keys(void **state)
{
	(void)state;
	made_key_ec(&root_key, "root", BR_EC_secp256r1);
	made_key_ec(&twin_key, "twin", BR_EC_secp256r1);
	made_key_ec(&other_key, "other", BR_EC_secp256r1);
	made_key_ec(&ca_key, "ca", BR_EC_secp384r1);
	made_key_ec(&key, "leaf", BR_EC_secp256r1);
	made_cert(&root, &(struct cert_wish){.name = "Root", .key = &root_key, .ca = true});
	made_cert(&twin, &(struct cert_wish){.name = "Root", .key = &twin_key, .ca = true});
	root_only = trust_in(&blocks[0], &root, NULL);
	both_twins = trust_in(&blocks[1], &root, &twin);
	client = tls_init(calloc(1, tls_memory()));
	second = tls_init(calloc(1, tls_memory()));
	return 0;
}

static int
drop_keys(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
		free(blocks[i]);
	free(client);
	free(second);
	return 0;
}

/* Before each test: a name, anchors, no pins, a right clock, nothing known. */
static int
begin(void **state)
{
	(void)state;
	rules = (struct tls_rules){.name = NAME,
				   .address = (const uint8_t *)V4,
				   .address_len = 4,
				   .pin = pins,
				   .trust = root_only};
	memset(&past, 0, sizeof(past));
	now = (struct now){.mono_ms = 5000, .utc_s = MADE_NOW};
	return 0;
}

static void
pin(const struct made_key *k)
{
	static struct made_der spki;
	br_sha256_context hash;

	spki.len = 0;
	der_spki(&spki, k);
	br_sha256_init(&hash);
	br_sha256_update(&hash, spki.buf, spki.len);
	br_sha256_out(&hash, pins[rules.pins++].sha256);
}

static void
pin_only(const struct made_key *k)
{
	rules.pins = 0;
	pin(k);
}

static struct cert_wish
good(void)
{
	return (struct cert_wish){.name = "x", .issuer = "CA", .key = &key, .signer = &ca_key, .san = NAME};
}

static struct cert_wish
good_ca(void)
{
	return (struct cert_wish){
		.name = "CA", .issuer = "Root", .key = &ca_key, .signer = &root_key, .ca = true};
}

/* The first len of leaf, middle, and third. */
static void
serve_three(const struct cert_wish *w, const struct cert_wish *ca, const struct made_cert *third, size_t len)
{
	made_cert(&leaf, w);
	made_cert(&middle, ca);
	server_init(&server, w->key, (br_x509_certificate[]){leaf.x509, middle.x509, third->x509}, len);
}

static void
serve(const struct cert_wish *w, size_t len)
{
	struct cert_wish ca = good_ca();

	serve_three(w, &ca, &root, len);
}

static void
serve_good(size_t len)
{
	struct cert_wish w = good();

	serve(&w, len);
}

static void
serve_with_cache(size_t len)
{
	serve_good(len);
	br_ssl_session_cache_lru_init(&cache, cache_store, sizeof(cache_store));
	br_ssl_server_set_cache(&server.ctx, &cache.vtable);
}

static void
converse(struct tls *t)
{
	uint8_t buf[4096];
	size_t n, moved;

	do {
		moved = 0;
		while ((n = tls_drain(t, buf, sizeof(buf))) > 0) {
			size_t room;

			moved += server_feed(&server, buf, n);
			if (tls_state(t) != TLS_OPEN)
				assert_null(tls_write(t, &room));
		}
		while ((n = server_drain(&server, buf, sizeof(buf))) > 0)
			moved += tls_feed(t, buf, n);
	} while (moved > 0 && tls_state(t) == TLS_SHAKING);
	while ((n = tls_drain(t, buf, sizeof(buf))) > 0)
		server_feed(&server, buf, n);
}

static enum tls_state
shake_with(struct tls *t, struct tls_past *p)
{
	server_start(&server);
	assert_int_equal(tls_start(t, &rules, p, &now), 0);
	assert_int_equal(tls_state(t), TLS_SHAKING);
	converse(t);
	return tls_state(t);
}

static void
assert_opens(void)
{
	shake_with(client, NULL);
	if (tls_trouble(client) != NULL)
		print_error("%s\n", tls_trouble(client));
	assert_int_equal(tls_state(client), TLS_OPEN);
	assert_null(tls_trouble(client));
	assert_true(server_is_open(&server));
}

static void
assert_closed(const char *words)
{
	size_t room;

	assert_int_equal(tls_state(client), TLS_CLOSED);
	assert_non_null(tls_trouble(client));
	assert_string_equal(tls_trouble(client), words);
	assert_true(tls_distrusts(client));
	assert_null(tls_write(client, &room));
	assert_false(server_is_open(&server));
}

static void
assert_refused(const char *words)
{
	shake_with(client, NULL);
	assert_closed(words);
}

/* With a past. */
static void
assert_effort(enum tls_effort effort)
{
	shake_with(client, &past);
	if (tls_trouble(client) != NULL)
		print_error("%s\n", tls_trouble(client));
	assert_int_equal(tls_state(client), TLS_OPEN);
	assert_int_equal(tls_effort(client), effort);
}

static void
assert_teaches_nothing(const char *words)
{
	static const struct tls_past nothing;

	shake_with(client, &past);
	assert_closed(words);
	assert_memory_equal(&past, &nothing, sizeof(past));
}

/* ---- Pins without anchors --------------------------------------------------------------------- */

static void
a_pinned_leaf_needs_neither_chain_nor_clock_nor_name(void **state)
{
	struct cert_wish w = good();

	(void)state;
	rules.name = "";
	pin(&key);
	serve_good(1);
	assert_opens();
	assert_int_equal(tls_effort(client), TLS_FULL);
	assert_string_equal(br_ssl_engine_get_server_name(&server.ctx.eng), "");
	for (now.utc_s = 0; now.utc_s < INT64_C(4000000000); now.utc_s += 499999999) {
		assert_opens();
		assert_false(tls_without_clock(client));
	}
	w.issuer = NULL;
	w.signer = NULL;
	w.san = NULL;
	serve(&w, 1);
	assert_opens();
	w.ca = true;
	w.not_after = w.not_before = INT64_C(-86401); /* 1969 */
	serve(&w, 1);
	assert_opens();
	w.issuer = "CA";
	w.signer = &ca_key;
	serve(&w, 1);
	assert_opens();
	w.v1 = true;
	serve(&w, 3);
	assert_opens();
}

static void
a_pinned_leaf_may_be_for_anything(void **state)
{
	struct cert_wish w = good();

	(void)state;
	pin(&key);
	w.eku = MADE_EKU_CLIENT;
	w.constraints = MADE_CONSTRAINTS;
	serve(&w, 1);
	assert_opens();
}

static void
a_pinned_leaf_must_have_the_name_that_is_set(void **state)
{
	struct cert_wish w = good();

	(void)state;
	pin(&key);
	now.utc_s = 0;
	serve(&w, 1);
	assert_opens();
	w.san = "other.example";
	serve(&w, 1);
	assert_refused("certificate does not name " NAME);
	w.name = NAME;
	serve(&w, 1);
	assert_refused("certificate does not name " NAME);
	w.san = NULL;
	serve(&w, 1);
	assert_refused("certificate has no subjectAltName");
}

static void
whoever_copies_a_pinned_leaf_cannot_use_it(void **state)
{
	(void)state;
	pin(&key);
	serve_good(2);
	server_init(&server, &other_key, server.chain, 1);
	shake_with(client, NULL);
	assert_int_equal(tls_state(client), TLS_CLOSED);
	assert_string_equal(tls_trouble(client), "handshake was changed on the way");
}

static void
a_wrong_pin_is_refused_whatever_the_chain(void **state)
{
	(void)state;
	pin(&other_key);
	for (size_t len = 1; len <= 3; len++) {
		serve_good(len);
		assert_refused(NOT_PINNED);
	}
	/* The right one among others. */
	pin(&twin_key);
	pin(&key);
	assert_opens();
}

static void
a_pin_of_one_bit_more_is_another(void **state)
{
	(void)state;
	serve_good(1);
	for (size_t bit = 0; bit < 256; bit += 17) {
		pin_only(&key);
		pins[0].sha256[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_refused(NOT_PINNED);
	}
}

static void
a_pinned_intermediate_is_enough(void **state)
{
	struct cert_wish w = good(), ca = good_ca();

	(void)state;
	pin(&ca_key);
	serve(&w, 2);
	assert_opens();
	serve(&w, 1);
	assert_refused(NOT_PINNED);
	/* What stands behind it is no matter. */
	made_cert(&odd, &(struct cert_wish){.name = "Odd", .key = &other_key, .constraints = MADE_CONSTRAINTS});
	serve_three(&w, &ca, &odd, 3);
	assert_opens();
}

/* The anchor is not one of those built in. */
static void
a_pinned_root_that_is_sent_along_is_enough(void **state)
{
	(void)state;
	rules.trust = trust_in(&blocks[2], &twin, NULL);
	pin(&root_key);
	serve_good(3);
	assert_opens();
	serve_good(2);
	assert_refused(NOT_PINNED);
}

static void
a_pinned_anchor_need_not_be_sent(void **state)
{
	(void)state;
	serve_good(2);
	rules.trust = both_twins;
	pin(&root_key);
	assert_opens();
	pin_only(&twin_key);
	assert_refused(NOT_PINNED);
	pin(&root_key);
	assert_opens();
}

static void
an_issuer_pin_keeps_name_dates_and_purpose(void **state)
{
	const struct made_key *keys[] = {&ca_key, &root_key};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct cert_wish w = good(), ca = good_ca();

		pin_only(keys[i]);
		serve(&w, 3);
		assert_opens();
		w.san = "other.example";
		serve(&w, 3);
		assert_refused("certificate does not name " NAME);
		w = good();
		w.not_after = MADE_NOW - 86401;
		serve(&w, 3);
		assert_refused("certificate has expired (1 days ago)");
		w = good();
		ca.not_after = MADE_NOW - 86401;
		serve_three(&w, &ca, &root, 3);
		assert_refused("certificate has expired (1 days ago)");
		w.eku = MADE_EKU_CLIENT;
		serve(&w, 3);
		assert_refused("certificate is not for servers (extended key usage)");
	}
}

static void
an_issuer_pin_without_a_name_needs_the_address(void **state)
{
	const struct made_key *keys[] = {&ca_key, &root_key};
	struct cert_wish w;

	(void)state;
	rules.name = "";
	for (int given = 0; given < 2; given++)
		for (size_t i = 0; i < 2; i++) {
			w = good();
			rules.trust_given = given != 0;
			pin_only(keys[i]);
			serve(&w, 2);
			assert_refused(NEEDS_NAME);
			w.san = "198.51.100.7";
			serve(&w, 3);
			assert_refused(NEEDS_NAME);
			w.ip = "\xc6\x33\x64\x06";
			w.ip_len = 4;
			serve(&w, 3);
			assert_refused(NEEDS_NAME);
			w.ip = "";
			w.ip_len = 0;
			serve(&w, 3);
			assert_refused(NEEDS_NAME);
			w.ip = V4;
			w.ip_len = 4;
			serve(&w, 3);
			assert_opens();
		}
	/* No address to name, and one that is none. */
	rules.address = NULL;
	rules.address_len = 0;
	assert_refused(NEEDS_NAME);
	w.ip = "";
	w.ip_len = 0;
	serve(&w, 3);
	assert_refused(NEEDS_NAME);
}

/* Both hang a certificate that is pinned behind one that it has not signed. */
static void
a_pinned_issuer_that_has_signed_nothing_does_not_count(void **state)
{
	struct cert_wish w = good(), ca = good_ca();

	(void)state;
	pin(&ca_key);
	w.signer = &other_key;
	serve(&w, 2);
	assert_refused(BROKEN);
	w.issuer = "Nobody";
	serve(&w, 2);
	assert_refused("certificate chain is not in order");
	serve(&w, 3);
	assert_refused("certificate chain is not in order");
	/* leaf <- a CA of the attacker <- the pinned one, which has not signed that. */
	pin_only(&root_key);
	w = good();
	ca.signer = &other_key;
	rules.trust = trust_in(&blocks[2], &twin, NULL);
	serve_three(&w, &ca, &root, 3);
	assert_refused(BROKEN);
}

static void
a_pinned_issuer_must_be_a_ca(void **state)
{
	struct cert_wish w = good(), ca = good_ca();

	(void)state;
	pin(&ca_key);
	ca.ca = false;
	serve_three(&w, &ca, &root, 3);
	assert_refused("certificate chain holds an issuer that is no CA");
}

/* ---- Pins with anchors ------------------------------------------------------------------------ */

static void
with_anchors_both_must_hold(void **state)
{
	const struct made_key *keys[] = {&key, &ca_key, &root_key};
	struct cert_wish w = good();

	(void)state;
	rules.trust_given = true;
	for (size_t i = 0; i < 3; i++) {
		pin_only(keys[i]);
		for (size_t len = 2; len <= 3; len++) {
			w = good();
			serve(&w, len);
			assert_opens();
			w.not_after = MADE_NOW - 86401;
			serve(&w, len);
			assert_refused("certificate has expired (1 days ago)");
		}
		serve_good(1);
		assert_refused(UNKNOWN);
		rules.trust = trust_in(&blocks[2], &twin, NULL);
		serve_good(2);
		assert_refused(UNKNOWN);
		rules.trust = root_only;
	}
	pin_only(&other_key);
	serve_good(3);
	assert_refused(NOT_PINNED);
}

/* leaf <- CA, pinned <- Upper <- the anchor. */
static void
with_anchors_a_pinned_issuer_does_not_end_the_chain(void **state)
{
	struct cert_wish w = good(), ca = good_ca();

	(void)state;
	rules.trust_given = true;
	pin(&ca_key);
	made_cert(
		&odd,
		&(struct cert_wish){
			.name = "Upper", .issuer = "Root", .key = &other_key, .signer = &root_key, .ca = true});
	ca.issuer = "Upper";
	ca.signer = &other_key;
	serve_three(&w, &ca, &odd, 3);
	assert_opens();
	serve_three(&w, &ca, &odd, 2);
	assert_refused(UNKNOWN);
	ca.signer = &twin_key;
	serve_three(&w, &ca, &odd, 3);
	assert_refused(BROKEN);
}

static void
with_anchors_a_pinned_leaf_needs_no_name(void **state)
{
	struct cert_wish w = good();

	(void)state;
	rules.trust_given = true;
	rules.name = "";
	pin(&key);
	w.san = NULL;
	serve(&w, 2);
	assert_opens();
}

/* The attack: a certificate from a trusted CA, and behind it what is pinned. */
static void
a_pinned_certificate_behind_the_anchor_does_not_count(void **state)
{
	struct cert_wish w = {
		.name = "x", .issuer = "Root", .key = &other_key, .signer = &root_key, .san = NAME};
	struct made_cert *pinned[] = {&odd, &middle};

	(void)state;
	rules.trust_given = true;
	pin(&key);
	pin(&ca_key);
	serve_good(2);
	assert_opens();
	made_cert(&odd, &(struct cert_wish){.name = "Root", .key = &key, .ca = true});
	for (size_t i = 0; i < 2; i++) {
		made_cert(&leaf, &w);
		server_init(&server, &other_key, (br_x509_certificate[]){leaf.x509, pinned[i]->x509, root.x509},
			    3);
		assert_refused(NOT_PINNED);
		server_init(&server, &other_key, (br_x509_certificate[]){leaf.x509, root.x509, pinned[i]->x509},
			    3);
		assert_refused(NOT_PINNED);
	}
}

static void
two_anchors_of_one_name_do_not_help_each_other(void **state)
{
	(void)state;
	rules.trust_given = true;
	rules.trust = both_twins;
	serve_good(2);
	pin_only(&twin_key);
	assert_refused(NOT_PINNED);
	pin_only(&root_key);
	assert_refused(NOT_PINNED);
	pin(&twin_key);
	assert_opens();
	/* It is not about names that are of no concern. */
	made_cert(&odd, &(struct cert_wish){.name = "Another", .key = &twin_key, .ca = true});
	rules.trust = trust_in(&blocks[2], &odd, &root);
	pin_only(&root_key);
	assert_opens();
	pin_only(&twin_key);
	assert_refused(NOT_PINNED);
}

/* A home server's own certificate is an anchor; what it calls its issuer has not signed it. */
static void
an_anchor_that_is_the_leaf_does_not_speak_for_an_issuer(void **state)
{
	struct cert_wish w = {.name = "x", .issuer = "Root", .key = &key, .signer = &other_key, .san = NAME};

	(void)state;
	rules.trust_given = true;
	serve(&w, 1);
	rules.trust = trust_in(&blocks[2], &leaf, &root);
	assert_opens();
	pin_only(&root_key);
	assert_refused(NOT_PINNED);
	pin(&key);
	assert_opens();
}

/* ---- Addresses -------------------------------------------------------------------------------- */

static void
without_a_name_the_address_must_be_named(void **state)
{
	struct cert_wish w = good();

	(void)state;
	rules.name = "";
	w.ip = V4;
	w.ip_len = 4;
	serve(&w, 2);
	assert_opens();
	assert_string_equal(br_ssl_engine_get_server_name(&server.ctx.eng), "");
	w.san = NULL;
	serve(&w, 2);
	assert_opens();
	rules.address = (const uint8_t *)V6;
	rules.address_len = 16;
	assert_refused("certificate does not name 2001:db8::1");
	w.ip = V6;
	w.ip_len = 16;
	serve(&w, 2);
	assert_opens();
	w.issuer = "Nobody";
	serve(&w, 1);
	assert_refused(UNKNOWN);
}

static void
what_looks_like_the_address_does_not_count(void **state)
{
	static const struct {
		const char *san, *ip;
		size_t len;
	} cases[] = {
		{"198.51.100.7", NULL, 0},
		{V4, NULL, 0},
		{NULL, NULL, 0},
		{NAME, "\xc6\x33\x64\x06", 4},
		{NAME, "\xc6\x33\x64", 3},
		{NAME, V4 "\xff\xff\xff\xff", 8},
		{NAME, "\0\0\0\0\0\0\0\0\0\0\xff\xff" V4, 16},
	};
	struct cert_wish w = good();

	(void)state;
	rules.name = "";
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		w.name = "198.51.100.7";
		w.san = cases[i].san;
		w.ip = cases[i].ip;
		w.ip_len = cases[i].len;
		serve(&w, 2);
		assert_refused("certificate does not name 198.51.100.7");
	}
}

static void
beside_a_name_the_address_does_not_help(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.ip = V4;
	w.ip_len = 4;
	w.san = "other.example";
	serve(&w, 2);
	assert_refused("certificate does not name " NAME);
	w.san = NULL;
	serve(&w, 2);
	assert_refused("certificate does not name " NAME);
	assert_string_equal(br_ssl_engine_get_server_name(&server.ctx.eng), NAME);
}

static void
by_address_dates_and_purpose_bind(void **state)
{
	struct cert_wish w = good();

	(void)state;
	rules.name = "";
	w.ip = V4;
	w.ip_len = 4;
	w.eku = MADE_EKU_CLIENT;
	serve(&w, 2);
	assert_refused("certificate is not for servers (extended key usage)");
	w.eku = MADE_NO_EKU;
	w.not_after = MADE_NOW - 86401;
	serve(&w, 2);
	assert_refused("certificate has expired (1 days ago)");
}

/* ---- A clock that nobody has set -------------------------------------------------------------- */

static void
starts_are_passed_over_while_the_clock_is_unset(void **state)
{
	struct cert_wish w = good(), ca = good_ca();

	(void)state;
	now.unset = true;
	serve(&w, 2);
	assert_opens();
	assert_false(tls_without_clock(client));
	w.not_before = MADE_NOW + 86400 * 3;
	for (int i = 0; i < 2; i++) { /* the leaf's; then only its issuer's */
		serve_three(&w, &ca, &root, 2);
		assert_opens();
		assert_true(tls_without_clock(client));
		rules.strict_clock = true;
		assert_refused("certificate is not yet valid (for 3 days, by our clock)");
		rules.strict_clock = false;
		now.unset = false;
		assert_refused("certificate is not yet valid (for 3 days, by our clock)");
		now.unset = true;
		w.not_before = 0;
		ca.not_before = MADE_NOW + 86400 * 3;
	}
	/* A set clock needed no such thing. */
	now.unset = false;
	serve_good(2);
	assert_opens();
	assert_false(tls_without_clock(client));
}

static void
all_else_binds_while_the_clock_is_unset(void **state)
{
	struct cert_wish w = good(), ca = good_ca();

	(void)state;
	now.unset = true;
	w.not_after = MADE_NOW - 86401;
	serve(&w, 2);
	assert_refused("certificate has expired (1 days ago)");
	/* The time of one certificate does not leak into the next. */
	w.not_before = MADE_NOW + 86400;
	w.not_after = 0;
	ca.not_after = MADE_NOW - 1;
	serve_three(&w, &ca, &root, 2);
	assert_refused("certificate has expired (0 days ago)");
	w.san = "other.example";
	serve(&w, 2);
	assert_refused("certificate does not name " NAME);
	w.san = NAME;
	serve(&w, 1);
	assert_refused(UNKNOWN);
	pin(&other_key);
	serve(&w, 2);
	assert_refused(NOT_PINNED);
}

/* ---- Sessions --------------------------------------------------------------------------------- */

static void
a_session_is_resumed(void **state)
{
	const char *dot[] = {"dot"};

	(void)state;
	serve_with_cache(2);
	br_ssl_engine_set_protocol_names(&server.ctx.eng, dot, 1);
	assert_effort(TLS_FULL);
	assert_int_equal(past.session_id_len, 32);
	assert_int_equal(past.session_ms, 5000);
	assert_true(past.until_s == MADE_NOT_AFTER);
	assert_string_equal(tls_protocol(client), "dot");
	for (int i = 0; i < 3; i++) {
		now.mono_ms += 1000;
		assert_effort(TLS_RESUMED);
		assert_string_equal(tls_protocol(client), "dot");
		assert_false(tls_without_clock(client));
		/* It does not get younger by that. */
		assert_int_equal(past.session_ms, 5000);
		assert_memory_equal(tls_cipher(client), "TLS 1.2 ECDHE-ECDSA ", 20);
	}
	/* Nobody asks for it without a past. */
	assert_opens();
	assert_int_equal(tls_effort(client), TLS_FULL);
}

static void
a_session_lasts_an_hour(void **state)
{
	(void)state;
	serve_with_cache(2);
	assert_effort(TLS_FULL);
	now.mono_ms = 5000 + TLS_SESSION_S * 1000 - 1;
	assert_effort(TLS_RESUMED);
	now.mono_ms++;
	assert_effort(TLS_KNOWN_LEAF);
	assert_int_equal(past.session_ms, now.mono_ms);
	assert_int_equal(past.leaf_ms, 5000);
	assert_effort(TLS_RESUMED);
}

static void
a_session_ends_with_the_first_certificate(void **state)
{
	struct cert_wish w = good(), ca = good_ca();

	(void)state;
	ca.not_after = MADE_NOW + 100;
	serve_three(&w, &ca, &root, 3);
	br_ssl_session_cache_lru_init(&cache, cache_store, sizeof(cache_store));
	br_ssl_server_set_cache(&server.ctx, &cache.vtable);
	assert_effort(TLS_FULL);
	assert_true(past.until_s == MADE_NOW + 100);
	now.utc_s = MADE_NOW + 100;
	assert_effort(TLS_RESUMED);
	now.utc_s++;
	shake_with(client, &past);
	assert_closed("certificate has expired (0 days ago)");
}

static void
a_server_that_does_not_resume_is_no_trouble(void **state)
{
	(void)state;
	serve_good(2);
	assert_effort(TLS_FULL);
	past.leaf_known = false;
	assert_effort(TLS_FULL);
	past.leaf_known = false;
	assert_effort(TLS_FULL);
	/* One that has restarted. */
	serve_with_cache(2);
	assert_effort(TLS_KNOWN_LEAF);
	assert_effort(TLS_RESUMED);
}

/* Whoever does not know the secret cannot go on with the session. */
static void
a_session_that_fails_is_dropped(void **state)
{
	(void)state;
	serve_with_cache(2);
	assert_effort(TLS_FULL);
	past.secret[7] ^= 1;
	shake_with(client, &past);
	assert_int_equal(tls_state(client), TLS_CLOSED);
	assert_int_equal(past.session_id_len, 0);
	assert_true(past.leaf_known);
	assert_effort(TLS_KNOWN_LEAF);
	assert_effort(TLS_RESUMED);
}

/* A server that hangs up on the offer says nothing in TLS. */
static void
a_session_that_comes_to_no_end_is_dropped(void **state)
{
	(void)state;
	serve_with_cache(2);
	assert_effort(TLS_FULL);
	assert_int_equal(tls_start(client, &rules, &past, &now), 0);
	assert_int_equal(past.session_id_len, 32);
	assert_effort(TLS_KNOWN_LEAF);
	/* One that was open and was ended is kept. */
	tls_close(client);
	assert_effort(TLS_RESUMED);
	assert_effort(TLS_RESUMED);
}

static void
two_sessions_share_a_past(void **state)
{
	(void)state;
	serve_with_cache(2);
	assert_effort(TLS_FULL);
	/* While one begins, the other goes all the way; then the first. */
	assert_int_equal(tls_start(client, &rules, &past, &now), 0);
	shake_with(second, &past);
	assert_int_equal(tls_state(second), TLS_OPEN);
	assert_int_equal(tls_effort(second), TLS_RESUMED);
	server_start(&server);
	converse(client);
	assert_int_equal(tls_state(client), TLS_OPEN);
	assert_int_equal(tls_effort(client), TLS_RESUMED);
}

/* The one that began earlier knows a leaf whose chain ends sooner than what the other has learnt since. */
static void
the_sooner_end_counts_for_both(void **state)
{
	(void)state;
	serve_good(2);
	assert_effort(TLS_FULL);
	past.session_id_len = 0;
	past.until_s = MADE_NOW + 50;
	assert_int_equal(tls_start(client, &rules, &past, &now), 0);
	past.until_s = MADE_NOT_AFTER;
	server_start(&server);
	converse(client);
	assert_int_equal(tls_effort(client), TLS_KNOWN_LEAF);
	assert_true(past.until_s == MADE_NOW + 50);
}

static void
a_pinned_leaf_leaves_a_session_and_no_known_leaf(void **state)
{
	(void)state;
	rules.name = "";
	pin(&key);
	now.utc_s = 0;
	serve_with_cache(1);
	assert_effort(TLS_FULL);
	assert_false(past.leaf_known);
	assert_effort(TLS_RESUMED);
	now.mono_ms += TLS_SESSION_S * 1000;
	assert_effort(TLS_FULL);
}

/* ---- Known certificates ----------------------------------------------------------------------- */

static void
a_known_leaf_needs_no_chain_for_a_day(void **state)
{
	(void)state;
	serve_good(2);
	assert_effort(TLS_FULL);
	assert_true(past.leaf_known);
	serve_good(1); /* the same, for signatures here are always the same */
	assert_effort(TLS_KNOWN_LEAF);
	now.mono_ms = 5000 + UINT64_C(1000) * TLS_LEAF_S - 1;
	assert_effort(TLS_KNOWN_LEAF);
	assert_int_equal(past.leaf_ms, 5000);
	now.mono_ms++;
	shake_with(client, &past);
	assert_closed(UNKNOWN);
	serve_good(2);
	assert_effort(TLS_FULL);
	assert_int_equal(past.leaf_ms, now.mono_ms);
}

static void
another_leaf_of_the_same_name_is_not_known(void **state)
{
	struct cert_wish w = good();

	(void)state;
	serve(&w, 2);
	assert_effort(TLS_FULL);
	/* Same name and key, other octets: only the whole certificate is known. */
	w.not_before = MADE_NOT_BEFORE + 1;
	serve(&w, 1);
	shake_with(client, &past);
	assert_closed(UNKNOWN);
	assert_true(past.leaf_known);
	serve(&w, 2);
	assert_effort(TLS_FULL);
	w.signer = &other_key;
	w.not_before = 0;
	serve(&w, 2);
	shake_with(client, &past);
	assert_closed(BROKEN);
	serve_good(2);
	assert_effort(TLS_FULL);
	assert_effort(TLS_KNOWN_LEAF);
}

static void
of_a_known_leaf_name_dates_and_purpose_are_checked(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.not_after = MADE_NOW + 1000;
	serve(&w, 2);
	assert_effort(TLS_FULL);
	rules.name = "other.example";
	shake_with(client, &past);
	assert_closed("certificate does not name other.example");
	assert_false(past.leaf_known);
	rules.name = NAME;
	assert_effort(TLS_FULL);
	assert_effort(TLS_KNOWN_LEAF);
	rules.name = "";
	shake_with(client, &past);
	assert_closed("certificate does not name 198.51.100.7");
	rules.name = NAME;
	assert_effort(TLS_FULL);
	past.until_s = INT64_MAX;
	now.utc_s = MADE_NOW + 1001;
	shake_with(client, &past);
	assert_closed("certificate has expired (0 days ago)");
	assert_false(past.leaf_known);
}

/* Its issuer has ended: the leaf alone does not tell. */
static void
a_known_leaf_ends_with_its_chain(void **state)
{
	struct cert_wish w = good(), ca = good_ca();

	(void)state;
	ca.not_after = MADE_NOW + 100;
	serve_three(&w, &ca, &root, 2);
	assert_effort(TLS_FULL);
	now.utc_s = MADE_NOW + 100;
	assert_effort(TLS_KNOWN_LEAF);
	now.utc_s++;
	shake_with(client, &past);
	assert_closed("certificate has expired (0 days ago)");
}

static void
whoever_copies_a_known_leaf_cannot_use_it(void **state)
{
	struct cert_wish w = good();

	(void)state;
	serve(&w, 2);
	assert_effort(TLS_FULL);
	server_init(&server, &other_key, &leaf.x509, 1);
	shake_with(client, &past);
	assert_int_equal(tls_state(client), TLS_CLOSED);
	assert_string_equal(tls_trouble(client), "handshake was changed on the way");
	assert_false(past.leaf_known);
	serve(&w, 2);
	assert_effort(TLS_FULL);
}

static void
a_known_leaf_remembers_that_its_pins_held(void **state)
{
	const struct made_key *keys[] = {&key, &ca_key, &root_key};

	(void)state;
	for (int given = 0; given < 2; given++)
		for (size_t i = given == 0; i < 3; i++) {
			memset(&past, 0, sizeof(past));
			rules.trust_given = given != 0;
			pin_only(keys[i]);
			serve_good(2);
			assert_effort(TLS_FULL);
			serve_good(1);
			assert_effort(TLS_KNOWN_LEAF);
		}
}

static void
a_refused_server_teaches_nothing(void **state)
{
	struct cert_wish w = good();

	(void)state;
	serve_with_cache(1);
	assert_teaches_nothing(UNKNOWN);
	w.san = "other.example";
	serve(&w, 2);
	assert_teaches_nothing("certificate does not name " NAME);
	w = good();
	w.eku = MADE_EKU_CLIENT;
	serve(&w, 2);
	assert_teaches_nothing("certificate is not for servers (extended key usage)");
	pin(&other_key);
	serve_with_cache(2);
	assert_teaches_nothing(NOT_PINNED);
	rules.trust_given = true;
	assert_teaches_nothing(NOT_PINNED);
	rules.name = "";
	pin_only(&ca_key);
	assert_teaches_nothing(NEEDS_NAME);
}

/* ---- Pasts without a clock -------------------------------------------------------------------- */

static void
what_was_learnt_without_a_clock_is_void_once_it_is_set(void **state)
{
	struct cert_wish w = good();

	(void)state;
	now.unset = true;
	w.not_before = MADE_NOW + 86400;
	serve(&w, 2);
	br_ssl_session_cache_lru_init(&cache, cache_store, sizeof(cache_store));
	br_ssl_server_set_cache(&server.ctx, &cache.vtable);
	assert_effort(TLS_FULL);
	assert_true(tls_without_clock(client));
	assert_true(past.without_clock);
	assert_effort(TLS_RESUMED);
	assert_true(tls_without_clock(client));
	past.session_id_len = 0;
	assert_effort(TLS_KNOWN_LEAF);
	assert_true(tls_without_clock(client));
	assert_true(past.without_clock);
	/* Nothing of the past is used, and nothing passed over. */
	serve_good(2);
	assert_effort(TLS_FULL);
	assert_false(tls_without_clock(client));
	serve(&w, 2);
	br_ssl_server_set_cache(&server.ctx, &cache.vtable);
	past.session_id_len = 0;
	assert_effort(TLS_FULL);
	/* The clock is set, and right. */
	now.unset = false;
	now.utc_s = MADE_NOW + 86401;
	assert_effort(TLS_FULL);
	assert_false(tls_without_clock(client));
	assert_false(past.without_clock);
	assert_effort(TLS_RESUMED);
	/* The clock is set, and the certificate is of the future indeed. */
	now.unset = true;
	now.utc_s = MADE_NOW;
	memset(&past, 0, sizeof(past));
	assert_effort(TLS_FULL);
	now.unset = false;
	shake_with(client, &past);
	assert_closed("certificate is not yet valid (for 1 days, by our clock)");
	assert_int_equal(past.session_id_len, 0);
	assert_false(past.leaf_known);
}

/* The issuer's start was passed over: a known leaf alone would not tell. */
static void
a_known_leaf_tells_that_its_issuer_was_passed_over(void **state)
{
	struct cert_wish w = good(), ca = good_ca();

	(void)state;
	now.unset = true;
	ca.not_before = MADE_NOW + 86400;
	serve_three(&w, &ca, &root, 2);
	assert_effort(TLS_FULL);
	past.session_id_len = 0;
	assert_effort(TLS_KNOWN_LEAF);
	assert_true(tls_without_clock(client));
	assert_true(past.without_clock);
	now.unset = false;
	shake_with(client, &past);
	assert_closed("certificate is not yet valid (for 1 days, by our clock)");
}

/* ---- Who watches, and what was agreed --------------------------------------------------------- */

static struct {
	size_t count, len[12];
	uint8_t first[CERT_MAX];
} shown;

static void
watch(void *ctx, const uint8_t *der, size_t len)
{
	assert_ptr_equal(ctx, &shown);
	assert_true(shown.count < 12);
	if (shown.count == 0)
		memcpy(shown.first, der, len);
	shown.len[shown.count++] = len;
}

static void
the_chain_is_shown_as_it_came(void **state)
{
	struct cert_wish w = good();

	(void)state;
	tls_watch_chain(client, watch, &shown);
	/* Refused for its first certificate: all are shown. */
	w.san = NULL;
	for (int i = 0; i < 2; i++) {
		shown.count = 0;
		serve(&w, 3);
		shake_with(client, NULL);
		assert_int_equal(tls_state(client), i == 0 ? TLS_CLOSED : TLS_OPEN);
		assert_int_equal(shown.count, 3);
		assert_int_equal(shown.len[0], leaf.der.len);
		assert_memory_equal(shown.first, leaf.der.buf, leaf.der.len);
		assert_int_equal(shown.len[1], middle.der.len);
		assert_int_equal(shown.len[2], root.der.len);
		w.san = NAME;
	}
	/* One that is too large is not; the others are. */
	shown.count = 0;
	w.san_filler = CERT_MAX;
	serve(&w, 2);
	assert_refused("certificate is larger than 16384 octets");
	assert_int_equal(shown.count, 1);
	assert_int_equal(shown.len[0], middle.der.len);
	/* A session that is resumed has none to show. */
	serve_with_cache(2);
	assert_effort(TLS_FULL);
	shown.count = 0;
	assert_effort(TLS_RESUMED);
	assert_int_equal(shown.count, 0);
	tls_watch_chain(client, NULL, NULL);
	assert_opens();
	assert_int_equal(shown.count, 0);
}

static void
a_protocol_is_what_the_server_says(void **state)
{
	const char *dot[] = {"dot"};

	(void)state;
	serve_good(2);
	br_ssl_engine_set_protocol_names(&server.ctx.eng, dot, 1);
	assert_opens();
	assert_string_equal(tls_protocol(client), "dot");
	serve_good(2);
	assert_opens();
	assert_null(tls_protocol(client));
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_pinned_leaf_needs_neither_chain_nor_clock_nor_name),
		TEST(a_pinned_leaf_may_be_for_anything),
		TEST(a_pinned_leaf_must_have_the_name_that_is_set),
		TEST(whoever_copies_a_pinned_leaf_cannot_use_it),
		TEST(a_wrong_pin_is_refused_whatever_the_chain),
		TEST(a_pin_of_one_bit_more_is_another),
		TEST(a_pinned_intermediate_is_enough),
		TEST(a_pinned_root_that_is_sent_along_is_enough),
		TEST(a_pinned_anchor_need_not_be_sent),
		TEST(an_issuer_pin_keeps_name_dates_and_purpose),
		TEST(an_issuer_pin_without_a_name_needs_the_address),
		TEST(a_pinned_issuer_that_has_signed_nothing_does_not_count),
		TEST(a_pinned_issuer_must_be_a_ca),
		TEST(with_anchors_both_must_hold),
		TEST(with_anchors_a_pinned_issuer_does_not_end_the_chain),
		TEST(with_anchors_a_pinned_leaf_needs_no_name),
		TEST(a_pinned_certificate_behind_the_anchor_does_not_count),
		TEST(two_anchors_of_one_name_do_not_help_each_other),
		TEST(an_anchor_that_is_the_leaf_does_not_speak_for_an_issuer),
		TEST(without_a_name_the_address_must_be_named),
		TEST(what_looks_like_the_address_does_not_count),
		TEST(beside_a_name_the_address_does_not_help),
		TEST(by_address_dates_and_purpose_bind),
		TEST(starts_are_passed_over_while_the_clock_is_unset),
		TEST(all_else_binds_while_the_clock_is_unset),
		TEST(a_session_is_resumed),
		TEST(a_session_lasts_an_hour),
		TEST(a_session_ends_with_the_first_certificate),
		TEST(a_server_that_does_not_resume_is_no_trouble),
		TEST(a_session_that_fails_is_dropped),
		TEST(a_session_that_comes_to_no_end_is_dropped),
		TEST(two_sessions_share_a_past),
		TEST(the_sooner_end_counts_for_both),
		TEST(a_pinned_leaf_leaves_a_session_and_no_known_leaf),
		TEST(a_known_leaf_needs_no_chain_for_a_day),
		TEST(another_leaf_of_the_same_name_is_not_known),
		TEST(of_a_known_leaf_name_dates_and_purpose_are_checked),
		TEST(a_known_leaf_ends_with_its_chain),
		TEST(whoever_copies_a_known_leaf_cannot_use_it),
		TEST(a_known_leaf_remembers_that_its_pins_held),
		TEST(a_refused_server_teaches_nothing),
		TEST(what_was_learnt_without_a_clock_is_void_once_it_is_set),
		TEST(a_known_leaf_tells_that_its_issuer_was_passed_over),
		TEST(the_chain_is_shown_as_it_came),
		TEST(a_protocol_is_what_the_server_says),
	};

	return cmocka_run_group_tests_name("verify", tests, make_keys, drop_keys);
}
