/* SPDX-License-Identifier: MIT */
/* Any octets are a file of trust anchors: nothing is read or written outside, ends of lines do not matter,
 * what is found can be written and read again, and the anchors lie in their block.
 * Input: the file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bearssl.h>

#include "bounds.h"
#include "pem.h"
#include "trust.h"
#include "../unit/law.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void *
take_memory(size_t len)
{
	void *p = malloc(len != 0 ? len : 1);

	LAW(p != NULL);
	return p;
}

/* What a file holds: per block its result, length and octets, one after another. */
struct list {
	uint8_t *octets;
	size_t len, certificates, bad;
};

static void
law_again(const uint8_t *der, size_t len)
{
	size_t n = br_pem_encode(NULL, der, len, "CERTIFICATE", 0), again_len, left = n;
	char *text = take_memory(n + 1);
	uint8_t *again = take_memory(n);
	const uint8_t *at = (const uint8_t *)text;

	br_pem_encode(text, der, len, "CERTIFICATE", 0);
	LAW(pem_next(&at, &left, again, &again_len) == PEM_CERTIFICATE);
	LAW(again_len == len && (len == 0 || memcmp(again, der, len) == 0));
	LAW(pem_next(&at, &left, again, &again_len) == PEM_END);
	free(text);
	free(again);
}

static struct list
read_all(const uint8_t *file, size_t len)
{
	struct list l = {.octets = take_memory(len * 3 / 4)};
	const uint8_t *at = file;
	enum pem_result result;
	size_t left = len, n;

	for (;;) {
		uint8_t *der = take_memory(left * 3 / 4);

		result = pem_next(&at, &left, der, &n);
		LAW(at + left == file + len);
		if (result == PEM_CERTIFICATE) {
			LAW(n <= len * 3 / 4 - l.len);
			memcpy(l.octets + l.len, der, n);
			l.len += n;
			l.certificates++;
			law_again(der, n);
		}
		l.bad += result == PEM_BAD;
		free(der);
		if (result == PEM_END)
			break;
	}
	LAW(left == 0);
	return l;
}

/* The same file with CRLF instead of LF. */
static void
law_ends_of_lines(const uint8_t *file, size_t len, const struct list *l)
{
	uint8_t *other = take_memory(2 * len);
	struct list m;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (file[i] == '\n')
			other[n++] = '\r';
		other[n++] = file[i];
	}
	m = read_all(other, n);
	LAW(m.certificates == l->certificates && m.bad == l->bad && m.len == l->len);
	LAW(l->len == 0 || memcmp(m.octets, l->octets, l->len) == 0);
	free(m.octets);
	free(other);
}

static void
law_inside(const void *block, size_t size, const unsigned char *p, size_t len)
{
	LAW(p >= (const unsigned char *)block && p + len <= (const unsigned char *)block + size);
}

static void
law_trust(const uint8_t *file, size_t len, const struct list *l)
{
	size_t size = trust_memory(file, len), skipped;
	void *block = take_memory(size);
	const struct trust *t = trust_load(block, file, len, &skipped);
	const br_x509_trust_anchor *ta;

	if (t != NULL) {
		LAW(trust_count(t) > 0 && trust_count(t) <= ANCHORS_MAX);
		LAW(trust_count(t) + skipped == l->certificates + l->bad);
		ta = trust_anchors(t);
		for (size_t i = 0; i < trust_count(t); i++) {
			law_inside(block, size, ta[i].dn.data, ta[i].dn.len);
			if (ta[i].pkey.key_type == BR_KEYTYPE_RSA)
				law_inside(block, size, ta[i].pkey.key.rsa.n, ta[i].pkey.key.rsa.nlen);
			else
				law_inside(block, size, ta[i].pkey.key.ec.q, ta[i].pkey.key.ec.qlen);
		}
	}
	free(block);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *file;
	struct list l;

	if (len > 65536)
		return 0;
	file = take_memory(len);
	if (len != 0)
		memcpy(file, data, len);
	l = read_all(file, len);
	law_ends_of_lines(file, len, &l);
	law_trust(file, len, &l);
	free(l.octets);
	free(file);
	return 0;
}
