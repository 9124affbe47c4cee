/* SPDX-License-Identifier: MIT */
/* The TLS session against a server engine in the same process, with certificates and a date of the
 * test's choice. */
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
#include "trust.h"

#define NAME "dns.example"

static struct made_key root_key, other_key, ca_key, key, rsa_key, weak_key;
static struct made_cert root, rsa_root, leaf, middle;
static const struct trust *trust;
static void *trust_block;
static struct tls_server server;
static struct tls *client;

/* ---- A certificate, a server, a handshake ----------------------------------------------------- */

static int
make_keys(void **state)
{
	char pem[8192];
	size_t len, skipped;

	(void)state;
	made_key_ec(&root_key, "root", BR_EC_secp256r1);
	made_key_ec(&other_key, "other", BR_EC_secp256r1);
	made_key_ec(&ca_key, "ca", BR_EC_secp384r1);
	made_key_ec(&key, "leaf", BR_EC_secp256r1);
	made_key_rsa(&rsa_key, "rsa-5", 2048);
	made_key_rsa(&weak_key, "rsa-0", 1024);
	made_cert(&root, &(struct cert_wish){.name = "Root", .key = &root_key, .ca = true});
	made_cert(&rsa_root, &(struct cert_wish){.name = "RSA Root", .key = &rsa_key, .ca = true});
	len = made_pem(pem, sizeof(pem), &root, BR_PEM_LINE64);
	len += made_pem(pem + len, sizeof(pem) - len, &rsa_root, BR_PEM_LINE64);
	trust_block = calloc(1, trust_memory((const uint8_t *)pem, len));
	trust = trust_load(trust_block, (const uint8_t *)pem, len, &skipped);
	client = tls_init(calloc(1, tls_memory()));
	return trust == NULL || trust_count(trust) != 2 ? -1 : 0;
}

static int
drop_keys(void **state)
{
	(void)state;
	free(trust_block);
	free(client);
	return 0;
}

/* What a proper leaf has; tests change what they are about. */
static struct cert_wish
good(void)
{
	return (struct cert_wish){.name = "x", .issuer = "Root", .key = &key, .signer = &root_key, .san = NAME};
}

static void
serve(const struct cert_wish *w)
{
	made_cert(&leaf, w);
	server_init(&server, w->key, &leaf.x509, 1);
}

/* Moves octets between the two, at most piece at once, until neither has any for the other. */
static void
converse(size_t piece)
{
	uint8_t buf[4096];
	size_t n, moved, taken;

	do {
		moved = 0;
		while ((n = tls_drain(client, buf, piece)) > 0) {
			moved += server_feed(&server, buf, n);
			/* Nothing can be said before the server is known. */
			if (tls_state(client) != TLS_OPEN)
				assert_null(tls_write(client, &taken));
		}
		while ((n = server_drain(&server, buf, piece)) > 0) {
			taken = tls_feed(client, buf, n);
			moved += taken;
			if (taken < n)
				return;
		}
	} while (moved > 0);
}

/* By a name and anchors alone; test_verify.c has the other rules. */
static int
begin(const char *name, int64_t utc_s)
{
	static struct tls_rules rules;
	struct now now = {.mono_ms = 1000, .utc_s = utc_s};

	rules = (struct tls_rules){.name = name, .trust = trust};
	return tls_start(client, &rules, NULL, &now);
}

/* A handshake with the server as it was set up. */
static enum tls_state
shake(const char *name, int64_t utc_s)
{
	server_start(&server);
	assert_int_equal(begin(name, utc_s), 0);
	assert_int_equal(tls_state(client), TLS_SHAKING);
	assert_null(tls_trouble(client));
	converse(4096);
	return tls_state(client);
}

static void
assert_accepts(const struct cert_wish *w)
{
	serve(w);
	assert_int_equal(shake(NAME, MADE_NOW), TLS_OPEN);
	assert_null(tls_trouble(client));
	assert_false(tls_distrusts(client));
}

static void
assert_refused(const char *words)
{
	size_t room;

	assert_int_equal(tls_state(client), TLS_CLOSED);
	assert_non_null(tls_trouble(client));
	assert_string_equal(tls_trouble(client), words);
	assert_null(tls_write(client, &room));
	assert_false(server_is_open(&server));
}

static void
assert_distrusts(const struct cert_wish *w, const char *words)
{
	serve(w);
	shake(NAME, MADE_NOW);
	assert_refused(words);
	assert_true(tls_distrusts(client));
}

/* ---- Names ------------------------------------------------------------------------------------ */

static void
a_server_with_the_right_name_is_accepted(void **state)
{
	struct cert_wish w = good();

	(void)state;
	assert_accepts(&w);
	assert_string_equal(br_ssl_engine_get_server_name(&server.ctx.eng), NAME);
	assert_true(server_is_open(&server));
	assert_memory_equal(tls_cipher(client), "TLS 1.2 ECDHE-ECDSA ", 20);
}

static void
a_server_with_an_rsa_key_is_accepted(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.key = &rsa_key;
	assert_accepts(&w);
	assert_memory_equal(tls_cipher(client), "TLS 1.2 ECDHE-RSA ", 18);
	w.issuer = "RSA Root";
	w.signer = &rsa_key;
	assert_accepts(&w);
}

static void
a_server_with_a_p384_key_is_accepted(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.key = &ca_key;
	assert_accepts(&w);
}

static void
any_of_its_names_will_do(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.san = "a.example,b.example,DNS.Example,c.example";
	assert_accepts(&w);
}

