/* SPDX-License-Identifier: MIT */
#include "cert.h"

#include <string.h>

enum der_tag {
	DER_BOOLEAN = 0x01,
	DER_INTEGER = 0x02,
	DER_BITS = 0x03,
	DER_OCTETS = 0x04,
	DER_OID = 0x06,
	DER_UTC_TIME = 0x17,
	DER_GENERALIZED_TIME = 0x18,
	DER_SEQUENCE = 0x30,
	DER_SET = 0x31,
	DER_IP_ADDRESS = 0x87, /* [7] of GeneralName */
	DER_VERSION = 0xa0,    /* [0] of TBSCertificate */
	DER_EXTENSIONS = 0xa3  /* [3] of TBSCertificate */
};

/* A run of elements; at moves behind what was read. */
struct der {
	const uint8_t *at;
	size_t left;
};

struct element {
	uint8_t tag;
	const uint8_t *whole; /* header and body */
	size_t whole_len;
	struct der body;
};

/* Lengths in X.509 need no more than two octets behind the first, since a certificate is smaller
 * than CERT_MAX; DER wants the shortest form. */
static int
read_length(struct der *d, size_t *len)
{
	unsigned octets;

	if (d->left == 0)
		return -1;
	*len = *d->at++;
	d->left--;
	if (*len < 0x80)
		return 0;
	octets = (unsigned)*len & 0x7fu;
	if (octets == 0 || octets > 2 || d->left < octets)
		return -1;
	*len = octets == 1 ? d->at[0] : (size_t)d->at[0] << 8 | d->at[1];
	d->at += octets;
	d->left -= octets;
	return *len < (octets == 1 ? 0x80u : 0x100u) ? -1 : 0;
}

/* d is not part of *e. */
static int
next(struct der *d, struct element *e)
{
	size_t len;

	e->whole = d->at;
	if (d->left == 0)
		return -1;
	e->tag = *d->at++;
	d->left--;
	if ((e->tag & 0x1f) == 0x1f || read_length(d, &len) == -1 || len > d->left)
		return -1;
	e->body.at = d->at;
	e->body.left = len;
	d->at += len;
	d->left -= len;
	e->whole_len = (size_t)(d->at - e->whole);
	return 0;
}

static int
next_of(struct der *d, uint8_t tag, struct element *e)
{
	return next(d, e) == -1 || e->tag != tag ? -1 : 0;
}

static bool
is_oid(const struct element *e, const char *oid, size_t len)
{
	return e->tag == DER_OID && e->body.left == len && memcmp(e->body.at, oid, len) == 0;
}

static struct cert_part
part_of(const uint8_t *der, const uint8_t *at, size_t len)
{
	return (struct cert_part){(size_t)(at - der), len};
}

/* ---- Time ----------------------------------------------------------------------------------- */

static int
digits(const uint8_t *p, int count, int *value)
{
	*value = 0;
	for (int i = 0; i < count; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -1;
		*value = *value * 10 + (p[i] - '0');
	}
	return 0;
}

/* Days from 1970-01-01 in the Gregorian calendar; years are counted from March, so that the leap
 * day comes last. */
static int64_t
days_of(int year, int month, int day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t m = month > 2 ? month - 3 : month + 9;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + (day - 1) - 719468;
}

/* UTCTime and GeneralizedTime as RFC 5280 section 4.1.2.5 allows them: to the second, in UTC. */
static int
read_time(struct der *d, int64_t *utc_s)
{
	struct element e;
	int year, month, day, hour, minute, second, year_digits;

	if (next(d, &e) == -1 || (e.tag != DER_UTC_TIME && e.tag != DER_GENERALIZED_TIME))
		return -1;
	year_digits = e.tag == DER_UTC_TIME ? 2 : 4;
	if (e.body.left != (size_t)year_digits + 11 || e.body.at[e.body.left - 1] != 'Z')
		return -1;
	if (digits(e.body.at, year_digits, &year) == -1)
		return -1;
	if (year_digits == 2)
		year += year < 50 ? 2000 : 1900;
	e.body.at += year_digits;
	if (digits(e.body.at, 2, &month) == -1 || digits(e.body.at + 2, 2, &day) == -1 ||
	    digits(e.body.at + 4, 2, &hour) == -1 || digits(e.body.at + 6, 2, &minute) == -1 ||
	    digits(e.body.at + 8, 2, &second) == -1)
		return -1;
	if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
		return -1;
	*utc_s = ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
	return 0;
}

static int
read_validity(struct der *tbs, struct cert_facts *facts)
{
	struct element e;

	if (next_of(tbs, DER_SEQUENCE, &e) == -1)
		return -1;
	return read_time(&e.body, &facts->not_before) == -1 || read_time(&e.body, &facts->not_after) == -1 ? -1
													   : 0;
}

/* ---- Extensions ----------------------------------------------------------------------------- */

