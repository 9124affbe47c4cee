/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bundle.h"
#include "cert.h"
#include "certs.h"
#include "pem.h"

static struct made_key ec_key, ec384_key, rsa_key;
static struct made_cert cert;
static struct cert_facts facts;

/* Reads from memory of exactly its size, so that sanitizers see a step outside. */
static int
read_exact(const uint8_t *der, size_t len)
{
	uint8_t *exact = malloc(len != 0 ? len : 1);
	int result;

	assert_non_null(exact);
	if (len != 0)
		memcpy(exact, der, len);
	result = cert_read(exact, len, &facts);
	free(exact);
	if (result == -1)
		return -1;
	assert_int_equal(result, 0);
	assert_true(facts.subject.at + facts.subject.len <= len && facts.spki.at + facts.spki.len <= len);
	assert_true(facts.modulus.at + facts.modulus.len <= len &&
		    facts.exponent.at + facts.exponent.len <= len);
	assert_true(facts.point.at + facts.point.len <= len);
	assert_true(facts.issuer.at + facts.issuer.len <= len && facts.san.at + facts.san.len <= len);
	return 0;
}

static struct cert_wish
good(void)
{
	return (struct cert_wish){
		.name = "dns.example", .issuer = "Root", .key = &ec_key, .san = "dns.example"};
}

static void
read_wish(const struct cert_wish *w)
{
	made_cert(&cert, w);
	assert_int_equal(read_exact(cert.der.buf, cert.der.len), 0);
}

static void
assert_part(const struct cert_part *part, const void *octets, size_t len)
{
	assert_int_equal(part->len, len);
	assert_memory_equal(cert.der.buf + part->at, octets, len);
}

/* ---- Facts ------------------------------------------------------------------------------------ */

static void
the_subject_is_the_whole_name(void **state)
{
	static struct made_der name;
	struct cert_wish w = good();

	(void)state;
	read_wish(&w);
	name.len = 0;
	der_name(&name, "dns.example");
	assert_part(&facts.subject, name.buf, name.len);
}

static void
the_issuer_is_the_whole_name(void **state)
{
	static struct made_der name;
	struct cert_wish w = good();

	(void)state;
	read_wish(&w);
	name.len = 0;
	der_name(&name, "Root");
	assert_part(&facts.issuer, name.buf, name.len);
}

static void
alternative_names_are_found(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.san = "a.example";
	w.ip = "\xc0\0\2\1";
	w.ip_len = 4;
	read_wish(&w);
	assert_part(&facts.san, "\x82\x09\x61.example\x87\4\xc0\0\2\1", 17);
	w.san = NULL;
	w.ip = NULL;
	read_wish(&w);
	assert_int_equal(facts.san.len, 0);
	w.san = "";
	read_wish(&w);
	assert_true(facts.has_san);
	assert_int_equal(facts.san.len, 0);
}

static bool
names(const char *ip, size_t len)
{
	return cert_names_address(cert.der.buf, &facts, (const uint8_t *)ip, len);
}

static void
an_address_is_named_by_all_its_octets_and_nothing_else(void **state)
{
	struct cert_wish w = good();

	(void)state;
	w.san = "abcd,abcdefghijklmnop";
	read_wish(&w);
	assert_false(names("abcd", 4));
	assert_false(names("abcdefghijklmnop", 16));
	w.ip = "abcd";
	w.ip_len = 4;
	w.san_filler = 1000;
	read_wish(&w);
	assert_true(names("abcd", 4));
	assert_false(names("abce", 4));
	assert_false(names("abcdefghijklmnop", 16));
	w.ip = "abcdefghijklmnop";
	w.ip_len = 16;
	read_wish(&w);
	assert_true(names("abcdefghijklmnop", 16));
	assert_false(names("abcd", 4));
	/* Neither is a length that no address has. */
	for (w.ip_len = 0; w.ip_len < 16; w.ip_len += w.ip_len == 3 ? 2 : 1) {
		read_wish(&w);
		assert_false(names("abcdefghijklmnop", w.ip_len));
		assert_false(names("abcdefghijklmnop", 16));
		assert_false(names("abcd", 4));
	}
	w.san = NULL;
	w.ip = NULL;
	read_wish(&w);
	assert_false(names("", 0));
}