static void
another_name_is_refused(void **state)
{
	static const char *const san[] = {"dns.example.com", "example",	      "ns.example", "xdns.example",
					  "dnsxexample",     "*.dns.example", "dns.exampl", "a,b,c"};
	struct cert_wish w = good();

	(void)state;
	for (size_t i = 0; i < sizeof(san) / sizeof(san[0]); i++) {
		w.san = san[i];
		assert_distrusts(&w, "certificate does not name " NAME);
	}
}

static void
a_wildcard_stands_for_one_label(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.san = "*.example";
	assert_accepts(&w);
	w.san = "*.two.example";
	serve(&w);
	assert_int_equal(shake("one.two.example", MADE_NOW), TLS_OPEN);
}

static void
a_wildcard_does_not_stand_for_two_labels_or_none(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.san = "*.example";
	serve(&w);
	shake("a.b.example", MADE_NOW);
	assert_refused("certificate does not name a.b.example");
	shake("example", MADE_NOW);
	assert_refused("certificate does not name example");
}

/* RFC 8310 section 8.1: the common name does not count. */
static void
a_common_name_alone_is_refused(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.name = NAME;
	w.san = NULL;
	assert_distrusts(&w, "certificate has no subjectAltName");
	w.eku = MADE_EKU_SERVER;
	assert_distrusts(&w, "certificate has no subjectAltName");
	w.v1 = true;
	assert_distrusts(&w, "certificate has no subjectAltName");
}

static void
a_common_name_does_not_help_a_wrong_alternative_name(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.name = NAME;
	w.san = "other.example";
	assert_distrusts(&w, "certificate does not name " NAME);
	w.san = "";
	assert_distrusts(&w, "certificate does not name " NAME);
}

/* ---- Dates ------------------------------------------------------------------------------------ */

static void
an_expired_certificate_is_refused(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.not_after = MADE_NOW - 3 * 86400 - 10;
	assert_distrusts(&w, "certificate has expired (3 days ago)");
}

static void
a_certificate_of_the_future_is_refused(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.not_before = MADE_NOW + 20000 * INT64_C(86400);
	w.not_after = w.not_before + 86400;
	assert_distrusts(&w, "certificate is not yet valid (for 20000 days, by our clock)");
}

static void
dates_count_to_the_second(void **state)
{
	struct cert_wish w = good();

	(void)state;
	serve(&w);
	assert_int_equal(shake(NAME, MADE_NOT_BEFORE), TLS_OPEN);
	assert_int_equal(shake(NAME, MADE_NOT_AFTER), TLS_OPEN);
	shake(NAME, MADE_NOT_BEFORE - 1);
	assert_refused("certificate is not yet valid (for 0 days, by our clock)");
	shake(NAME, MADE_NOT_AFTER + 1);
	assert_refused("certificate has expired (0 days ago)");
}

static void
a_clock_of_1970_is_named(void **state)
{
	struct cert_wish w = good();

	(void)state;
	serve(&w);
	shake(NAME, 0);
	assert_refused("certificate is not yet valid (for 18262 days, by our clock)");
}

static void
dates_of_issuers_count_too(void **state)
{
	br_x509_certificate chain[2];
	struct cert_wish w = good();

	(void)state;
	made_cert(&middle, &(struct cert_wish){.name = "CA",
					       .issuer = "Root",
					       .key = &ca_key,
					       .signer = &root_key,
					       .ca = true,
					       .not_after = MADE_NOW - 86400});
	w.issuer = "CA";
	w.signer = &ca_key;
	made_cert(&leaf, &w);
	chain[0] = leaf.x509;
	chain[1] = middle.x509;
	server_init(&server, &key, chain, 2);
	shake(NAME, MADE_NOW);
	assert_refused("certificate has expired (1 days ago)");
}

/* ---- Chains ----------------------------------------------------------------------------------- */

static void
serve_chain(const struct cert_wish *ca, size_t len)
{
	br_x509_certificate chain[3];
	struct cert_wish w = good();

	made_cert(&middle, ca);
	w.issuer = ca->name;
	w.signer = ca->key;
	made_cert(&leaf, &w);
	chain[0] = leaf.x509;
	chain[1] = middle.x509;
	chain[2] = root.x509;
	server_init(&server, &key, chain, len);
}

static struct cert_wish
good_ca(void)
{
	return (struct cert_wish){
		.name = "CA", .issuer = "Root", .key = &ca_key, .signer = &root_key, .ca = true};
}

static void
an_intermediate_may_stand_between(void **state)
{
	struct cert_wish ca = good_ca();

	(void)state;
	serve_chain(&ca, 2);
	assert_int_equal(shake(NAME, MADE_NOW), TLS_OPEN);
	serve_chain(&ca, 3);
	assert_int_equal(shake(NAME, MADE_NOW), TLS_OPEN);
}

static void
a_missing_intermediate_is_refused(void **state)
{
	struct cert_wish ca = good_ca();

	(void)state;
	serve_chain(&ca, 1);
	shake(NAME, MADE_NOW);
	assert_refused("certificate is not signed by a trust anchor");
}

static void
an_issuer_that_is_no_ca_is_refused(void **state)
{
	struct cert_wish ca = good_ca();

	(void)state;
	ca.ca = false;
	serve_chain(&ca, 2);
	shake(NAME, MADE_NOW);
	assert_refused("certificate chain holds an issuer that is no CA");
}

static void
a_chain_out_of_order_is_refused(void **state)
{
	br_x509_certificate chain[3];
	struct cert_wish ca = good_ca();

	(void)state;
	serve_chain(&ca, 2);
	chain[0] = leaf.x509;
	chain[1] = rsa_root.x509;
	chain[2] = middle.x509;
	server_init(&server, &key, chain, 3);
	shake(NAME, MADE_NOW);
	assert_refused("certificate chain is not in order");
}