#define OID_BASIC "\x55\x1d\x13"
#define OID_KEY_USAGE "\x55\x1d\x0f"
#define OID_SAN "\x55\x1d\x11"
#define OID_NAME_CONSTRAINTS "\x55\x1d\x1e"
#define OID_EKU "\x55\x1d\x25"
#define OID_ANY_EKU "\x55\x1d\x25\x00"
#define OID_SERVER "\x2b\x06\x01\x05\x05\x07\x03\x01"

static int
read_eku(struct der value, struct cert_facts *facts)
{
	struct element list, e;

	if (facts->has_eku || next_of(&value, DER_SEQUENCE, &list) == -1)
		return -1;
	facts->has_eku = true;
	while (list.body.left > 0) {
		if (next(&list.body, &e) == -1)
			return -1;
		if (is_oid(&e, OID_SERVER, 8) || is_oid(&e, OID_ANY_EKU, 4))
			facts->server_auth = true;
	}
	return 0;
}

/* KeyUsage ::= BIT STRING; the first bit is digitalSignature, and in front is the number of unused ones. */
static int
read_key_usage(struct der value, struct cert_facts *facts)
{
	struct element bits;

	if (facts->has_key_usage || next_of(&value, DER_BITS, &bits) == -1)
		return -1;
	facts->has_key_usage = true;
	facts->may_sign = bits.body.left >= 2 && (bits.body.at[1] & 0x80) != 0;
	return 0;
}

/* BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, ... } */
static int
read_basic(struct der value, struct cert_facts *facts)
{
	struct element list, e;

	if (next_of(&value, DER_SEQUENCE, &list) == -1)
		return -1;
	if (list.body.left > 0 && next_of(&list.body, DER_BOOLEAN, &e) == 0 && e.body.left == 1)
		facts->is_ca = e.body.at[0] != 0;
	return 0;
}

/* SubjectAltName ::= SEQUENCE OF GeneralName */
static int
read_san(const uint8_t *der, struct der value, struct cert_facts *facts)
{
	struct element list;

	if (facts->has_san || next_of(&value, DER_SEQUENCE, &list) == -1)
		return -1;
	facts->has_san = true;
	facts->san = part_of(der, list.body.at, list.body.left);
	return 0;
}

static int
read_extension(const uint8_t *der, struct der ext, struct cert_facts *facts)
{
	struct element oid, value;

	if (next_of(&ext, DER_OID, &oid) == -1 || next(&ext, &value) == -1)
		return -1;
	if (value.tag == DER_BOOLEAN && next(&ext, &value) == -1)
		return -1;
	if (value.tag != DER_OCTETS)
		return -1;
	if (is_oid(&oid, OID_SAN, 3))
		return read_san(der, value.body, facts);
	if (is_oid(&oid, OID_NAME_CONSTRAINTS, 3))
		facts->has_name_constraints = true;
	if (is_oid(&oid, OID_KEY_USAGE, 3))
		return read_key_usage(value.body, facts);
	if (is_oid(&oid, OID_BASIC, 3))
		return read_basic(value.body, facts);
	return is_oid(&oid, OID_EKU, 3) ? read_eku(value.body, facts) : 0;
}

static int
read_extensions(const uint8_t *der, struct der tbs, struct cert_facts *facts)
{
	struct element e, list;

	while (tbs.left > 0) {
		if (next(&tbs, &e) == -1)
			return -1;
		if (e.tag != DER_EXTENSIONS)
			continue;
		if (next_of(&e.body, DER_SEQUENCE, &list) == -1)
			return -1;
		while (list.body.left > 0)
			if (next_of(&list.body, DER_SEQUENCE, &e) == -1 ||
			    read_extension(der, e.body, facts) == -1)
				return -1;
	}
	return 0;
}

/* ---- Keys ----------------------------------------------------------------------------------- */

#define OID_RSA "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
#define OID_EC "\x2a\x86\x48\xce\x3d\x02\x01"
#define OID_P256 "\x2a\x86\x48\xce\x3d\x03\x01\x07"
#define OID_P384 "\x2b\x81\x04\x00\x22"
#define OID_P521 "\x2b\x81\x04\x00\x23"

static int
read_integer(const uint8_t *der, struct der *d, struct cert_part *part)
{
	struct element e;

	if (next_of(d, DER_INTEGER, &e) == -1)
		return -1;
	while (e.body.left > 0 && e.body.at[0] == 0) {
		e.body.at++;
		e.body.left--;
	}
	*part = part_of(der, e.body.at, e.body.left);
	return e.body.left > 0 ? 0 : -1;
}

static int
read_rsa(const uint8_t *der, struct der bits, struct cert_facts *facts)
{
	struct element e;

	facts->key = CERT_KEY_RSA;
	if (next_of(&bits, DER_SEQUENCE, &e) == -1 || read_integer(der, &e.body, &facts->modulus) == -1)
		return -1;
	return read_integer(der, &e.body, &facts->exponent);
}