/* ---- Names for people ------------------------------------------------------------------------- */

static struct made_der rdn;

static void
put_attribute(unsigned type, const char *value, size_t len)
{
	uint8_t oid[] = {0x55, 0x04, (uint8_t)type};
	size_t set = der_open(&rdn, 0x31), pair = der_open(&rdn, 0x30);

	der_put(&rdn, 0x06, oid, sizeof(oid));
	der_put(&rdn, 0x0c, value, len);
	der_close(&rdn, pair);
	der_close(&rdn, set);
}

/* "CO" puts a CN and an O, "U" an OU, "c" a country; each says its place. */
static void
assert_called(const char *attributes, const char *text)
{
	struct cert_part whole = {0, 0};
	char out[CERT_NAME_MAX];
	size_t list;

	rdn.len = 0;
	list = der_open(&rdn, 0x30);
	for (const char *a = attributes; *a != '\0'; a++) {
		char place = (char)('0' + (a - attributes));

		put_attribute(*a == 'C' ? 3 : *a == 'O' ? 10 : *a == 'U' ? 11 : 6, &place, 1);
	}
	der_close(&rdn, list);
	whole.len = rdn.len;
	assert_string_equal(cert_name_text(out, rdn.buf, &whole), text);
}

static void
a_name_is_called_by_what_says_most(void **state)
{
	(void)state;
	assert_called("C", "0");
	assert_called("cOUC", "3");
	assert_called("CcOU", "0");
	assert_called("CUCO", "2");
	assert_called("cOc", "1");
	assert_called("cUc", "1");
	assert_called("OU", "1");
	assert_called("UO", "1");
	assert_called("c", "-");
	assert_called("", "-");
}

static void
a_name_is_printable_and_bounded(void **state)
{
	struct cert_part whole = {0, 0};
	char out[CERT_NAME_MAX], wish[300];

	(void)state;
	memset(wish, 'n', sizeof(wish));
	for (size_t len = 0; len < sizeof(wish); len++) {
		size_t list;

		rdn.len = 0;
		list = der_open(&rdn, 0x30);
		put_attribute(3, wish, len);
		der_close(&rdn, list);
		whole.len = rdn.len;
		cert_name_text(out, rdn.buf, &whole);
		assert_int_equal(strlen(out), len == 0 ? 1 : len < CERT_NAME_MAX ? len : CERT_NAME_MAX - 1);
		assert_int_equal(out[0], len == 0 ? '-' : 'n');
	}
	rdn.len = 0;
	der_open(&rdn, 0x30);
	put_attribute(3, "a\0b\x1b\x7f\xc3\xa4 ~", 9);
	der_close(&rdn, 1);
	whole.len = rdn.len;
	assert_string_equal(cert_name_text(out, rdn.buf, &whole), "a?b???? ~");
}

static void
the_public_key_info_is_whole(void **state)
{
	static struct made_der spki;
	struct made_key *keys[] = {&ec_key, &ec384_key, &rsa_key};
	struct cert_wish w = good();

	(void)state;
	for (int i = 0; i < 3; i++) {
		w.key = keys[i];
		read_wish(&w);
		spki.len = 0;
		der_spki(&spki, keys[i]);
		assert_part(&facts.spki, spki.buf, spki.len);
	}
}

static void
keys_are_read(void **state)
{
	struct cert_wish w = good();

	(void)state;
	read_wish(&w);
	assert_int_equal(facts.key, CERT_KEY_P256);
	assert_part(&facts.point, ec_key.ec_public.q, ec_key.ec_public.qlen);
	w.key = &ec384_key;
	read_wish(&w);
	assert_int_equal(facts.key, CERT_KEY_P384);
	assert_part(&facts.point, ec384_key.ec_public.q, ec384_key.ec_public.qlen);
	w.key = &rsa_key;
	read_wish(&w);
	assert_int_equal(facts.key, CERT_KEY_RSA);
	assert_part(&facts.modulus, rsa_key.rsa_public.n, rsa_key.rsa_public.nlen);
	assert_part(&facts.exponent, "\1\0\1", 3);
	assert_int_equal(facts.point.len, 0);
}