static void
an_unknown_root_is_refused(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.issuer = "Nobody";
	w.signer = &other_key;
	assert_distrusts(&w, "certificate is not signed by a trust anchor");
	/* Signed by itself. */
	w.issuer = NULL;
	w.signer = NULL;
	assert_distrusts(&w, "certificate is not signed by a trust anchor");
}

static void
a_root_of_the_same_name_with_another_key_is_refused(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.signer = &other_key;
	serve(&w);
	shake(NAME, MADE_NOW);
	assert_int_equal(tls_state(client), TLS_CLOSED);
	assert_true(tls_distrusts(client));
	assert_non_null(tls_trouble(client));
}

static void
a_chain_of_more_than_ten_is_refused(void **state)
{
	br_x509_certificate chain[12];
	struct cert_wish w = good();

	(void)state;
	made_cert(&leaf, &w);
	chain[0] = leaf.x509;
	for (size_t i = 1; i < 12; i++)
		chain[i] = root.x509;
	server_init(&server, &key, chain, 10);
	assert_int_equal(shake(NAME, MADE_NOW), TLS_OPEN);
	server_init(&server, &key, chain, 11);
	shake(NAME, MADE_NOW);
	assert_refused("certificate chain is longer than 10");
	assert_true(tls_distrusts(client));
}

static void
a_large_certificate_is_accepted_up_to_the_bound(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.san_filler = CERT_MAX - 1000;
	assert_accepts(&w);
	w.san_filler = CERT_MAX;
	assert_distrusts(&w, "certificate is larger than 16384 octets");
}

/* The server's key is not the one in its certificate: whoever copies a chain cannot use it. */
static void
a_server_without_the_key_is_refused(void **state)
{
	struct cert_wish w = good();

	(void)state;
	made_cert(&leaf, &w);
	server_init(&server, &other_key, &leaf.x509, 1);
	assert_int_equal(shake(NAME, MADE_NOW), TLS_CLOSED);
	assert_string_equal(tls_trouble(client), "handshake was changed on the way");
}

/* ---- What a certificate is for, and how strong ------------------------------------------------ */

static void
a_certificate_for_servers_or_for_anything_is_accepted(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.eku = MADE_EKU_SERVER;
	assert_accepts(&w);
	w.eku = MADE_EKU_BOTH;
	assert_accepts(&w);
	w.eku = MADE_EKU_ANY;
	assert_accepts(&w);
}

static void
a_certificate_for_clients_only_is_refused(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.eku = MADE_EKU_CLIENT;
	assert_distrusts(&w, "certificate is not for servers (extended key usage)");
	w.eku = MADE_EKU_MAIL;
	assert_distrusts(&w, "certificate is not for servers (extended key usage)");
}

#define NOT_FOR_SERVERS "certificate is not for servers (extended key usage)"
#define CONSTRAINED "certificate chain holds name constraints, which are not supported"

static void
assert_chain_refused(const struct cert_wish *ca, const char *words)
{
	for (size_t len = 2; len <= 3; len++) {
		serve_chain(ca, len);
		shake(NAME, MADE_NOW);
		assert_refused(words);
		assert_true(tls_distrusts(client));
	}
}

/* RFC 5280 section 4.2.1.12: what a CA is for goes for all it signs. */
static void
an_intermediate_that_is_not_for_servers_is_refused(void **state)
{
	struct cert_wish ca = good_ca();

	(void)state;
	ca.eku = MADE_EKU_MAIL;
	assert_chain_refused(&ca, NOT_FOR_SERVERS);
	ca.eku = MADE_EKU_CLIENT;
	assert_chain_refused(&ca, NOT_FOR_SERVERS);
}

static void
an_intermediate_for_servers_or_for_anything_is_accepted(void **state)
{
	static const enum made_eku cases[] = {MADE_NO_EKU, MADE_EKU_SERVER, MADE_EKU_BOTH, MADE_EKU_ANY};
	struct cert_wish ca = good_ca();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ca.eku = cases[i];
		serve_chain(&ca, 2);
		assert_int_equal(shake(NAME, MADE_NOW), TLS_OPEN);
	}
}

/* RFC 5280 section 4.2.1.10: they bind whether critical or not, and the library looks at none; these
 * would even permit the name. */
static void
an_intermediate_with_name_constraints_is_refused(void **state)
{
	struct cert_wish ca = good_ca(), w = good();

	(void)state;
	ca.constraints = MADE_CONSTRAINTS;
	assert_chain_refused(&ca, CONSTRAINED);
	ca.constraints = MADE_CRITICAL_CONSTRAINTS;
	assert_chain_refused(&ca, CONSTRAINED);
	w.constraints = MADE_CONSTRAINTS;
	assert_distrusts(&w, CONSTRAINED);
}

/* leaf <- CA <- upper <- root. */
static void
serve_long_chain(const struct cert_wish *upper)
{
	static struct made_cert top;
	br_x509_certificate chain[3];
	struct cert_wish ca = good_ca(), w = good();

	made_cert(&top, upper);
	ca.issuer = upper->name;
	ca.signer = upper->key;
	made_cert(&middle, &ca);
	w.issuer = ca.name;
	w.signer = ca.key;
	made_cert(&leaf, &w);
	chain[0] = leaf.x509;
	chain[1] = middle.x509;
	chain[2] = top.x509;
	server_init(&server, &key, chain, 3);
}

