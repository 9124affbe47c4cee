/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bounds.h"
#include "bundle.h"
#include "certs.h"
#include "trust.h"

static struct made_key ec_key, rsa_key;
static struct made_cert ec_root, rsa_root, leaf;
static char pem[65536], ec_pem[4096], rsa_pem[4096];

static void *block;
static const struct trust *trust;
static size_t skipped;

/* Loads from memory, and into memory, of exactly their sizes. */
static const struct trust *
load(const void *text, size_t len)
{
	uint8_t *exact = malloc(len != 0 ? len : 1);

	assert_non_null(exact);
	if (len != 0)
		memcpy(exact, text, len);
	free(block);
	block = malloc(trust_memory(exact, len));
	assert_non_null(block);
	skipped = SIZE_MAX;
	trust = trust_load(block, exact, len, &skipped);
	free(exact); /* nothing of it stays in use */
	return trust;
}

static const struct trust *
load_text(const char *text)
{
	return load(text, strlen(text));
}

static const br_x509_trust_anchor *
anchor(size_t i)
{
	assert_true(i < trust_count(trust));
	return (const br_x509_trust_anchor *)trust_anchors(trust) + i;
}

static void
assert_is(const br_x509_trust_anchor *ta, const char *common_name, const struct made_key *key)
{
	static struct made_der name;

	name.len = 0;
	der_name(&name, common_name);
	assert_int_equal(ta->dn.len, name.len);
	assert_memory_equal(ta->dn.data, name.buf, name.len);
	assert_int_equal(ta->pkey.key_type, key->type);
	if (key->type == BR_KEYTYPE_EC) {
		assert_int_equal(ta->pkey.key.ec.curve, key->ec.curve);
		assert_int_equal(ta->pkey.key.ec.qlen, key->ec_public.qlen);
		assert_memory_equal(ta->pkey.key.ec.q, key->ec_public.q, key->ec_public.qlen);
	} else {
		assert_int_equal(ta->pkey.key.rsa.nlen, key->rsa_public.nlen);
		assert_memory_equal(ta->pkey.key.rsa.n, key->rsa_public.n, key->rsa_public.nlen);
		assert_int_equal(ta->pkey.key.rsa.elen, 3);
		assert_memory_equal(ta->pkey.key.rsa.e, "\1\0\1", 3);
	}
}

static void
assert_pin(size_t i, const struct made_key *key)
{
	static struct made_der spki;
	br_sha256_context hash;
	uint8_t sha256[32];

	spki.len = 0;
	der_spki(&spki, key);
	br_sha256_init(&hash);
	br_sha256_update(&hash, spki.buf, spki.len);
	br_sha256_out(&hash, sha256);
	assert_memory_equal(trust_pin(trust, i)->sha256, sha256, 32);
}

static void
assert_both(void)
{
	assert_non_null(trust);
	assert_int_equal(trust_count(trust), 2);
	assert_int_equal(skipped, 0);
	assert_is(anchor(0), "EC Root", &ec_key);
	assert_is(anchor(1), "RSA Root", &rsa_key);
	assert_int_equal(anchor(0)->flags, BR_X509_TA_CA);
	assert_int_equal(anchor(1)->flags, BR_X509_TA_CA);
	assert_pin(0, &ec_key);
	assert_pin(1, &rsa_key);
}

static void
names_and_keys_are_loaded(void **state)
{
	(void)state;
	snprintf(pem, sizeof(pem), "%s%s", ec_pem, rsa_pem);
	load_text(pem);
	assert_both();
}

static void
crlf_a_mark_text_and_no_final_newline_are_right(void **state)
{
	size_t len;

	(void)state;
	len = made_pem(pem, sizeof(pem), &ec_root, BR_PEM_LINE64 | BR_PEM_CRLF);
	made_pem(pem + len, sizeof(pem) - len, &rsa_root, BR_PEM_LINE64 | BR_PEM_CRLF);
	load_text(pem);
	assert_both();
	snprintf(pem, sizeof(pem), "\xef\xbb\xbf%s# and\n-----\n%s", ec_pem, rsa_pem);
	load(pem, strlen(pem) - 1);
	assert_both();
}

static void
what_cannot_be_read_is_passed_over_and_counted(void **state)
{
	(void)state;
	snprintf(pem, sizeof(pem),
		 "-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFICATE-----\n%s"
		 "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n%s"
		 "-----BEGIN CERTIFICATE-----\nMIIB\n",
		 ec_pem, rsa_pem);
	load_text(pem);
	assert_int_equal(skipped, 3);
	skipped = 0;
	assert_both();
}