static void
dates_are_read_to_the_second(void **state)
{
	static const int64_t dates[] = {
		INT64_C(-631152000),   /* 1950: the first of UTCTime */
		INT64_C(-1),	       /* 1969-12-31 23:59:59 */
		INT64_C(951782399),    /* 2000-02-28 23:59:59 */
		INT64_C(951868799),    /* 2000-02-29 23:59:59 */
		INT64_C(1709164800),   /* 2024-02-29 */
		INT64_C(1735689599),   /* 2024-12-31 23:59:59 */
		INT64_C(2524607999),   /* 2049: the last of UTCTime */
		INT64_C(2524608000),   /* 2050: the first of GeneralizedTime */
		INT64_C(4107542400),   /* 2100-03-01: no leap year */
		INT64_C(253402300799), /* 9999-12-31 23:59:59: no end (RFC 5280 section 4.1.2.5) */
	};
	struct cert_wish w = good();

	(void)state;
	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		w.not_before = dates[i];
		w.not_after = dates[i];
		read_wish(&w);
		assert_true(facts.not_before == dates[i] && facts.not_after == dates[i]);
	}
}

static void
days_of_four_centuries_are_read(void **state)
{
	struct cert_wish w = good();

	(void)state;
	for (int64_t day = -7300; day < 140000; day += 331) {
		w.not_before = day * 86400 + 1;
		w.not_after = day * 86400 + 86399;
		read_wish(&w);
		assert_true(facts.not_before == w.not_before && facts.not_after == w.not_after);
	}
}

static void
usages_are_read(void **state)
{
	static const struct {
		enum made_eku eku;
		bool has, server;
	} cases[] = {
		{MADE_NO_EKU, false, false}, {MADE_EKU_SERVER, true, true}, {MADE_EKU_CLIENT, true, false},
		{MADE_EKU_ANY, true, true},  {MADE_EKU_BOTH, true, true},   {MADE_EKU_MAIL, true, false},
	};
	struct cert_wish w = good();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		w.eku = cases[i].eku;
		read_wish(&w);
		assert_int_equal(facts.has_eku, cases[i].has);
		assert_int_equal(facts.server_auth, cases[i].server);
	}
}

static void
a_ca_and_alternative_names_are_seen(void **state)
{
	struct cert_wish w = good();

	(void)state;
	read_wish(&w);
	assert_true(facts.has_san);
	assert_false(facts.is_ca);
	w.san = NULL;
	w.ca = true;
	read_wish(&w);
	assert_false(facts.has_san);
	assert_true(facts.is_ca);
	w.v1 = true;
	read_wish(&w);
	assert_false(facts.has_san || facts.is_ca || facts.has_eku);
}

static void
name_constraints_are_seen_critical_or_not(void **state)
{
	static const enum made_constraints cases[] = {MADE_NO_CONSTRAINTS, MADE_CONSTRAINTS,
						      MADE_CRITICAL_CONSTRAINTS};
	struct cert_wish w = good();

	(void)state;
	w.ca = true;
	w.eku = MADE_EKU_SERVER;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		w.constraints = cases[i];
		read_wish(&w);
		assert_int_equal(facts.has_name_constraints, cases[i] != MADE_NO_CONSTRAINTS);
		assert_true(facts.has_san && facts.is_ca && facts.server_auth);
	}
	w.v1 = true;
	read_wish(&w);
	assert_false(facts.has_name_constraints);
}

static void
large_certificates_are_read(void **state)
{
	struct cert_wish w = good();

	(void)state;
	for (w.san_filler = 0; w.san_filler < 16384; w.san_filler += 1111)
		read_wish(&w);
}

/* ---- What is none ----------------------------------------------------------------------------- */

static void
cut_at_any_length_it_is_none(void **state)
{
	struct made_key *keys[] = {&ec_key, &ec384_key, &rsa_key};
	struct cert_wish w = good();

	(void)state;
	w.eku = MADE_EKU_BOTH;
	w.ca = true;
	for (int i = 0; i < 3; i++) {
		w.key = keys[i];
		made_cert(&cert, &w);
		for (size_t len = 0; len < cert.der.len; len++)
			assert_int_equal(read_exact(cert.der.buf, len), -1);
		assert_int_equal(read_exact(cert.der.buf, cert.der.len), 0);
	}
}