static void
each_intermediate_on_the_way_to_the_anchor_counts(void **state)
{
	struct cert_wish upper = good_ca();

	(void)state;
	upper.name = "Upper CA";
	upper.key = &other_key;
	serve_long_chain(&upper);
	assert_int_equal(shake(NAME, MADE_NOW), TLS_OPEN);
	upper.eku = MADE_EKU_MAIL;
	serve_long_chain(&upper);
	shake(NAME, MADE_NOW);
	assert_refused(NOT_FOR_SERVERS);
	upper.eku = MADE_EKU_SERVER;
	upper.constraints = MADE_CONSTRAINTS;
	serve_long_chain(&upper);
	shake(NAME, MADE_NOW);
	assert_refused(CONSTRAINED);
	assert_true(tls_distrusts(client));
}

/* Some servers send the root along, or its twin that an older root has signed.  Once an anchor has
 * signed, it is no matter what these are for. */
static void
what_stands_behind_the_anchor_does_not_count(void **state)
{
	static struct made_cert behind;
	br_x509_certificate chain[3];
	struct cert_wish ca = good_ca(), w = good();
	struct cert_wish odd[] = {
		{.name = "Root", .key = &root_key, .ca = true, .eku = MADE_EKU_MAIL},
		{.name = "Root", .key = &root_key, .ca = true, .constraints = MADE_CONSTRAINTS},
		{.name = "Root", .key = &root_key, .ca = true, .constraints = MADE_CRITICAL_CONSTRAINTS},
		{.name = "Root",
		 .issuer = "Old",
		 .key = &root_key,
		 .signer = &other_key,
		 .ca = true,
		 .eku = MADE_EKU_MAIL,
		 .constraints = MADE_CONSTRAINTS},
		{.name = "Any", .key = &other_key, .eku = MADE_EKU_CLIENT},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		made_cert(&behind, &odd[i]);
		serve_chain(&ca, 2);
		chain[0] = leaf.x509;
		chain[1] = middle.x509;
		chain[2] = behind.x509;
		server_init(&server, &key, chain, 3);
		assert_int_equal(shake(NAME, MADE_NOW), TLS_OPEN);
		made_cert(&leaf, &w);
		chain[0] = leaf.x509;
		chain[1] = behind.x509;
		server_init(&server, &key, chain, 2);
		assert_int_equal(shake(NAME, MADE_NOW), TLS_OPEN);
	}
}

static void
an_rsa_key_of_1024_bits_is_refused(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.key = &weak_key;
	assert_distrusts(&w, "certificate key is too small (RSA below 2048 bits)");
}

static void
a_sha1_signature_is_refused(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.sha1 = true;
	serve(&w);
	shake(NAME, MADE_NOW);
	assert_int_equal(tls_state(client), TLS_CLOSED);
	assert_true(tls_distrusts(client));
	assert_non_null(strstr(tls_trouble(client), "SHA-1"));
	w.issuer = "RSA Root";
	w.signer = &rsa_key;
	serve(&w);
	shake(NAME, MADE_NOW);
	assert_true(tls_distrusts(client));
	assert_non_null(strstr(tls_trouble(client), "SHA-1"));
}

static void
an_unknown_critical_extension_is_refused(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.critical = true;
	assert_distrusts(&w, "certificate has an unknown critical extension");
}

static void
a_certificate_that_cannot_be_read_is_refused(void **state)
{
	struct cert_wish w = good();

	(void)state;
	made_cert(&leaf, &w);
	leaf.x509.data_len--;
	server_init(&server, &key, &leaf.x509, 1);
	shake(NAME, MADE_NOW);
	assert_refused("certificate cannot be read");
	leaf.x509.data_len = 0;
	server_init(&server, &key, &leaf.x509, 1);
	shake(NAME, MADE_NOW);
	assert_int_equal(tls_state(client), TLS_CLOSED);
	assert_non_null(tls_trouble(client));
}

static void
without_a_certificate_it_is_refused(void **state)
{
	(void)state;
	server_init(&server, &key, &leaf.x509, 0);
	assert_int_equal(shake(NAME, MADE_NOW), TLS_CLOSED);
	assert_non_null(tls_trouble(client));
}

/* One bit of the signature, of the key, of the name: each spoils it. */
static void
a_changed_certificate_is_refused(void **state)
{
	struct cert_wish w = good();

	(void)state;
	made_cert(&leaf, &w);
	for (size_t at = 4; at < leaf.der.len; at += 13) {
		leaf.der.buf[at] ^= 1;
		server_init(&server, &key, &leaf.x509, 1);
		shake(NAME, MADE_NOW);
		assert_int_equal(tls_state(client), TLS_CLOSED);
		leaf.der.buf[at] ^= 1;
	}
	server_init(&server, &key, &leaf.x509, 1);
	assert_int_equal(shake(NAME, MADE_NOW), TLS_OPEN);
}

/* ---- Versions, suites, protocols -------------------------------------------------------------- */

static void
what_is_older_than_tls_1_2_is_refused(void **state)
{
	struct cert_wish w = good();

	(void)state;
	serve(&w);
	br_ssl_engine_set_versions(&server.ctx.eng, BR_TLS10, BR_TLS11);
	shake(NAME, MADE_NOW);
	assert_refused("no common cipher suite (TLS 1.2, ECDHE with AES-GCM or ChaCha20)");
	assert_false(tls_distrusts(client));
	br_ssl_engine_set_versions(&server.ctx.eng, BR_TLS11, BR_TLS12);
	assert_int_equal(shake(NAME, MADE_NOW), TLS_OPEN);
}

static void
suites_without_aead_or_forward_secrecy_are_refused(void **state)
{
	static const uint16_t suites[] = {
		BR_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, BR_TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		BR_TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA,   BR_TLS_ECDH_ECDSA_WITH_AES_128_GCM_SHA256,
		BR_TLS_ECDHE_ECDSA_WITH_AES_128_CCM,	    BR_TLS_RSA_WITH_AES_128_GCM_SHA256,
	};
	struct cert_wish w = good();

	(void)state;
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		w.key = i < 5 ? &key : &rsa_key;
		serve(&w);
		br_ssl_engine_set_suites(&server.ctx.eng, &suites[i], 1);
		shake(NAME, MADE_NOW);
		assert_refused("no common cipher suite (TLS 1.2, ECDHE with AES-GCM or ChaCha20)");
		assert_false(tls_distrusts(client));
	}
}