/* A key in the file is none of our business. */
static void
other_blocks_are_not_counted(void **state)
{
	(void)state;
	snprintf(pem, sizeof(pem), "-----BEGIN EC PRIVATE KEY-----\nZm9v\n-----END EC PRIVATE KEY-----\n%s%s",
		 ec_pem, rsa_pem);
	load_text(pem);
	assert_both();
}

static void
without_a_certificate_there_is_no_trust(void **state)
{
	(void)state;
	assert_null(load_text(""));
	assert_null(load_text("\n"));
	assert_null(load_text("nothing\n"));
	assert_int_equal(skipped, 0);
	assert_null(load_text("-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFICATE-----\n"));
	assert_int_equal(skipped, 1);
	assert_null(load_text("-----BEGIN CERTIFICATE-----\n"));
}

static void
a_certificate_that_is_no_ca_is_no_ca_as_an_anchor(void **state)
{
	(void)state;
	made_cert(&leaf, &(struct cert_wish){.name = "home", .key = &ec_key, .san = "home"});
	made_pem(pem, sizeof(pem), &leaf, 0);
	load_text(pem);
	assert_int_equal(trust_count(trust), 1);
	assert_is(anchor(0), "home", &ec_key);
	assert_int_equal(anchor(0)->flags, 0);
}

static void
five_hundred_and_twelve_are_taken_and_no_more(void **state)
{
	char *many = malloc((ANCHORS_MAX + 1) * strlen(ec_pem) + 1);
	size_t n = strlen(ec_pem);

	(void)state;
	assert_non_null(many);
	for (size_t i = 0; i <= ANCHORS_MAX; i++)
		memcpy(many + i * n, ec_pem, n);
	assert_non_null(load(many, ANCHORS_MAX * n));
	assert_int_equal(trust_count(trust), ANCHORS_MAX);
	assert_is(anchor(ANCHORS_MAX - 1), "EC Root", &ec_key);
	assert_null(load(many, (ANCHORS_MAX + 1) * n));
	free(many);
}

static void
cut_anywhere_nothing_is_read_outside(void **state)
{
	(void)state;
	snprintf(pem, sizeof(pem), "%s%s", ec_pem, rsa_pem);
	for (size_t len = 0; len < strlen(pem); len += 3) {
		load(pem, len);
		assert_true(trust == NULL || trust_count(trust) <= 2);
	}
}

/* ---- The set of this machine, and the one built in -------------------------------------------- */

static void
the_anchors_of_this_machine_all_load(void **state)
{
	size_t len = 0;
	uint8_t *bundle = bundle_read(&len);

	(void)state;
	if (bundle == NULL)
		skip();
	assert_non_null(load(bundle, len));
	assert_int_equal(skipped, 0);
	assert_int_equal(trust_count(trust), bundle_count(bundle, len));
	assert_true(trust_count(trust) > 100);
	for (size_t i = 0; i < trust_count(trust); i++) {
		const br_x509_trust_anchor *ta = anchor(i);

		assert_int_equal(ta->flags, BR_X509_TA_CA);
		assert_int_equal(ta->dn.data[0], 0x30);
		assert_true(ta->pkey.key_type == BR_KEYTYPE_RSA ? ta->pkey.key.rsa.nlen >= 256
								: ta->pkey.key.ec.qlen >= 65);
		for (size_t j = 0; j < i; j++)
			assert_true(anchor(j)->dn.data + anchor(j)->dn.len <= ta->dn.data);
	}
	free(bundle);
}

static bool
names(const br_x509_trust_anchor *ta, const char *words)
{
	size_t n = strlen(words);

	for (size_t i = 0; i + n <= ta->dn.len; i++)
		if (memcmp(ta->dn.data + i, words, n) == 0)
			return true;
	return false;
}

static void
the_built_in_set_holds_the_roots_of_the_large_resolvers(void **state)
{
	static const char *const words[] = {"SSL.com Root Certification Authority ECC",
					    "GTS Root R1",
					    "GTS Root R4",
					    "DigiCert Global Root G3",
					    "USERTrust ECC Certification Authority",
					    "ISRG Root X1"};

	(void)state;
	trust = trust_builtin();
	assert_in_range(trust_count(trust), 6, 32);
	for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++) {
		size_t found = 0;

		for (size_t i = 0; i < trust_count(trust); i++)
			found += names(anchor(i), words[w]);
		assert_int_equal(found, 1);
	}
	for (size_t i = 0; i < trust_count(trust); i++)
		assert_int_equal(anchor(i)->flags, BR_X509_TA_CA);
}