static enum cert_key
curve_of(const struct element *oid)
{
	if (is_oid(oid, OID_P256, 8))
		return CERT_KEY_P256;
	if (is_oid(oid, OID_P384, 5))
		return CERT_KEY_P384;
	return is_oid(oid, OID_P521, 5) ? CERT_KEY_P521 : CERT_KEY_OTHER;
}

/* SubjectPublicKeyInfo ::= SEQUENCE { SEQUENCE { OID, parameters }, BIT STRING } */
static int
read_key(const uint8_t *der, struct der spki, struct cert_facts *facts)
{
	struct element algorithm, oid, parameters, bits;

	if (next_of(&spki, DER_SEQUENCE, &algorithm) == -1 || next_of(&spki, DER_BITS, &bits) == -1)
		return -1;
	if (next_of(&algorithm.body, DER_OID, &oid) == -1 || bits.body.left < 2 || bits.body.at[0] != 0)
		return -1;
	bits.body.at++; /* the number of unused bits: 0 */
	bits.body.left--;
	if (is_oid(&oid, OID_RSA, 9))
		return read_rsa(der, bits.body, facts);
	if (is_oid(&oid, OID_EC, 7) && next_of(&algorithm.body, DER_OID, &parameters) == 0) {
		facts->key = curve_of(&parameters);
		facts->point = part_of(der, bits.body.at, bits.body.left);
	}
	return 0;
}

int
cert_read(const uint8_t *der, size_t len, struct cert_facts *facts)
{
	struct der d = {der, len}, tbs;
	struct element cert, e;

	memset(facts, 0, sizeof(*facts));
	if (next_of(&d, DER_SEQUENCE, &cert) == -1 || d.left != 0)
		return -1;
	if (next_of(&cert.body, DER_SEQUENCE, &e) == -1)
		return -1;
	tbs = e.body;
	if (next(&tbs, &e) == -1 || (e.tag == DER_VERSION && next(&tbs, &e) == -1)) /* serial number */
		return -1;
	if (next_of(&tbs, DER_SEQUENCE, &e) == -1 || next_of(&tbs, DER_SEQUENCE, &e) == -1) /* algorithm */
		return -1;
	facts->issuer = part_of(der, e.whole, e.whole_len);
	if (read_validity(&tbs, facts) == -1 || next_of(&tbs, DER_SEQUENCE, &e) == -1)
		return -1;
	facts->subject = part_of(der, e.whole, e.whole_len);
	if (next_of(&tbs, DER_SEQUENCE, &e) == -1)
		return -1;
	facts->spki = part_of(der, e.whole, e.whole_len);
	return read_key(der, e.body, facts) == -1 ? -1 : read_extensions(der, tbs, facts);
}

/* ---- Names ---------------------------------------------------------------------------------- */

bool
cert_names_address(const uint8_t *der, const struct cert_facts *facts, const uint8_t *ip, size_t len)
{
	struct der san = {der + facts->san.at, facts->san.len};
	struct element e;

	if (len != 4 && len != 16)
		return false;
	while (next(&san, &e) == 0)
		if (e.tag == DER_IP_ADDRESS && e.body.left == len && memcmp(e.body.at, ip, len) == 0)
			return true;
	return false;
}

#define OID_CN "\x55\x04\x03"
#define OID_O "\x55\x04\x0a"
#define OID_OU "\x55\x04\x0b"

/* AttributeTypeAndValue ::= SEQUENCE { OID, value }.  What was found before stays when it says more. */
static void
read_attribute(struct der pair, struct der *best, bool *is_cn)
{
	struct element oid, value;
	bool cn;

	if (next_of(&pair, DER_OID, &oid) == -1 || next(&pair, &value) == -1 || value.body.left == 0)
		return;
	cn = is_oid(&oid, OID_CN, 3);
	if (cn || (!*is_cn && (is_oid(&oid, OID_O, 3) || is_oid(&oid, OID_OU, 3)))) {
		*best = value.body;
		*is_cn = cn;
	}
}

char *
cert_name_text(char out[CERT_NAME_MAX], const uint8_t *der, const struct cert_part *name)
{
	struct der d = {der + name->at, name->len}, best = {(const uint8_t *)"-", 1};
	struct element list, set, pair;
	bool is_cn = false;
	size_t n = 0;

	if (next_of(&d, DER_SEQUENCE, &list) == 0)
		while (next_of(&list.body, DER_SET, &set) == 0)
			while (next_of(&set.body, DER_SEQUENCE, &pair) == 0)
				read_attribute(pair.body, &best, &is_cn);
	for (; n < best.left && n < CERT_NAME_MAX - 1; n++)
		out[n] = best.at[n] >= ' ' && best.at[n] <= '~' ? (char)best.at[n] : '?';
	out[n] = '\0';
	return out;
}