static void
each_suite_that_is_offered_works_and_has_its_name(void **state)
{
	static const struct {
		uint16_t suite;
		const char *words;
	} cases[] = {
		{BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "TLS 1.2 ECDHE-ECDSA AES-128-GCM"},
		{BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "TLS 1.2 ECDHE-ECDSA AES-256-GCM"},
		{BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "TLS 1.2 ECDHE-ECDSA ChaCha20-Poly1305"},
		{BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "TLS 1.2 ECDHE-RSA AES-128-GCM"},
		{BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "TLS 1.2 ECDHE-RSA AES-256-GCM"},
		{BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "TLS 1.2 ECDHE-RSA ChaCha20-Poly1305"},
	};
	struct cert_wish w = good();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		w.key = i < 3 ? &key : &rsa_key;
		serve(&w);
		br_ssl_engine_set_suites(&server.ctx.eng, &cases[i].suite, 1);
		assert_int_equal(shake(NAME, MADE_NOW), TLS_OPEN);
		assert_string_equal(tls_cipher(client), cases[i].words);
	}
}

static void
the_protocol_is_offered_and_not_demanded(void **state)
{
	static const char *dot[] = {"dot"}, *h2[] = {"h2"};
	struct cert_wish w = good();

	(void)state;
	serve(&w);
	br_ssl_engine_set_protocol_names(&server.ctx.eng, dot, 1);
	assert_int_equal(shake(NAME, MADE_NOW), TLS_OPEN);
	assert_string_equal(br_ssl_engine_get_selected_protocol(&server.ctx.eng), "dot");
	br_ssl_engine_set_protocol_names(&server.ctx.eng, h2, 1);
	assert_int_equal(shake(NAME, MADE_NOW), TLS_OPEN);
	assert_null(br_ssl_engine_get_selected_protocol(&server.ctx.eng));
}

/* The server is not asked for small records; the largest query fits into one of ours. */
static void
records_have_room_both_ways(void **state)
{
	struct cert_wish w = good();
	size_t room = 0;

	(void)state;
	assert_accepts(&w);
	assert_non_null(br_ssl_engine_sendapp_buf(&server.ctx.eng, &room));
	assert_int_equal(room, 16384);
	assert_non_null(tls_write(client, &room));
	assert_true(room >= UPSTREAM_MSG_MAX + 2);
}

/* ---- What comes from the network -------------------------------------------------------------- */

static void
feed_words(const char *octets, size_t len, const char *words)
{
	uint8_t buf[1024];

	assert_int_equal(begin(NAME, MADE_NOW), 0);
	while (tls_drain(client, buf, sizeof(buf)) > 0)
		;
	tls_feed(client, (const uint8_t *)octets, len);
	while (tls_drain(client, buf, sizeof(buf)) > 0)
		;
	assert_int_equal(tls_state(client), TLS_CLOSED);
	assert_string_equal(tls_trouble(client), words);
	assert_false(tls_distrusts(client));
}

/* A greeting in the name of TLS 1.1, with a suite that we offered. */
static void
an_older_version_is_said_in_words(void **state)
{
	char hello[5 + 4 + 38] = "\x16\x03\x02\0\x2a\x02\0\0\x26\x03\x02";

	(void)state;
	memset(hello + 11, 'r', 32);
	memcpy(hello + 43, "\0\xc0\x2b\0", 4);
	feed_words(hello, sizeof(hello), "server does not speak TLS 1.2");
}

static void
what_is_no_tls_is_said_in_words(void **state)
{
	(void)state;
	feed_words("HTTP/1.1 400 Bad Request\r\n", 26, "not a TLS server");
	feed_words("SSH-2.0-OpenSSH_9.2\r\n", 21, "not a TLS server");
	feed_words("\0\x1d\x12\x34\x80\0\0\1\0\0", 10, "not a TLS server");
	feed_words("\x15\x03\x03\0\2\2\x46", 7, "server requires TLS 1.3");
	feed_words("\x15\x03\x01\0\2\2\x46", 7, "server requires TLS 1.3");
	feed_words("\x15\x03\x03\0\2\2\x28", 7,
		   "no common cipher suite (TLS 1.2, ECDHE with AES-GCM or ChaCha20)");
	feed_words("\x15\x03\x03\0\2\2\x70", 7, "server ended it with TLS alert 112");
	feed_words("\x16\x03\x03\xff\xff", 5, "server sent an oversized record, or one that is too short");
}

static void
octet_by_octet_it_is_the_same(void **state)
{
	struct cert_wish w = good();

	(void)state;
	serve(&w);
	server_start(&server);
	assert_int_equal(begin(NAME, MADE_NOW), 0);
	converse(1);
	assert_int_equal(tls_state(client), TLS_OPEN);
	w.san = "other.example";
	serve(&w);
	server_start(&server);
	assert_int_equal(begin(NAME, MADE_NOW), 0);
	converse(1);
	assert_refused("certificate does not name " NAME);
}

/* ECDSA signatures differ in length from one handshake to the next by a few octets. */
#define SPREAD 10u