static void
octets_behind_it_make_it_none(void **state)
{
	struct cert_wish w = good();

	(void)state;
	made_cert(&cert, &w);
	cert.der.buf[cert.der.len] = 0;
	assert_int_equal(read_exact(cert.der.buf, cert.der.len + 1), -1);
}

/* The outer length is right, an inner one is not: DER's lengths have one form. */
static void
lengths_that_are_no_der_make_it_none(void **state)
{
	struct cert_wish w = good();
	uint8_t longer[2048];

	(void)state;
	w.san_filler = 100;
	made_cert(&cert, &w);
	assert_int_equal(cert.der.buf[1], 0x82);
	/* 83 00 xx xx instead of 82 xx xx */
	memcpy(longer + 1, cert.der.buf, cert.der.len);
	longer[0] = 0x30;
	longer[1] = 0x83;
	longer[2] = 0;
	assert_int_equal(read_exact(longer, cert.der.len + 1), -1);
	cert.der.buf[1] = 0x80;
	assert_int_equal(read_exact(cert.der.buf, cert.der.len), -1);
	cert.der.buf[1] = 0xff;
	assert_int_equal(read_exact(cert.der.buf, cert.der.len), -1);
}

/* Finds the UTCTime of not_before and changes it. */
static void
broken_dates_make_it_none(void **state)
{
	static const char *const dates[] = {"201301000000Z", "200001000000Z", "200132000000Z", "200100000000Z",
					    "200101240000Z", "200101006000Z", "200101000061Z", "2001010000000",
					    "20010100000 Z", "/00101000000Z", "200101000000+", "x00101000000Z"};
	struct cert_wish w = good();
	size_t at = 0;

	(void)state;
	made_cert(&cert, &w);
	while (memcmp(cert.der.buf + at,
		      "\x17\x0d"
		      "200101000000Z",
		      15) != 0)
		at++;
	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		memcpy(cert.der.buf + at + 2, dates[i], 13);
		assert_int_equal(read_exact(cert.der.buf, cert.der.len), -1);
	}
	cert.der.buf[at] = 0x18;
	assert_int_equal(read_exact(cert.der.buf, cert.der.len), -1);
}

static void
what_is_no_certificate_at_all_is_none(void **state)
{
	static struct made_der spki;

	(void)state;
	assert_int_equal(read_exact((const uint8_t *)"", 0), -1);
	assert_int_equal(read_exact((const uint8_t *)"\x30\x00", 2), -1);
	assert_int_equal(read_exact((const uint8_t *)"\x30\x02\x30\x00", 4), -1);
	assert_int_equal(read_exact((const uint8_t *)"-----BEGIN", 10), -1);
	spki.len = 0;
	der_spki(&spki, &ec_key);
	assert_int_equal(read_exact(spki.buf, spki.len), -1);
}

static uint32_t
chance(void)
{
	static uint64_t seed = 5;

	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33);
}

static void
random_changes_stay_inside(void **state)
{
	struct made_key *keys[] = {&ec_key, &ec384_key, &rsa_key};
	struct cert_wish w = good();

	(void)state;
	w.eku = MADE_EKU_BOTH;
	w.ca = true;
	for (int round = 0; round < 30000; round++) {
		static const uint8_t odd[] = {0x00, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xff};
		static struct made_cert changed;

		if (round % 10000 == 0) {
			w.key = keys[round / 10000];
			made_cert(&cert, &w);
		}
		memcpy(changed.der.buf, cert.der.buf, cert.der.len);
		for (unsigned n = 1 + chance() % 4; n > 0; n--)
			changed.der.buf[chance() % cert.der.len] =
				chance() % 2 == 0 ? (uint8_t)chance() : odd[chance() % sizeof(odd)];
		(void)read_exact(changed.der.buf, cert.der.len);
	}
}

/* ---- Against another reader ------------------------------------------------------------------- */

static struct made_der name;

static void
append_name(void *ctx, const void *buf, size_t len)
{
	(void)ctx;
	der_octets(&name, buf, len);
}