/* What openssl x509 -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64
 * says of them: an RSA key and two curves. */
static void
pins_are_what_another_program_computes(void **state)
{
	static const struct {
		const char *words, *pin;
	} cases[] = {
		{"ISRG Root X1", "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M="},
		{"GTS Root R1", "sha256/hxqRlPTu1bMS/0DITB1SSu0vd4u/8l8TjPgfaAp63Gc="},
		{"GTS Root R4", "sha256/mEflZT5enoR1FuXLgYYGqnVEoZvmf9c2bVBpiOjYQ0c="},
		{"DigiCert Global Root G3", "sha256/uUwZgwDOxcBXrQcntwu+kYFpkiVkOaezL0WYEZ3anJc="},
	};
	char text[PIN_TEXT_MAX];

	(void)state;
	trust = trust_builtin();
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		size_t found = 0;

		for (size_t i = 0; i < trust_count(trust); i++)
			if (names(anchor(i), cases[c].words)) {
				assert_string_equal(pin_text(text, trust_pin(trust, i)), cases[c].pin);
				found++;
			}
		assert_int_equal(found, 1);
	}
}

/* What was built in is what a file with the same certificates gives. */
static void
the_built_in_set_is_part_of_this_machines(void **state)
{
	const struct trust *built_in = trust_builtin();
	const br_x509_trust_anchor *ta = trust_anchors(built_in);
	size_t len = 0, found = 0;
	uint8_t *bundle = bundle_read(&len);

	(void)state;
	if (bundle == NULL)
		skip();
	assert_non_null(load(bundle, len));
	for (size_t i = 0; i < trust_count(built_in); i++)
		for (size_t j = 0; j < trust_count(trust); j++) {
			const br_x509_trust_anchor *other = anchor(j);

			if (other->dn.len != ta[i].dn.len ||
			    memcmp(other->dn.data, ta[i].dn.data, ta[i].dn.len) != 0)
				continue;
			found++;
			assert_memory_equal(trust_pin(trust, j), trust_pin(built_in, i), sizeof(struct pin));
			assert_int_equal(other->pkey.key_type, ta[i].pkey.key_type);
			if (other->pkey.key_type == BR_KEYTYPE_EC) {
				assert_int_equal(other->pkey.key.ec.curve, ta[i].pkey.key.ec.curve);
				assert_memory_equal(other->pkey.key.ec.q, ta[i].pkey.key.ec.q,
						    other->pkey.key.ec.qlen);
			} else {
				assert_int_equal(other->pkey.key.rsa.nlen, ta[i].pkey.key.rsa.nlen);
				assert_memory_equal(other->pkey.key.rsa.n, ta[i].pkey.key.rsa.n,
						    other->pkey.key.rsa.nlen);
			}
		}
	assert_int_equal(found, trust_count(built_in));
	free(bundle);
}

static int
make_roots(void **state)
{
	(void)state;
	made_key_ec(&ec_key, "root", BR_EC_secp256r1);
	made_key_rsa(&rsa_key, "rsa-5", 2048);
	made_cert(&ec_root, &(struct cert_wish){.name = "EC Root", .key = &ec_key, .ca = true});
	made_cert(&rsa_root, &(struct cert_wish){.name = "RSA Root", .key = &rsa_key, .ca = true});
	made_pem(ec_pem, sizeof(ec_pem), &ec_root, BR_PEM_LINE64);
	made_pem(rsa_pem, sizeof(rsa_pem), &rsa_root, BR_PEM_LINE64);
	return 0;
}

static int
drop_block(void **state)
{
	(void)state;
	free(block);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_keys_are_loaded),
		cmocka_unit_test(crlf_a_mark_text_and_no_final_newline_are_right),
		cmocka_unit_test(what_cannot_be_read_is_passed_over_and_counted),
		cmocka_unit_test(other_blocks_are_not_counted),
		cmocka_unit_test(without_a_certificate_there_is_no_trust),
		cmocka_unit_test(a_certificate_that_is_no_ca_is_no_ca_as_an_anchor),
		cmocka_unit_test(five_hundred_and_twelve_are_taken_and_no_more),
		cmocka_unit_test(cut_anywhere_nothing_is_read_outside),
		cmocka_unit_test(the_anchors_of_this_machine_all_load),
		cmocka_unit_test(the_built_in_set_holds_the_roots_of_the_large_resolvers),
		cmocka_unit_test(pins_are_what_another_program_computes),
		cmocka_unit_test(the_built_in_set_is_part_of_this_machines),
	};

	return cmocka_run_group_tests_name("trust", tests, make_roots, drop_block);
}