/* Moves the handshake on until limit octets have come from the server.  Returns how many came. */
static size_t
shake_up_to(size_t limit, size_t flip)
{
	uint8_t buf[16384];
	size_t n, came = 0, room, moved;

	server_start(&server);
	assert_int_equal(begin(NAME, MADE_NOW), 0);
	do {
		moved = 0;
		while ((n = tls_drain(client, buf, sizeof(buf))) > 0)
			moved += server_feed(&server, buf, n);
		while (came < limit &&
		       (n = server_drain(&server, buf,
					 limit - came < sizeof(buf) ? limit - came : sizeof(buf))) > 0) {
			if (flip >= came && flip < came + n)
				buf[flip - came] ^= 0x40;
			assert_true(tls_feed(client, buf, n) == n || tls_state(client) == TLS_CLOSED);
			came += n;
			moved += n;
		}
		if (tls_state(client) != TLS_OPEN)
			assert_null(tls_write(client, &room));
	} while (moved > 0);
	return came;
}

static void
cut_anywhere_it_is_not_open(void **state)
{
	struct cert_wish w = good();
	size_t all;

	(void)state;
	serve(&w);
	all = shake_up_to(SIZE_MAX, SIZE_MAX);
	assert_int_equal(tls_state(client), TLS_OPEN);
	for (size_t limit = 0; limit + SPREAD < all; limit += limit + 60 < all ? 29 : 1) {
		shake_up_to(limit, SIZE_MAX);
		assert_int_equal(tls_state(client), TLS_SHAKING);
		assert_null(tls_trouble(client));
	}
}

static void
changed_anywhere_it_is_not_open(void **state)
{
	struct cert_wish w = good();
	size_t all;

	(void)state;
	serve(&w);
	all = shake_up_to(SIZE_MAX, SIZE_MAX);
	for (size_t flip = 0; flip + SPREAD < all; flip += flip + 60 < all ? 17 : 1) {
		shake_up_to(SIZE_MAX, flip);
		assert_int_not_equal(tls_state(client), TLS_OPEN);
		if (tls_state(client) == TLS_CLOSED)
			assert_non_null(tls_trouble(client));
	}
}

static void
a_changed_record_ends_an_open_session(void **state)
{
	struct cert_wish w = good();
	uint8_t buf[256], *data;
	size_t n;

	(void)state;
	assert_accepts(&w);
	assert_int_equal(server_write(&server, (const uint8_t *)"answer", 6), 6);
	n = server_drain(&server, buf, sizeof(buf));
	buf[n - 1] ^= 1;
	tls_feed(client, buf, n);
	assert_int_equal(tls_read(client, &data), 0);
	converse(4096);
	assert_int_equal(tls_state(client), TLS_CLOSED);
	assert_string_equal(tls_trouble(client), "server sent a record that was changed on the way");
	assert_false(tls_distrusts(client));
}

/* ---- Application octets ----------------------------------------------------------------------- */

static uint8_t
octet_at(size_t i)
{
	return (uint8_t)(i * 31 + i / 256);
}

static void
questions_of_all_sizes_arrive_one_a_record(void **state)
{
	struct cert_wish w = good();
	uint8_t wire[8192], got[8192] = {0};
	size_t room, n;

	(void)state;
	assert_accepts(&w);
	for (size_t len = 1; len <= UPSTREAM_MSG_MAX + 2; len += len < 300 ? 1 : 97) {
		uint8_t *p = tls_write(client, &room);

		assert_non_null(p);
		assert_true(room >= len);
		for (size_t i = 0; i < len; i++)
			p[i] = octet_at(i);
		tls_write_done(client, len);
		assert_true(tls_wants_drain(client));
		n = tls_drain(client, wire, sizeof(wire));
		assert_false(tls_wants_drain(client));
		assert_in_range(n, len + 5 + 16, len + 5 + 24);
		assert_int_equal(wire[0], 0x17);
		assert_int_equal(wire[3] * 256 + wire[4], n - 5);
		assert_int_equal(server_feed(&server, wire, n), n);
		assert_int_equal(server_read(&server, got, sizeof(got)), len);
		for (size_t i = 0; i < len; i++)
			assert_int_equal(got[i], octet_at(i));
	}
}

static void
answers_of_all_sizes_arrive(void **state)
{
	static uint8_t answer[16384], wire[20000];
	struct cert_wish w = good();
	uint8_t *data;

	(void)state;
	for (size_t i = 0; i < sizeof(answer); i++)
		answer[i] = octet_at(i);
	assert_accepts(&w);
	for (size_t len = 1; len <= sizeof(answer); len = len == 16000 ? 16384 : len + (len < 300 ? 1 : 785)) {
		size_t n, got = 0;

		assert_int_equal(server_write(&server, answer, len), len);
		n = server_drain(&server, wire, sizeof(wire));
		assert_int_equal(tls_feed(client, wire, n), n);
		/* In two steps: what is not taken stays. */
		assert_int_equal(tls_read(client, &data), len);
		assert_memory_equal(data, answer, len);
		tls_read_done(client, len / 3);
		got = tls_read(client, &data);
		assert_int_equal(got, len - len / 3);
		assert_memory_equal(data, answer + len / 3, got);
		tls_read_done(client, got);
		assert_int_equal(tls_read(client, &data), 0);
	}
	assert_int_equal(tls_state(client), TLS_OPEN);
}

/* The engine takes no more while octets wait to be read; nothing is lost. */
static void
feeding_stops_while_octets_wait_to_be_read(void **state)
{
	struct cert_wish w = good();
	uint8_t wire[1000], *data;
	size_t n = 0, taken, records = 0;

	(void)state;
	assert_accepts(&w);
	for (int i = 0; i < 5; i++) {
		uint8_t octet = (uint8_t)i;

		server_write(&server, &octet, 1);
		n += server_drain(&server, wire + n, sizeof(wire) - n);
	}
	for (size_t at = 0; at < n; at += taken) {
		taken = tls_feed(client, wire + at, n - at);
		assert_true(taken > 0);
		assert_int_equal(tls_read(client, &data), 1);
		assert_int_equal(data[0], records++);
		tls_read_done(client, 1);
	}
	assert_int_equal(records, 5);
}