static void
compare(const uint8_t *der, size_t len)
{
	br_x509_decoder_context dc;
	const br_x509_pkey *pk;

	name.len = 0;
	br_x509_decoder_init(&dc, append_name, NULL);
	br_x509_decoder_push(&dc, der, len);
	pk = br_x509_decoder_get_pkey(&dc);
	assert_non_null(pk);
	assert_int_equal(read_exact(der, len), 0);
	assert_int_equal(facts.is_ca, br_x509_decoder_isCA(&dc));
	assert_int_equal(facts.subject.len, name.len);
	assert_memory_equal(der + facts.subject.at, name.buf, name.len);
	assert_true(facts.not_before ==
		    ((int64_t)dc.notbefore_days - 719528) * 86400 + (int64_t)dc.notbefore_seconds);
	assert_true(facts.not_after ==
		    ((int64_t)dc.notafter_days - 719528) * 86400 + (int64_t)dc.notafter_seconds);
	if (pk->key_type == BR_KEYTYPE_RSA) {
		assert_int_equal(facts.key, CERT_KEY_RSA);
		assert_int_equal(facts.modulus.len, pk->key.rsa.nlen);
		assert_memory_equal(der + facts.modulus.at, pk->key.rsa.n, pk->key.rsa.nlen);
		assert_int_equal(facts.exponent.len, pk->key.rsa.elen);
		assert_memory_equal(der + facts.exponent.at, pk->key.rsa.e, pk->key.rsa.elen);
	} else {
		assert_int_equal(facts.key, pk->key.ec.curve == BR_EC_secp256r1	  ? CERT_KEY_P256
					    : pk->key.ec.curve == BR_EC_secp384r1 ? CERT_KEY_P384
										  : CERT_KEY_P521);
		assert_int_equal(facts.point.len, pk->key.ec.qlen);
		assert_memory_equal(der + facts.point.at, pk->key.ec.q, pk->key.ec.qlen);
	}
}

static void
certificates_in_use_read_as_another_reader_reads_them(void **state)
{
	size_t len = 0, left, der_len, n = 0;
	uint8_t *pem = bundle_read(&len), *der;
	const uint8_t *at = pem;

	(void)state;
	if (pem == NULL)
		skip();
	der = malloc(len);
	left = len;
	while (pem_next(&at, &left, der, &der_len) == PEM_CERTIFICATE) {
		compare(der, der_len);
		n++;
	}
	assert_int_equal(n, bundle_count(pem, len));
	free(der);
	free(pem);
}

static int
make_keys(void **state)
{
	(void)state;
	made_key_ec(&ec_key, "leaf", BR_EC_secp256r1);
	made_key_ec(&ec384_key, "ca", BR_EC_secp384r1);
	made_key_rsa(&rsa_key, "rsa-5", 2048);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_subject_is_the_whole_name),
		cmocka_unit_test(the_issuer_is_the_whole_name),
		cmocka_unit_test(alternative_names_are_found),
		cmocka_unit_test(an_address_is_named_by_all_its_octets_and_nothing_else),
		cmocka_unit_test(a_name_is_called_by_what_says_most),
		cmocka_unit_test(a_name_is_printable_and_bounded),
		cmocka_unit_test(the_public_key_info_is_whole),
		cmocka_unit_test(keys_are_read),
		cmocka_unit_test(dates_are_read_to_the_second),
		cmocka_unit_test(days_of_four_centuries_are_read),
		cmocka_unit_test(usages_are_read),
		cmocka_unit_test(a_ca_and_alternative_names_are_seen),
		cmocka_unit_test(name_constraints_are_seen_critical_or_not),
		cmocka_unit_test(large_certificates_are_read),
		cmocka_unit_test(cut_at_any_length_it_is_none),
		cmocka_unit_test(octets_behind_it_make_it_none),
		cmocka_unit_test(lengths_that_are_no_der_make_it_none),
		cmocka_unit_test(broken_dates_make_it_none),
		cmocka_unit_test(what_is_no_certificate_at_all_is_none),
		cmocka_unit_test(random_changes_stay_inside),
		cmocka_unit_test(certificates_in_use_read_as_another_reader_reads_them),
	};

	return cmocka_run_group_tests_name("cert", tests, make_keys, NULL);
}
