/* SPDX-License-Identifier: MIT */
/* A tool of the build, run on the building machine: writes the trust anchors in the PEM files given
 * as arguments as C source, so that the program holds names and keys and needs to parse nothing. */
#include <bearssl.h>
#include <stdio.h>
#include <stdlib.h>

#include "bounds.h"
#include "trust.h"

/* trust.c wants to know the anchors that this program is there to make. */
extern const br_x509_trust_anchor trust_builtin_anchor[];
extern const struct pin trust_builtin_pin[];
extern const size_t trust_builtin_count;
const br_x509_trust_anchor trust_builtin_anchor[1];
const struct pin trust_builtin_pin[1];
const size_t trust_builtin_count;

/* Octets need no alignment; without being told the compiler fills up to the next 16. */
static void
print_octets(const char *name, size_t number, const unsigned char *data, size_t len)
{
	printf("static const _Alignas(1) unsigned char %s_%zu[] = {", name, number);
	for (size_t i = 0; i < len; i++)
		printf("%s0x%02x,", i % 16 == 0 ? "\n\t" : " ", data[i]);
	printf("\n};\n");
}

static void
print_parts(size_t number, const br_x509_trust_anchor *ta)
{
	print_octets("dn", number, ta->dn.data, ta->dn.len);
	if (ta->pkey.key_type == BR_KEYTYPE_RSA) {
		print_octets("n", number, ta->pkey.key.rsa.n, ta->pkey.key.rsa.nlen);
		print_octets("e", number, ta->pkey.key.rsa.e, ta->pkey.key.rsa.elen);
	} else {
		print_octets("q", number, ta->pkey.key.ec.q, ta->pkey.key.ec.qlen);
	}
}

#define OCTETS "(unsigned char *)%s_%zu, sizeof(%s_%zu)"

static void
print_anchor(size_t i, const br_x509_trust_anchor *ta)
{
	printf("\t{{" OCTETS "}, %u, ", "dn", i, "dn", i, ta->flags);
	if (ta->pkey.key_type == BR_KEYTYPE_RSA)
		printf("{BR_KEYTYPE_RSA, {.rsa = {" OCTETS ", " OCTETS "}}}},\n", "n", i, "n", i, "e", i, "e",
		       i);
	else
		printf("{BR_KEYTYPE_EC, {.ec = {%d, " OCTETS "}}}},\n", ta->pkey.key.ec.curve, "q", i, "q", i);
}

static void
print_pin(const struct pin *p)
{
	printf("\t{{");
	for (size_t i = 0; i < sizeof(p->sha256); i++)
		printf("%s0x%02x,", i % 16 == 0 ? "\n\t\t" : " ", p->sha256[i]);
	printf("\n\t}},\n");
}

/* Reads a file whole and turns it into anchors; ends the program when there is not exactly one. */
static const struct trust *
load(const char *path)
{
	static uint8_t pem[PEM_MAX];
	FILE *f = fopen(path, "rb");
	size_t len = f == NULL ? 0 : fread(pem, 1, sizeof(pem), f), skipped = 0;
	void *block = malloc(trust_memory(pem, len));
	const struct trust *t = block == NULL ? NULL : trust_load(block, pem, len, &skipped);

	if (f == NULL || t == NULL || trust_count(t) != 1 || skipped > 0) {
		fprintf(stderr, "mkanchors: %s: no single certificate in it\n", path);
		exit(1);
	}
	fclose(f);
	return t;
}

int
main(int argc, char **argv)
{
	size_t count = (size_t)argc - 1;
	static const struct trust *t[ANCHORS_MAX];

	if (count == 0 || count > ANCHORS_MAX) {
		fprintf(stderr, "usage: mkanchors FILE.crt ... > anchors.c\n");
		return 2;
	}
	printf("/* Made by mkanchors. */\n#include <bearssl.h>\n#include \"pin.h\"\n\n"
	       "extern const br_x509_trust_anchor trust_builtin_anchor[];\n"
	       "extern const struct pin trust_builtin_pin[];\n"
	       "extern const size_t trust_builtin_count;\n\n");
	for (size_t i = 0; i < count; i++) {
		t[i] = load(argv[i + 1]);
		print_parts(i, trust_anchors(t[i]));
	}
	printf("\nconst br_x509_trust_anchor trust_builtin_anchor[] = {\n");
	for (size_t i = 0; i < count; i++)
		print_anchor(i, trust_anchors(t[i]));
	printf("};\nconst struct pin trust_builtin_pin[] = {\n");
	for (size_t i = 0; i < count; i++)
		print_pin(trust_pin(t[i], 0));
	printf("};\nconst size_t trust_builtin_count = %zu;\n", count);
	return 0;
}