/* ---- The end ---------------------------------------------------------------------------------- */

static void
a_regular_end_by_us_is_no_trouble(void **state)
{
	struct cert_wish w = good();
	size_t room;

	(void)state;
	assert_accepts(&w);
	tls_close(client);
	assert_null(tls_write(client, &room));
	assert_true(tls_wants_drain(client));
	converse(4096);
	assert_int_equal(br_ssl_engine_current_state(&server.ctx.eng), BR_SSL_CLOSED);
	assert_int_equal(br_ssl_engine_last_error(&server.ctx.eng), BR_ERR_OK);
	assert_int_equal(tls_state(client), TLS_CLOSED);
	assert_null(tls_trouble(client));
}

static void
octets_unread_do_not_hold_up_the_end(void **state)
{
	struct cert_wish w = good();
	uint8_t wire[1000];
	size_t n;

	(void)state;
	assert_accepts(&w);
	server_write(&server, (const uint8_t *)"late", 4);
	n = server_drain(&server, wire, sizeof(wire));
	tls_feed(client, wire, n);
	tls_close(client);
	n = tls_drain(client, wire, sizeof(wire));
	assert_true(n > 0);
	server_feed(&server, wire, n);
	converse(4096);
	assert_int_equal(tls_state(client), TLS_CLOSED);
	assert_null(tls_trouble(client));
}

static void
a_regular_end_by_the_server_is_no_trouble(void **state)
{
	struct cert_wish w = good();

	(void)state;
	assert_accepts(&w);
	br_ssl_engine_close(&server.ctx.eng);
	converse(4096);
	assert_int_equal(tls_state(client), TLS_CLOSED);
	assert_null(tls_trouble(client));
}

/* The last answer and the end come in one piece. */
static void
an_answer_right_before_the_end_is_not_lost(void **state)
{
	struct cert_wish w = good();
	uint8_t wire[1000], *data;
	size_t n, taken;

	(void)state;
	assert_accepts(&w);
	server_write(&server, (const uint8_t *)"last", 4);
	n = server_drain(&server, wire, sizeof(wire));
	br_ssl_engine_close(&server.ctx.eng);
	n += server_drain(&server, wire + n, sizeof(wire) - n);
	taken = tls_feed(client, wire, n);
	assert_int_equal(tls_read(client, &data), 4);
	assert_memory_equal(data, "last", 4);
	tls_read_done(client, 4);
	tls_feed(client, wire + taken, n - taken);
	tls_drain(client, wire, sizeof(wire));
	assert_int_equal(tls_state(client), TLS_CLOSED);
	assert_null(tls_trouble(client));
}

static void
a_closed_session_takes_and_gives_nothing(void **state)
{
	struct cert_wish w = good();
	uint8_t buf[100] = {0}, *data;

	(void)state;
	assert_accepts(&w);
	br_ssl_engine_close(&server.ctx.eng);
	converse(4096);
	assert_int_equal(tls_feed(client, buf, sizeof(buf)), 0);
	assert_int_equal(tls_drain(client, buf, sizeof(buf)), 0);
	assert_int_equal(tls_read(client, &data), 0);
	assert_false(tls_wants_drain(client));
}

/* The server takes the refusal badly; that is its affair. */
static void
renegotiation_is_refused(void **state)
{
	struct cert_wish w = good();

	(void)state;
	assert_accepts(&w);
	assert_int_equal(br_ssl_engine_renegotiate(&server.ctx.eng), 1);
	converse(4096);
	assert_int_equal(br_ssl_engine_last_error(&server.ctx.eng),
			 BR_ERR_RECV_FATAL_ALERT + BR_ALERT_NO_RENEGOTIATION);
	assert_int_equal(tls_state(client), TLS_OPEN);
	assert_null(tls_trouble(client));
}

/* One block serves connection after connection, however the last one ended. */
static void
a_session_begins_again_without_a_trace(void **state)
{
	struct cert_wish w = good();
	uint8_t first[300], second[300];

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_accepts(&w);
		serve(&w);
		shake("other.example", MADE_NOW);
		assert_refused("certificate does not name other.example");
		serve(&w);
		shake(NAME, MADE_NOW + 20 * 366 * INT64_C(86400));
		assert_true(tls_distrusts(client));
	}
	feed_words("\x15\x03\x03\0\2\2\x46", 7, "server requires TLS 1.3");
	/* In the middle of a handshake. */
	begin(NAME, MADE_NOW);
	tls_drain(client, first, 100);
	begin(NAME, MADE_NOW);
	assert_accepts(&w);
	/* Two greetings are never the same: their random octets differ. */
	begin(NAME, MADE_NOW);
	tls_drain(client, first, sizeof(first));
	begin(NAME, MADE_NOW);
	tls_drain(client, second, sizeof(second));
	assert_memory_not_equal(first + 11, second + 11, 32);
}

static void
before_its_start_it_is_not_open(void **state)
{
	void *block = calloc(1, tls_memory());
	struct tls *t = tls_init(block);
	uint8_t buf[10], *data;
	size_t room;

	(void)state;
	assert_int_not_equal(tls_state(t), TLS_OPEN);
	assert_int_equal(tls_drain(t, buf, sizeof(buf)), 0);
	assert_int_equal(tls_read(t, &data), 0);
	assert_null(tls_write(t, &room));
	free(block);
}

