/* SPDX-License-Identifier: MIT */
/* Any octets as a certificate: nothing is read outside, all parts lie inside and in order, and what
 * BearSSL's own decoder makes of the same octets, if anything, is the same.
 * Input: the certificate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bearssl.h>

#include "cert.h"
#include "../unit/law.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct {
	uint8_t octets[65536];
	size_t len;
} name;

static void
append_name(void *ctx, const void *buf, size_t len)
{
	(void)ctx;
	LAW(len <= sizeof(name.octets) - name.len);
	memcpy(name.octets + name.len, buf, len);
	name.len += len;
}

static void
law_part(const struct cert_part *outer, const struct cert_part *p)
{
	LAW(p->len == 0 ||
	    (p->at >= outer->at && p->len <= outer->len && p->at - outer->at <= outer->len - p->len));
}

static void
law_facts(const uint8_t *der, size_t len, const struct cert_facts *f)
{
	struct cert_part all = {0, len};

	law_part(&all, &f->issuer);
	law_part(&all, &f->subject);
	law_part(&all, &f->san);
	law_part(&all, &f->spki);
	law_part(&f->spki, &f->modulus);
	law_part(&f->spki, &f->exponent);
	law_part(&f->spki, &f->point);
	LAW(f->subject.len >= 2 && der[f->subject.at] == 0x30);
	LAW(f->spki.len >= 2 && der[f->spki.at] == 0x30 && f->spki.at >= f->subject.at + f->subject.len);
	LAW(f->issuer.len >= 2 && der[f->issuer.at] == 0x30 && f->subject.at >= f->issuer.at + f->issuer.len);
	LAW(f->san.len == 0 || (f->has_san && f->san.at >= f->spki.at + f->spki.len));
	LAW(!f->server_auth || f->has_eku);
	if (f->key == CERT_KEY_RSA)
		LAW(f->modulus.len > 0 && f->exponent.len > 0 &&
		    f->exponent.at >= f->modulus.at + f->modulus.len && der[f->modulus.at] != 0 &&
		    der[f->exponent.at] != 0);
}

/* What is said to people of any octets is printable; an address is found only where its octets are. */
static void
law_names(const uint8_t *der, size_t len, const struct cert_facts *f)
{
	const struct cert_part parts[] = {f->issuer, f->subject, f->san, {0, len}};
	char text[CERT_NAME_MAX];

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		LAW(cert_name_text(text, der, &parts[i]) == text);
		LAW(text[0] != '\0' && strlen(text) < CERT_NAME_MAX);
		for (const char *p = text; *p != '\0'; p++)
			LAW(*p >= ' ' && *p <= '~');
	}
	LAW(!cert_names_address(der, f, der, 0));
	for (size_t at = 0; at + 16 <= len && at < 2000; at++)
		if (cert_names_address(der, f, der + at, 4))
			LAW(memmem(der + f->san.at, f->san.len, der + at, 4) != NULL);
}

static int64_t
seconds(uint32_t days, uint32_t s)
{
	return ((int64_t)days - 719528) * 86400 + s;
}

static void
law_same(const uint8_t *der, const struct cert_facts *f, br_x509_decoder_context *dc)
{
	const br_x509_pkey *pk = br_x509_decoder_get_pkey(dc);

	LAW(f->subject.len == name.len && memcmp(der + f->subject.at, name.octets, name.len) == 0);
	LAW(f->not_before == seconds(dc->notbefore_days, dc->notbefore_seconds));
	LAW(f->not_after == seconds(dc->notafter_days, dc->notafter_seconds));
	if (pk->key_type == BR_KEYTYPE_RSA) {
		LAW(f->key == CERT_KEY_RSA && f->modulus.len == pk->key.rsa.nlen &&
		    f->exponent.len == pk->key.rsa.elen);
		LAW(memcmp(der + f->modulus.at, pk->key.rsa.n, pk->key.rsa.nlen) == 0);
		LAW(memcmp(der + f->exponent.at, pk->key.rsa.e, pk->key.rsa.elen) == 0);
	} else {
		LAW(f->key == (pk->key.ec.curve == BR_EC_secp256r1   ? CERT_KEY_P256
			       : pk->key.ec.curve == BR_EC_secp384r1 ? CERT_KEY_P384
								     : CERT_KEY_P521));
		LAW(f->point.len == pk->key.ec.qlen);
		LAW(memcmp(der + f->point.at, pk->key.ec.q, pk->key.ec.qlen) == 0);
	}
	LAW(f->is_ca == (br_x509_decoder_isCA(dc) != 0));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	br_x509_decoder_context dc;
	struct cert_facts facts;
	uint8_t *der;

	if (len > sizeof(name.octets))
		return 0;
	der = malloc(len != 0 ? len : 1);
	LAW(der != NULL);
	if (len != 0)
		memcpy(der, data, len);
	if (cert_read(der, len, &facts) == 0) {
		law_facts(der, len, &facts);
		law_names(der, len, &facts);
		name.len = 0;
		br_x509_decoder_init(&dc, append_name, NULL);
		br_x509_decoder_push(&dc, der, len);
		if (br_x509_decoder_get_pkey(&dc) != NULL)
			law_same(der, &facts, &dc);
	}
	free(der);
	return 0;
}