/* A home server: its own certificate is the trust anchor. */
static void
a_certificate_that_is_an_anchor_itself_is_accepted(void **state)
{
	struct cert_wish w = good();
	char pem[4096];
	size_t len, skipped;
	const struct trust *before = trust;
	void *anchors;

	(void)state;
	w.issuer = NULL;
	w.signer = NULL;
	serve(&w);
	len = made_pem(pem, sizeof(pem), &leaf, 0);
	anchors = calloc(1, trust_memory((const uint8_t *)pem, len));
	trust = trust_load(anchors, (const uint8_t *)pem, len, &skipped);
	assert_int_equal(shake(NAME, MADE_NOW), TLS_OPEN);
	shake("other.example", MADE_NOW);
	assert_refused("certificate does not name other.example");
	/* It is no CA: what it signs is not trusted. */
	w.issuer = "x";
	w.signer = &key;
	w.key = &other_key;
	w.name = "y";
	serve(&w);
	shake(NAME, MADE_NOW);
	assert_refused("certificate is not signed by a trust anchor");
	trust = before;
	free(anchors);
}

static void
the_library_is_named(void **state)
{
	(void)state;
	assert_string_equal(tls_library(), "BearSSL 0.6");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_with_the_right_name_is_accepted),
		cmocka_unit_test(a_server_with_an_rsa_key_is_accepted),
		cmocka_unit_test(a_server_with_a_p384_key_is_accepted),
		cmocka_unit_test(any_of_its_names_will_do),
		cmocka_unit_test(another_name_is_refused),
		cmocka_unit_test(a_wildcard_stands_for_one_label),
		cmocka_unit_test(a_wildcard_does_not_stand_for_two_labels_or_none),
		cmocka_unit_test(a_common_name_alone_is_refused),
		cmocka_unit_test(a_common_name_does_not_help_a_wrong_alternative_name),
		cmocka_unit_test(an_expired_certificate_is_refused),
		cmocka_unit_test(a_certificate_of_the_future_is_refused),
		cmocka_unit_test(dates_count_to_the_second),
		cmocka_unit_test(a_clock_of_1970_is_named),
		cmocka_unit_test(dates_of_issuers_count_too),
		cmocka_unit_test(an_intermediate_may_stand_between),
		cmocka_unit_test(a_missing_intermediate_is_refused),
		cmocka_unit_test(an_issuer_that_is_no_ca_is_refused),
		cmocka_unit_test(a_chain_out_of_order_is_refused),
		cmocka_unit_test(an_unknown_root_is_refused),
		cmocka_unit_test(a_root_of_the_same_name_with_another_key_is_refused),
		cmocka_unit_test(a_chain_of_more_than_ten_is_refused),
		cmocka_unit_test(a_large_certificate_is_accepted_up_to_the_bound),
		cmocka_unit_test(a_server_without_the_key_is_refused),
		cmocka_unit_test(a_certificate_for_servers_or_for_anything_is_accepted),
		cmocka_unit_test(a_certificate_for_clients_only_is_refused),
		cmocka_unit_test(an_intermediate_that_is_not_for_servers_is_refused),
		cmocka_unit_test(an_intermediate_for_servers_or_for_anything_is_accepted),
		cmocka_unit_test(an_intermediate_with_name_constraints_is_refused),
		cmocka_unit_test(each_intermediate_on_the_way_to_the_anchor_counts),
		cmocka_unit_test(what_stands_behind_the_anchor_does_not_count),
		cmocka_unit_test(an_rsa_key_of_1024_bits_is_refused),
		cmocka_unit_test(a_sha1_signature_is_refused),
		cmocka_unit_test(an_unknown_critical_extension_is_refused),
		cmocka_unit_test(a_certificate_that_cannot_be_read_is_refused),
		cmocka_unit_test(without_a_certificate_it_is_refused),
		cmocka_unit_test(a_changed_certificate_is_refused),
		cmocka_unit_test(what_is_older_than_tls_1_2_is_refused),
		cmocka_unit_test(suites_without_aead_or_forward_secrecy_are_refused),
		cmocka_unit_test(each_suite_that_is_offered_works_and_has_its_name),
		cmocka_unit_test(the_protocol_is_offered_and_not_demanded),
		cmocka_unit_test(records_have_room_both_ways),
		cmocka_unit_test(an_older_version_is_said_in_words),
		cmocka_unit_test(what_is_no_tls_is_said_in_words),
		cmocka_unit_test(octet_by_octet_it_is_the_same),
		cmocka_unit_test(cut_anywhere_it_is_not_open),
		cmocka_unit_test(changed_anywhere_it_is_not_open),
		cmocka_unit_test(a_changed_record_ends_an_open_session),
		cmocka_unit_test(questions_of_all_sizes_arrive_one_a_record),
		cmocka_unit_test(answers_of_all_sizes_arrive),
		cmocka_unit_test(feeding_stops_while_octets_wait_to_be_read),
		cmocka_unit_test(a_regular_end_by_us_is_no_trouble),
		cmocka_unit_test(octets_unread_do_not_hold_up_the_end),
		cmocka_unit_test(a_regular_end_by_the_server_is_no_trouble),
		cmocka_unit_test(an_answer_right_before_the_end_is_not_lost),
		cmocka_unit_test(a_closed_session_takes_and_gives_nothing),
		cmocka_unit_test(renegotiation_is_refused),
		cmocka_unit_test(a_session_begins_again_without_a_trace),
		cmocka_unit_test(before_its_start_it_is_not_open),
		cmocka_unit_test(a_certificate_that_is_an_anchor_itself_is_accepted),
		cmocka_unit_test(the_library_is_named),
	};

	return cmocka_run_group_tests_name("tls", tests, make_keys, drop_keys);
}
