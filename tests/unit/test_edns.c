/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LAW(holds) assert_true(holds)
#include "dnsmake.h"
#include "edns_laws.h"

#define A 1
#define NS 2
#define MX 15
#define TXT 16
#define TSIG_RDATA "\13hmac-sha256\0\0\0\0\0\0\1\1\54\0\4mac!\22\64\0\0\0\0"
#define SUBNET "\0\1\30\0\300\0\2"

/* The query, and what is known of it; the upstream's answer; what was made of either. */
static struct made query, answer;
static struct edns_facts facts;
static struct edns_answer seen, made;
static enum dns_rcode rcode;
static enum edns_ede ede;
static struct edns_facts sent_facts;
static uint8_t sent[UPSTREAM_MSG_MAX];
static size_t sent_len;
static uint8_t out[DNS_MESSAGE_MAX];
static size_t out_len;
static struct edns_reply reply;

/* Reads through memory of exactly the message's size, so that a read outside is seen. */
static enum edns_verdict
judge_octets(const uint8_t *msg, size_t len)
{
	uint8_t *exact = malloc(len != 0 ? len : 1);
	enum edns_verdict verdict;

	assert_non_null(exact);
	memcpy(exact, msg, len);
	verdict = edns_read_query(exact, len, &facts, &rcode, &ede);
	free(exact);
	return verdict;
}

static enum edns_verdict
judge(void)
{
	return judge_octets(query.buf, query.len);
}

static void
expect_reply(enum dns_rcode expected)
{
	assert_int_equal(judge(), EDNS_REPLY);
	assert_int_equal(rcode, expected);
}

/* A query for www.example.com A without OPT. */
static void
ask(unsigned flags)
{
	made_init(&query, 0x1234, flags);
	made_question(&query, "www.Example.com", A, 1);
	reply = (struct edns_reply){.id = 0x1234, .limit = 65535, .udp_size = 1232, .keepalive = -1};
}

static void
ask_with_opt(unsigned flags, uint32_t opt_ttl)
{
	ask(flags);
	made_opt(&query, 4096, opt_ttl);
}

/* Makes what leaves for the upstream, and reads it again. */
static void
send_query(bool plain)
{
	enum dns_rcode r;
	enum edns_ede e;

	assert_int_equal(judge(), EDNS_FORWARD);
	memset(sent, 0xee, sizeof(sent));
	sent_len = edns_make_query(sent, query.buf, query.len, &facts, 0x4321, plain);
	assert_int_equal(dns_id(sent), 0x4321);
	if (sent_len <= QUERY_MSG_MAX)
		assert_int_equal(edns_read_query(sent, sent_len, &sent_facts, &r, &e), EDNS_FORWARD);
}

/* An answer to ask(), in lower case as some upstreams give it. */
static void
begin_answer(unsigned flags)
{
	made_init(&answer, 0x4321, DNS_QR | flags);
	made_question(&answer, "www.example.com", A, 1);
}

static int
read_answer(void)
{
	uint8_t *exact = malloc(answer.len);
	int result;

	assert_non_null(exact);
	memcpy(exact, answer.buf, answer.len);
	result = edns_read_answer(exact, answer.len, &seen);
	free(exact);
	return result;
}

/* Makes the client's answer, and reads it again. */
static void
give_answer(void)
{
	assert_int_equal(judge(), EDNS_FORWARD);
	assert_int_equal(read_answer(), 0);
	out_len = edns_make_answer(out, answer.buf, answer.len, &seen, query.buf, &facts, &reply);
	assert_int_not_equal(out_len, 0);
	assert_true(out_len <= reply.limit);
	assert_int_equal(dns_id(out), reply.id);
	assert_int_equal(edns_read_answer(out, out_len, &made), 0);
	assert_int_equal(made.end, out_len);
}

static void
give_error(enum dns_rcode code, enum edns_ede info, const char *text)
{
	out_len = edns_make_error(out, query.buf, query.len, &facts, code, info, text, &reply);
	assert_true(out_len <= 512);
	assert_int_equal(dns_id(out), reply.id);
	out[2] &= 0x87; /* opcode QUERY, for the reader */
	assert_int_equal(edns_read_answer(out, out_len, &made), 0);
	assert_int_equal(made.end, out_len);
	out[2] |= query.buf[2] & 0x78;
}

/* The data of the one option of that code, with its length before it; NULL when there is none. */
static const uint8_t *
option_in(const uint8_t *msg, size_t opt_at, size_t opt_len, unsigned code)
{
	const uint8_t *found = NULL;

	for (size_t at = opt_at + 11; opt_len != 0 && at < opt_at + opt_len; at += 4u + get16(msg + at + 2)) {
		if (get16(msg + at) != code)
			continue;
		assert_null(found);
		found = msg + at + 2;
	}
	return found;
}

static const uint8_t *
sent_option(unsigned code)
{
	return option_in(sent, sent_facts.opt_at, sent_facts.opt_len, code);
}

static const uint8_t *
given_option(unsigned code)
{
	return option_in(out, made.opt_at, made.opt_len, code);
}

static void
expect_option(const uint8_t *option, const void *data, size_t len)
{
	assert_non_null(option);
	assert_int_equal(get16(option), len);
	assert_memory_equal(option + 2, data, len);
}

static unsigned
given_flags(void)
{
	return dns_flags(out);
}

/* ---- Judging a query -------------------------------------------------------------------------- */

static void
a_query_shorter_than_a_header_is_dropped(void **state)
{
	(void)state;
	ask(DNS_RD);
	for (size_t len = 0; len < 12; len++)
		assert_int_equal(judge_octets(query.buf, len), EDNS_DROP);
}

/* RFC 1035 section 4.1.1: two proxies must not answer each other for ever. */
static void
a_response_is_dropped(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags < 0x8000; flags += 0x10) {
		ask(DNS_QR | flags);
		assert_int_equal(judge(), EDNS_DROP);
	}
}

static void
a_plain_query_is_forwarded(void **state)
{
	(void)state;
	ask(DNS_RD);
	assert_int_equal(judge(), EDNS_FORWARD);
	assert_int_equal(facts.question_end, query.len);
	assert_int_equal(facts.question.name_len, 17);
	assert_int_equal(facts.opt_len, 0);
	assert_int_equal(facts.udp_size, 512);
	assert_false(facts.has_opt || facts.dnssec_ok || facts.keepalive || facts.is_signed);
}

/* RFC 5625 section 4.1: AD, CD, Z and the rest are no reason to refuse. */
static void
header_flags_are_ignored(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags < 0x8000; flags++) {
		if ((flags & DNS_OPCODE) != 0)
			continue;
		ask(flags);
		assert_int_equal(judge(), EDNS_FORWARD);
	}
}

/* RFC 5625 section 4.3, RFC 3597 section 3, RFC 8482 section 4 (ANY). */
static void
every_type_and_class_is_forwarded(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 65536; type++) {
		made_init(&query, 1, 0);
		made_question(&query, "example.com", type, 65535 - type);
		assert_int_equal(edns_read_query(query.buf, query.len, &facts, &rcode, &ede),
				 type == 251 || type == 252 ? EDNS_REPLY : EDNS_FORWARD);
		assert_int_equal(facts.question.type, type);
		assert_int_equal(facts.question.class, 65535 - type);
	}
}

/* RFC 5625 section 4.3: records of any type and class too. */
static void
records_of_unknown_types_are_forwarded(void **state)
{
	(void)state;
	ask(0);
	made_rr(&query, MADE_ANSWER, "a.12>", 65280, 4711, 1);
	made_rdata(&query, "\300\14\377", 3);
	made_rr(&query, MADE_AUTHORITY, "16>", 65281, 0, 0);
	made_rr(&query, MADE_ADDITIONAL, "b", 65282, 65535, 0);
	made_opt(&query, 1232, 0);
	send_query(false);
	law_same_records(query.buf, query.len, sent, sent_len);
}

/* RFC 2181 section 11: any octets, any length. */
static void
every_name_is_forwarded(void **state)
{
	char name[8];

	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		snprintf(name, sizeof(name), "\\%03u", c);
		made_init(&query, 1, 0);
		made_question(&query, name, A, 1);
		send_query(false);
		assert_int_equal(sent[13], c);
	}
}

/* RFC 5936: an answer of many messages. */
static void
zone_transfers_are_refused_as_not_supported(void **state)
{
	(void)state;
	for (unsigned type = 251; type <= 252; type++) {
		made_init(&query, 1, 0);
		made_question(&query, "example.com", type, 1);
		expect_reply(DNS_REFUSED);
		assert_int_equal(ede, EDE_NOT_SUPPORTED);
	}
}

/* RFC 1035 section 4.1.1; RFC 8490 section 5.1.1 for DSO (6): silence or NOERROR would be wrong. */
static void
other_opcodes_are_not_implemented(void **state)
{
	(void)state;
	for (unsigned opcode = 1; opcode < 16; opcode++) {
		if (opcode == DNS_OP_DSO)
			continue;
		ask_with_opt(opcode << 11 | DNS_RD, 0);
		expect_reply(DNS_NOTIMP);
		give_error(rcode, ede, NULL);
		assert_int_equal(dns_opcode(out), opcode);
		assert_int_equal(dns_qdcount(out), 1);
		assert_int_not_equal(made.opt_len, 0);
	}
	made_init(&query, 1, DNS_OP_DSO << 11);
	made_octets(&query, "\0\1\0\10\0\0\72\230\0\0\72\230", 12);
	expect_reply(DNS_NOTIMP);
}

/* RFC 8490 section 5.4. */
static void
dso_with_a_count_is_a_format_error(void **state)
{
	(void)state;
	for (size_t count = 4; count < 12; count++) {
		made_init(&query, 1, DNS_OP_DSO << 11);
		query.buf[count] = 1;
		expect_reply(DNS_FORMERR);
	}
}

/* RFC 9619 section 4. */
static void
any_number_of_questions_but_one_is_a_format_error(void **state)
{
	(void)state;
	made_init(&query, 1, 0);
	expect_reply(DNS_FORMERR);
	assert_int_equal(facts.question_end, 12);
	made_opt(&query, 1232, 0);
	expect_reply(DNS_FORMERR);
	assert_true(facts.has_opt);
	ask(0);
	made_question(&query, "example.com", A, 1);
	made_opt(&query, 1232, 0);
	expect_reply(DNS_FORMERR);
	assert_true(facts.has_opt);
	assert_int_equal(facts.question_end, 12);
	put16(query.buf + 4, 65535);
	expect_reply(DNS_FORMERR);
}

static void
a_query_cut_anywhere_is_a_format_error(void **state)
{
	(void)state;
	ask_with_opt(DNS_RD, 0);
	made_option(&query, EDNS_COOKIE, "12345678", 8);
	made_rr(&query, MADE_ADDITIONAL, "tail", TXT, 1, 0);
	made_rdata(&query, "\3abc", 4);
	for (size_t len = 12; len < query.len; len++) {
		assert_int_equal(judge_octets(query.buf, len), EDNS_REPLY);
		assert_int_equal(rcode, DNS_FORMERR);
	}
	assert_int_equal(judge(), EDNS_FORWARD);
}

static void
octets_behind_the_last_record_are_a_format_error(void **state)
{
	(void)state;
	ask(0);
	made_u8(&query, 0);
	expect_reply(DNS_FORMERR);
	assert_int_equal(facts.question_end, query.len - 1);
	ask_with_opt(0, 0);
	made_u8(&query, 0);
	expect_reply(DNS_FORMERR);
	assert_true(facts.has_opt);
}

static void
a_query_longer_than_is_taken_is_a_format_error(void **state)
{
	static const uint8_t filler[QUERY_MSG_MAX];

	(void)state;
	ask(0);
	made_rr(&query, MADE_ADDITIONAL, "", TXT, 1, 0);
	made_rdata(&query, filler, QUERY_MSG_MAX + 1 - query.len);
	assert_int_equal(query.len, QUERY_MSG_MAX + 1);
	expect_reply(DNS_FORMERR);
}

/* RFC 6891 section 6.1.1; section 7 for the OPT in the reply. */
static void
two_opt_records_are_a_format_error(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	made_opt(&query, 1232, 0);
	expect_reply(DNS_FORMERR);
	give_error(rcode, ede, NULL);
	assert_int_not_equal(made.opt_len, 0);
}

/* RFC 6891 section 6.1.1: "in the additional data section". */
static void
an_opt_record_in_another_section_is_a_format_error(void **state)
{
	(void)state;
	ask(0);
	made_rr(&query, MADE_ANSWER, "", 41, 1232, 0);
	expect_reply(DNS_FORMERR);
	assert_true(facts.has_opt);
	ask(0);
	made_rr(&query, MADE_AUTHORITY, "", 41, 1232, 0);
	expect_reply(DNS_FORMERR);
	assert_true(facts.has_opt);
}

/* RFC 6891 section 6.1.2: its owner MUST be the root. */
static void
an_opt_record_with_a_name_is_a_format_error(void **state)
{
	(void)state;
	ask(0);
	made_rr(&query, MADE_ADDITIONAL, "x", 41, 1232, 0);
	expect_reply(DNS_FORMERR);
	assert_true(facts.has_opt);
	ask(0);
	made_rr(&query, MADE_ADDITIONAL, "28>", 41, 1232, 0); /* the root, but by a pointer */
	expect_reply(DNS_FORMERR);
}

/* RFC 6891 section 7: FORMERR, and an OPT record in the reply. */
static void
options_that_do_not_fill_their_opt_are_a_format_error(void **state)
{
	(void)state;
	for (size_t cut = 1; cut < 12; cut++) {
		if (cut == 8)
			continue; /* leaves one whole option */
		ask_with_opt(0, 0x8000);
		made_option(&query, 65001, "", 0);
		made_option(&query, 65002, "1234", 4);
		query.len -= cut;
		made_rdlen(&query);
		expect_reply(DNS_FORMERR);
		give_error(rcode, ede, NULL);
		assert_int_not_equal(made.opt_len, 0);
	}
}

/* RFC 6891 section 6.1.3: the reply's OPT holds the upper bits of 16, and our version, 0. */
static void
an_unknown_version_is_answered_with_badvers(void **state)
{
	(void)state;
	for (uint32_t version = 1; version < 256; version++) {
		ask_with_opt(DNS_RD, version << 16 | 0x8000);
		made_octets(&query, "odd", 3); /* options of a version nobody knows */
		made_rdlen(&query);
		expect_reply(DNS_BADVERS);
		give_error(rcode, ede, NULL);
		assert_int_equal(made.rcode, 16);
		assert_int_equal(dns_rcode(out), 0);
		assert_true(get32(out + made.opt_at + 5) == 0x01008000);
	}
}

/* RFC 6891 section 6.1.2: MUST be ignored. */
static void
unknown_options_are_ignored(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	for (unsigned code = 0; code < 65536; code += 257)
		made_option(&query, code, "x", code & 1);
	assert_int_equal(judge(), EDNS_FORWARD);
}

/* RFC 6891 section 6.1.4: undefined flags are no reason to refuse. */
static void
unknown_opt_flags_and_extended_rcodes_are_ignored(void **state)
{
	(void)state;
	ask_with_opt(0, 0xff007fff);
	assert_int_equal(judge(), EDNS_FORWARD);
	assert_false(facts.dnssec_ok);
}

/* RFC 6891 section 6.2.3: values below 512 MUST be treated as 512. */
static void
udp_sizes_below_512_count_as_512(void **state)
{
	static const unsigned sizes[][2] = {{0, 512},	{1, 512},     {511, 512},   {512, 512},
					    {513, 513}, {1232, 1232}, {4096, 4096}, {65535, 65535}};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ask(0);
		made_opt(&query, sizes[i][0], 0);
		assert_int_equal(judge(), EDNS_FORWARD);
		assert_int_equal(facts.udp_size, sizes[i][1]);
	}
}

static void
what_the_opt_says_is_noted(void **state)
{
	size_t at;

	(void)state;
	ask(0);
	at = made_opt(&query, 1400, 0x8000);
	made_option(&query, EDNS_KEEPALIVE, "", 0);
	made_option(&query, EDNS_ECS, SUBNET, 7);
	made_option(&query, EDNS_PADDING, "\0\0\0", 3);
	assert_int_equal(judge(), EDNS_FORWARD);
	assert_true(facts.has_opt && facts.dnssec_ok && facts.keepalive && !facts.is_signed);
	assert_int_equal(facts.opt_at, at);
	assert_int_equal(facts.opt_len, query.len - at);
	assert_int_equal(facts.ecs_at, at + 11 + 4);
	assert_int_equal(facts.ecs_len, 4 + 7);
	assert_int_equal(facts.udp_size, 1400);
}

/* RFC 8945 section 5.2. */
static void
tsig_that_is_not_last_is_a_format_error(void **state)
{
	(void)state;
	ask(0);
	made_rr(&query, MADE_ADDITIONAL, "key", 250, 255, 0);
	made_rdata(&query, TSIG_RDATA, sizeof(TSIG_RDATA) - 1);
	assert_int_equal(judge(), EDNS_FORWARD);
	assert_true(facts.is_signed);
	made_opt(&query, 1232, 0);
	expect_reply(DNS_FORMERR);
	assert_true(facts.has_opt);
	ask(0);
	made_rr(&query, MADE_AUTHORITY, "key", 250, 255, 0);
	expect_reply(DNS_FORMERR);
	ask(0);
	made_rr(&query, MADE_ADDITIONAL, "key", 250, 255, 0);
	made_rr(&query, MADE_ADDITIONAL, "key", 250, 255, 0);
	expect_reply(DNS_FORMERR);
}

/* RFC 2931 section 3: SIG(0) covers no type and comes last. */
static void
sig0_signs_only_as_the_last_record(void **state)
{
	static const uint8_t sig0[18 + 1], covers_a[18 + 1] = {0, 1};

	(void)state;
	ask(0);
	made_rr(&query, MADE_ADDITIONAL, "", 24, 255, 0);
	made_rdata(&query, sig0, sizeof(sig0));
	assert_int_equal(judge(), EDNS_FORWARD);
	assert_true(facts.is_signed);
	made_opt(&query, 1232, 0);
	assert_int_equal(judge(), EDNS_FORWARD);
	assert_false(facts.is_signed);
	ask(0);
	made_rr(&query, MADE_ADDITIONAL, "", 24, 255, 0);
	made_rdata(&query, covers_a, sizeof(covers_a));
	assert_int_equal(judge(), EDNS_FORWARD);
	assert_false(facts.is_signed);
	for (size_t len = 0; len < 2; len++) { /* too short to say what it covers */
		ask(0);
		made_rr(&query, MADE_ADDITIONAL, "", 24, 255, 0);
		made_rdata(&query, sig0, len);
		assert_int_equal(judge(), EDNS_FORWARD);
		assert_false(facts.is_signed);
	}
}

/* ---- What leaves for the upstream ------------------------------------------------------------- */

/* RFC 1035 section 4.1.1, RFC 4035 section 3.2.2 (CD), RFC 6840 section 5.7 (AD), RFC 5625 section 4.1. */
static void
header_flags_and_question_leave_as_they_came(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags < 0x8000; flags += 0x10) {
		if ((flags & DNS_OPCODE) != 0)
			continue;
		ask(flags);
		send_query(false);
		assert_int_equal(dns_flags(sent), flags);
		assert_memory_equal(sent + 12, query.buf + 12, query.len - 12);
		assert_int_equal(dns_arcount(sent), 1);
	}
}

/* RFC 3225 section 3, RFC 4035 section 3.2.1; other flags of the OPT are sent as 0. */
static void
the_do_bit_leaves_as_it_came(void **state)
{
	(void)state;
	ask_with_opt(0, 0xffff);
	send_query(false);
	assert_true(get32(sent + sent_facts.opt_at + 5) == 0x8000);
	ask_with_opt(0, 0x7fff);
	send_query(false);
	assert_true(get32(sent + sent_facts.opt_at + 5) == 0);
}

/* RFC 8467 section 4.1; RFC 7830 section 3: one padding option, of zeros, and the last one. */
static void
every_query_is_padded_to_a_multiple_of_128(void **state)
{
	char name[200];
	unsigned empty = 0;

	(void)state;
	for (size_t n = 0; n < 186; n++) {
		for (size_t i = 0; i < n; i++)
			name[i] = i % 60 == 59 ? '.' : 'a';
		name[n] = '\0';
		made_init(&query, 1, 0);
		made_question(&query, name, A, 1);
		send_query(false);
		assert_int_equal(sent_len % 128, 0);
		assert_true(sent_len < query.len + 27 + 128);
		assert_non_null(sent_option(EDNS_PADDING));
		assert_ptr_equal(sent_option(EDNS_PADDING) + 2 + get16(sent_option(EDNS_PADDING)),
				 sent + sent_len);
		for (const uint8_t *p = sent_option(EDNS_PADDING) + 2; p < sent + sent_len; p++)
			assert_int_equal(*p, 0);
		empty += get16(sent_option(EDNS_PADDING)) == 0;
	}
	assert_in_range(empty, 1, 2);
}

/* RFC 7871 section 7.1.2: source prefix length 0 says that nothing of the client may be told. */
static void
a_subnet_of_no_bits_leaves_by_default(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	send_query(false);
	expect_option(sent_option(EDNS_ECS), "\0\1\0\0", 4);
}

/* RFC 7871 section 11.1: a client's own choice stands, 0 bits too. */
static void
the_clients_own_subnet_leaves_as_it_came(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	made_option(&query, EDNS_ECS, SUBNET, 7);
	send_query(false);
	expect_option(sent_option(EDNS_ECS), SUBNET, 7);
	ask_with_opt(0, 0);
	made_option(&query, EDNS_ECS, "\0\2\0\0", 4);
	send_query(false);
	made_option(&query, EDNS_ECS, SUBNET, 7); /* a second one does not */
	send_query(false);
	expect_option(sent_option(EDNS_ECS), "\0\2\0\0", 4);
}

/* RFC 7871 section 6: as many octets of the address as the source prefix needs, and no more. */
static void
each_subnet_that_can_be_is_passed_on(void **state)
{
	uint8_t subnet[20] = {0};

	(void)state;
	for (unsigned family = 1; family <= 2; family++)
		for (unsigned bits = 0; bits <= (family == 1 ? 32 : 128); bits++) {
			subnet[1] = (uint8_t)family;
			subnet[2] = (uint8_t)bits;
			ask_with_opt(0, 0);
			made_option(&query, EDNS_ECS, subnet, 4 + (bits + 7) / 8);
			send_query(false);
			expect_option(sent_option(EDNS_ECS), subnet, 4 + (bits + 7) / 8);
		}
	ask_with_opt(0, 0);
	made_option(&query, EDNS_ECS, "\0\0\0\0", 4);
	send_query(false);
	expect_option(sent_option(EDNS_ECS), "\0\0\0\0", 4);
}

/* An upstream would call it a format error, and might be taken for one that does not know OPT. */
static void
a_client_subnet_that_is_none_is_a_format_error(void **state)
{
	static const struct {
		const char *octets;
		size_t len;
	} none[] = {
		{"", 0},
		{"\0\1\0", 3},			     /* too short for its head */
		{"\0\3\0\0", 4},		     /* no such family */
		{"\1\1\30\0\300\0\2", 7},	     /* nor this */
		{"\0\0\10\0\12", 5},		     /* no family, yet a prefix */
		{"\0\0\0\0\12", 5},		     /* no prefix, yet an address */
		{"\0\1\41\0\300\0\2\1\0", 9},	     /* 33 bits */
		{"\0\2\201\0abcdefghijklmnopq", 21}, /* 129 bits */
		{"\0\1\30\1\300\0\2", 7},	     /* a scope is for answers */
		{"\0\1\30\377\300\0\2", 7},
		{"\0\1\30\0\300\0", 6},		   /* an octet too few */
		{"\0\1\30\0\300\0\2\0", 8},	   /* and one too many */
		{"\0\1\31\0\300\0\2", 7},	   /* 25 bits in three octets */
		{"\0\1\0\0\0", 5},		   /* no bits in one */
		{"\0\2\70\0\40\1\15\270\0\0", 10}, /* 56 bits in six */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		ask_with_opt(0, 0);
		made_option(&query, EDNS_ECS, none[i].octets, none[i].len);
		expect_reply(DNS_FORMERR);
		assert_true(facts.has_opt);
		/* Behind one that is good, and in front of it. */
		ask_with_opt(0, 0);
		made_option(&query, EDNS_ECS, SUBNET, 7);
		made_option(&query, EDNS_ECS, none[i].octets, none[i].len);
		expect_reply(DNS_FORMERR);
		ask_with_opt(0, 0);
		made_option(&query, EDNS_ECS, none[i].octets, none[i].len);
		made_option(&query, EDNS_ECS, SUBNET, 7);
		expect_reply(DNS_FORMERR);
	}
}

/* RFC 7828 section 3.2.1. */
static void
an_empty_keepalive_leaves(void **state)
{
	(void)state;
	ask(0);
	send_query(false);
	expect_option(sent_option(EDNS_KEEPALIVE), "", 0);
}

/* RFC 6891 section 6.2.6: both sides are separate transactions; RFC 7873: cookies are per hop. */
static void
no_other_option_of_the_client_leaves(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	made_option(&query, EDNS_COOKIE, "12345678", 8);
	made_option(&query, EDNS_PADDING, "secret", 6);
	made_option(&query, EDNS_KEEPALIVE, "\0\1", 2);
	made_option(&query, EDNS_EDE, "\0\1", 2);
	made_option(&query, 3, "", 0);
	made_option(&query, 65001, "secret", 6);
	send_query(false);
	assert_int_equal(law_count_options(sent, sent_facts.opt_at, sent_facts.opt_len, -1), 3);
	assert_non_null(sent_option(EDNS_ECS));
	expect_option(sent_option(EDNS_KEEPALIVE), "", 0);
	assert_non_null(sent_option(EDNS_PADDING));
	assert_int_equal(dns_arcount(sent), 1);
}

/* RFC 6891 section 6.2.2: an upstream that refuses OPT still serves. */
static void
a_plain_query_leaves_without_any_opt(void **state)
{
	struct made without;

	(void)state;
	ask(DNS_RD);
	without = query;
	send_query(true);
	assert_int_equal(sent_len, query.len);
	assert_memory_equal(sent + 2, query.buf + 2, query.len - 2);
	ask_with_opt(DNS_RD, 0x8000);
	made_option(&query, EDNS_COOKIE, "12345678", 8);
	send_query(true);
	assert_int_equal(sent_len, without.len);
	assert_memory_equal(sent + 2, without.buf + 2, without.len - 2);
}

static void
an_opt_in_the_middle_is_taken_out_and_pointers_follow(void **state)
{
	struct dns_rr rr;
	char tail[16];

	(void)state;
	ask(0);
	made_a(&query, MADE_ADDITIONAL, "before", 1);
	made_opt(&query, 1232, 0);
	made_option(&query, 65001, "gone", 4);
	snprintf(tail, sizeof(tail), "%zu>", query.len);
	made_a(&query, MADE_ADDITIONAL, "tail.16>", 2);
	made_rr(&query, MADE_ADDITIONAL, tail, TXT, 1, 0);
	made_rdata(&query, "\300\100", 2);
	send_query(true);
	assert_int_equal(sent_len, query.len - facts.opt_len);
	assert_int_equal(dns_arcount(sent), 3);
	law_same_records(query.buf, query.len, sent, sent_len);
	assert_int_equal(dns_read_rr(sent, sent_len, sent_len - 14, &rr), 0);
	assert_int_equal(get16(sent + rr.at), 0xc000 | facts.opt_at);
	assert_memory_equal(sent + facts.opt_at, "\4tail\300\20", 7);
	assert_memory_equal(sent + rr.rdata, "\300\100", 2);
	send_query(false);
	assert_int_equal(sent_facts.opt_at + sent_facts.opt_len, sent_len);
	assert_int_equal(dns_arcount(sent), 4);
}

/* RFC 3597 section 4: only these types may hold compressed names; the rest is never looked into. */
static void
an_opt_that_cannot_be_taken_out_is_a_format_error(void **state)
{
	static const uint8_t may[] = {2, 3, 4, 5, 6, 7, 8, 9, 12, 14, 15, 17, 18, 21, 24, 26, 30, 33, 35};

	(void)state;
	for (unsigned type = 0; type < 512; type++) {
		bool compresses = type < 256 && memchr(may, (int)type, sizeof(may)) != NULL;
		size_t at;

		if (type == 41 || type == 250)
			continue;
		ask_with_opt(0, 0);
		at = query.len;
		made_a(&query, MADE_ADDITIONAL, "tail", 2);
		made_rr(&query, MADE_ADDITIONAL, "", type, 1, 0);
		made_octets(&query, "\0\5\1a", 4);
		made_u16(&query, 0xc000u | (unsigned)at);
		made_rdlen(&query);
		if (compresses)
			expect_reply(DNS_FORMERR);
		else
			send_query(false);
		assert_true(facts.has_opt);
		put16(query.buf + query.len - 2, 0xc00c); /* before the OPT: nothing moves */
		send_query(false);
	}
}

static void
an_owner_that_points_into_the_opt_is_a_format_error(void **state)
{
	char owner[16];

	(void)state;
	ask_with_opt(0, 0);
	snprintf(owner, sizeof(owner), "%zu>", query.len - 11);
	made_a(&query, MADE_ADDITIONAL, owner, 1);
	expect_reply(DNS_FORMERR);
}

/* RFC 5625 section 4.5, RFC 8945, RFC 2931. */
static void
a_signed_query_leaves_unchanged_but_for_its_id(void **state)
{
	(void)state;
	for (int plain = 0; plain < 2; plain++) {
		ask_with_opt(DNS_RD, 0x8000);
		made_option(&query, EDNS_COOKIE, "12345678", 8);
		made_rr(&query, MADE_ADDITIONAL, "key", 250, 255, 0);
		made_rdata(&query, TSIG_RDATA, sizeof(TSIG_RDATA) - 1);
		send_query(plain != 0);
		assert_true(facts.is_signed);
		assert_int_equal(sent_len, query.len);
		assert_memory_equal(sent + 2, query.buf + 2, query.len - 2);
	}
}

/* Nothing is taken out of it, so nothing in it is in the way. */
static void
a_signed_query_may_hold_names_behind_its_opt(void **state)
{
	size_t at;

	(void)state;
	ask_with_opt(DNS_RD, 0);
	at = query.len;
	made_a(&query, MADE_ADDITIONAL, "tail", 1);
	made_rr(&query, MADE_ADDITIONAL, "", MX, 1, 0);
	made_u16(&query, 10);
	made_u16(&query, 0xc000u | (unsigned)at);
	made_rdlen(&query);
	expect_reply(DNS_FORMERR);
	made_rr(&query, MADE_ADDITIONAL, "key", 250, 255, 0);
	send_query(false);
	assert_int_equal(sent_len, query.len);
}

/* RFC 5625 section 4.5: TKEY is carried too. */
static void
a_tkey_record_is_carried(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	made_rr(&query, MADE_ADDITIONAL, "key.12>", 249, 255, 0);
	made_rdata(&query, "\10gss-tsig\0\300\377\377\377", 14);
	send_query(false);
	law_same_records(query.buf, query.len, sent, sent_len);
}

/* RFC 5625 section 4.4.3. */
static void
the_largest_query_leaves_whole(void **state)
{
	static const uint8_t filler[QUERY_MSG_MAX];

	(void)state;
	ask(0);
	made_rr(&query, MADE_ADDITIONAL, "", TXT, 1, 0);
	made_rdata(&query, filler, QUERY_MSG_MAX - query.len);
	assert_int_equal(query.len, QUERY_MSG_MAX);
	send_query(false);
	assert_true(sent_len <= UPSTREAM_MSG_MAX && sent_len % 128 == 0);
	law_same_records(query.buf, query.len, sent, sent_len);
	ask_with_opt(0, 0);
	made_option(&query, EDNS_ECS, "\0\2\200\0abcdefghijklmnop", 20);
	made_rr(&query, MADE_ADDITIONAL, "", TXT, 1, 0);
	made_rdata(&query, filler, QUERY_MSG_MAX - query.len);
	assert_int_equal(query.len, QUERY_MSG_MAX);
	send_query(false);
	assert_true(sent_len <= UPSTREAM_MSG_MAX && sent_len % 128 == 0);
}

/* ---- Reading an answer ------------------------------------------------------------------------ */

static void
an_answer_is_read(void **state)
{
	(void)state;
	begin_answer(DNS_RD | DNS_RA | DNS_NXDOMAIN);
	assert_int_equal(read_answer(), 0);
	assert_int_equal(seen.rcode, DNS_NXDOMAIN);
	assert_int_equal(seen.question.end, answer.len);
	assert_int_equal(seen.opt_len, 0);
	assert_false(seen.has_keepalive || seen.has_padding || seen.tail_names);
	made_a(&answer, MADE_ANSWER, "12>", 1);
	made_opt(&answer, 1232, 0x01000000);
	made_option(&answer, EDNS_PADDING, "\0", 1);
	made_option(&answer, EDNS_KEEPALIVE, "\1\2", 2);
	assert_int_equal(read_answer(), 0);
	assert_int_equal(seen.rcode, 16 + DNS_NXDOMAIN);
	assert_true(seen.has_padding);
	assert_true(seen.has_keepalive);
	assert_int_equal(seen.keepalive, 0x102);
	assert_int_equal(seen.opt_at + seen.opt_len, answer.len);
	assert_int_equal(seen.end, answer.len);
}

/* RFC 7828 section 3.1: a timeout has two octets. */
static void
a_keepalive_without_a_timeout_says_nothing(void **state)
{
	(void)state;
	for (size_t len = 0; len < 5; len++) {
		begin_answer(0);
		made_opt(&answer, 1232, 0);
		made_option(&answer, EDNS_KEEPALIVE, "\1\2\3\4", len);
		assert_int_equal(read_answer(), 0);
		assert_int_equal(seen.has_keepalive, len == 2);
		assert_false(seen.has_padding);
	}
}

static void
an_answer_without_an_extended_error_has_none(void **state)
{
	(void)state;
	begin_answer(DNS_SERVFAIL);
	assert_int_equal(read_answer(), 0);
	assert_int_equal(seen.ede, EDE_NONE);
	made_opt(&answer, 1232, 0);
	made_option(&answer, EDNS_PADDING, "\0\6", 2);
	assert_int_equal(read_answer(), 0);
	assert_int_equal(seen.ede, EDE_NONE);
}

/* RFC 8914 section 2: the INFO-CODE has two octets, and a text may follow. */
static void
the_first_extended_error_is_read(void **state)
{
	static const uint8_t data[] = {0x12, 0x34, 't', 'e', 'x', 't'};

	(void)state;
	for (size_t len = 0; len <= sizeof(data); len++) {
		begin_answer(DNS_SERVFAIL);
		made_opt(&answer, 1232, 0);
		made_option(&answer, EDNS_EDE, data, len);
		assert_int_equal(read_answer(), 0);
		assert_int_equal(seen.ede, len >= 2 ? 0x1234 : EDE_NONE);
		/* One that is too short is passed over; what comes behind the first does not count. */
		made_option(&answer, EDNS_KEEPALIVE, "\1\2", 2);
		made_option(&answer, EDNS_EDE, "\0\0", 2);
		assert_int_equal(read_answer(), 0);
		assert_int_equal(seen.ede, len >= 2 ? 0x1234 : EDE_OTHER);
		assert_true(seen.has_keepalive);
	}
}

static void
an_extended_error_behind_a_broken_option_is_not_read(void **state)
{
	(void)state;
	begin_answer(DNS_SERVFAIL);
	made_opt(&answer, 1232, 0);
	made_octets(&answer, "\0\17\0\12\0\6", 6); /* longer than the OPT */
	made_rdlen(&answer);
	assert_int_equal(read_answer(), 0);
	assert_int_equal(seen.ede, EDE_NONE);
}

/* RFC 7871 section 7.3.1: above 0 it is for some clients only. */
static void
the_scope_of_an_answer_is_read(void **state)
{
	static const uint8_t data[] = {0, 1, 24, 17, 192, 0, 2};

	(void)state;
	for (size_t len = 0; len <= sizeof(data); len++) {
		begin_answer(DNS_NOERROR);
		made_opt(&answer, 1232, 0);
		made_option(&answer, EDNS_ECS, data, len);
		assert_int_equal(read_answer(), 0);
		assert_int_equal(seen.scope, len >= 4 ? 17 : 0);
	}
	begin_answer(DNS_NOERROR);
	made_opt(&answer, 1232, 0);
	made_option(&answer, EDNS_COOKIE, "\0\1\30\21\0\0\0\0", 8);
	assert_int_equal(read_answer(), 0);
	assert_int_equal(seen.scope, 0);
}

static void
what_is_no_answer_is_refused(void **state)
{
	(void)state;
	begin_answer(0);
	answer.buf[2] &= 0x7f;
	assert_int_equal(read_answer(), -1);
	for (unsigned opcode = 1; opcode < 16; opcode++) {
		begin_answer(opcode << 11);
		assert_int_equal(read_answer(), -1);
	}
	begin_answer(0);
	made_question(&answer, "www.example.com", A, 1);
	assert_int_equal(read_answer(), -1);
	made_init(&answer, 1, DNS_QR | DNS_FORMERR);
	assert_int_equal(read_answer(), 0);
	for (answer.len = 1; answer.len < 12; answer.len++)
		assert_int_equal(read_answer(), -1);
}

static void
an_answer_cut_anywhere_is_refused(void **state)
{
	size_t whole;

	(void)state;
	begin_answer(0);
	made_a(&answer, MADE_ANSWER, "12>", 1);
	made_rr(&answer, MADE_AUTHORITY, "16>", NS, 1, 1);
	made_rdata_name(&answer, "ns.16>");
	made_opt(&answer, 1232, 0);
	made_option(&answer, EDNS_EDE, "\0\1", 2);
	whole = answer.len;
	for (answer.len = 1; answer.len < whole; answer.len++)
		assert_int_equal(read_answer(), -1);
	assert_int_equal(read_answer(), 0);
}

static void
an_answer_with_two_opts_or_one_out_of_place_is_refused(void **state)
{
	(void)state;
	begin_answer(0);
	made_opt(&answer, 1232, 0);
	made_opt(&answer, 1232, 0);
	assert_int_equal(read_answer(), -1);
	begin_answer(0);
	made_rr(&answer, MADE_ANSWER, "", 41, 1232, 0);
	assert_int_equal(read_answer(), -1);
	begin_answer(0);
	made_rr(&answer, MADE_ADDITIONAL, "12>", 41, 1232, 0);
	assert_int_equal(read_answer(), -1);
}

/* ---- What goes back to the client ------------------------------------------------------------- */

/* RFC 5625 sections 1 and 3, RFC 1035 section 4.1.1: the whole response, with the ID as asked. */
static void
an_answer_without_opt_goes_back_octet_for_octet(void **state)
{
	(void)state;
	ask(DNS_RD);
	made_init(&answer, 0x4321, 0x85a0);
	made_question(&answer, "www.Example.com", A, 1);
	made_a(&answer, MADE_ANSWER, "12>", 0x01020304);
	made_rr(&answer, MADE_AUTHORITY, "16>", 65280, 9, 0x80000000);
	made_rdata(&answer, "\300\14\1\2\3", 5);
	answer.buf[3] &= (uint8_t)~DNS_AD;
	give_answer();
	assert_int_equal(out_len, answer.len);
	assert_int_equal(dns_id(out), 0x1234);
	assert_memory_equal(out + 2, answer.buf + 2, answer.len - 2);
}

/* RFC 4343 section 4.1: the case sent is kept; some clients check that it comes back. */
static void
the_question_goes_back_in_the_clients_spelling(void **state)
{
	(void)state;
	ask(0);
	begin_answer(0);
	made_a(&answer, MADE_ANSWER, "12>", 1);
	give_answer();
	assert_memory_equal(out + 12, "\3www\7Example\3com\0", 17);
}

/* RFC 6891 section 7: MUST NOT. */
static void
a_client_without_opt_gets_none(void **state)
{
	(void)state;
	ask(0);
	begin_answer(0);
	made_a(&answer, MADE_ANSWER, "12>", 1);
	made_opt(&answer, 1232, 0x8000);
	made_option(&answer, EDNS_EDE, "\0\1", 2);
	reply.keepalive = 100;
	give_answer();
	assert_int_equal(made.opt_len, 0);
	assert_int_equal(dns_arcount(out), 0);
	assert_int_equal(out_len, seen.opt_at);
}

/* RFC 6891 section 6.1.1: MUST; also when the upstream sent none. */
static void
a_client_with_opt_gets_exactly_one(void **state)
{
	(void)state;
	for (int upstream_has = 0; upstream_has < 2; upstream_has++) {
		ask_with_opt(0, 0);
		begin_answer(0);
		made_a(&answer, MADE_ANSWER, "12>", 1);
		if (upstream_has)
			made_opt(&answer, 4096, 0xffff);
		give_answer();
		assert_int_equal(made.opt_len, 11);
		assert_int_equal(made.opt_at + 11, out_len);
		assert_int_equal(get16(out + made.opt_at + 3), 1232);
		assert_true(get32(out + made.opt_at + 5) == 0);
		assert_int_equal(dns_arcount(out), 1);
	}
}

/* RFC 3225 section 3: the DO bit is copied from the query into the response. */
static void
the_do_bit_of_the_query_goes_back(void **state)
{
	(void)state;
	ask_with_opt(0, 0x8000);
	begin_answer(0);
	made_opt(&answer, 1232, 0);
	give_answer();
	assert_true(get32(out + made.opt_at + 5) == 0x8000);
}

static void
an_extended_rcode_goes_back_in_the_opt(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	begin_answer(7);
	made_opt(&answer, 1232, 0x01000000);
	give_answer();
	assert_int_equal(made.rcode, 23);
}

static void
an_extended_rcode_without_opt_becomes_servfail(void **state)
{
	(void)state;
	ask(0);
	begin_answer(DNS_RA | 7);
	made_opt(&answer, 1232, 0x01000000);
	give_answer();
	assert_int_equal(given_flags(), DNS_QR | DNS_RA | DNS_SERVFAIL);
	begin_answer(7);
	made_opt(&answer, 1232, 0);
	give_answer();
	assert_int_equal(made.rcode, 7);
}

/* RFC 7830 section 6: padding MUST NOT go over a clear transport.  RFC 7873: a cookie is the hop's.
 * RFC 7828 section 3.3.2: the upstream's timeout is not ours. */
static void
no_other_option_of_the_upstream_goes_back(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	made_option(&query, EDNS_COOKIE, "12345678", 8);
	made_option(&query, EDNS_PADDING, "", 0);
	made_option(&query, EDNS_KEEPALIVE, "", 0);
	begin_answer(0);
	made_opt(&answer, 1232, 0);
	made_option(&answer, EDNS_PADDING, "\0\0\0\0\0", 5);
	made_option(&answer, EDNS_COOKIE, "1234567812345678", 16);
	made_option(&answer, EDNS_KEEPALIVE, "\0\1", 2);
	made_option(&answer, EDNS_ECS, SUBNET, 7);
	made_option(&answer, 65001, "x", 1);
	give_answer();
	assert_int_equal(made.opt_len, 11);
}

/* RFC 7828 section 3.3.2. */
static void
our_own_keepalive_goes_back_when_told(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	begin_answer(0);
	reply.keepalive = 100;
	give_answer();
	expect_option(given_option(EDNS_KEEPALIVE), "\0\144", 2);
	reply.keepalive = 0;
	give_answer();
	expect_option(given_option(EDNS_KEEPALIVE), "\0\0", 2);
}

/* RFC 7871 section 7.2.2: only in answers to queries that had it. */
static void
the_subnet_goes_back_to_who_sent_one(void **state)
{
	static const uint8_t too_long[21];

	(void)state;
	ask_with_opt(0, 0);
	made_option(&query, EDNS_ECS, SUBNET, 7);
	begin_answer(0);
	made_opt(&answer, 1232, 0);
	made_option(&answer, EDNS_ECS, "\0\1\30\20\300\0\2", 7);
	made_option(&answer, EDNS_ECS, SUBNET, 7);
	give_answer();
	expect_option(given_option(EDNS_ECS), "\0\1\30\20\300\0\2", 7);
	begin_answer(0);
	made_opt(&answer, 1232, 0);
	made_option(&answer, EDNS_ECS, too_long, sizeof(too_long));
	give_answer();
	assert_null(given_option(EDNS_ECS));
}

/* RFC 8914 section 3. */
static void
extended_errors_go_back_whole_and_in_order(void **state)
{
	static const uint8_t text[600] = {0, 1};

	(void)state;
	ask_with_opt(0, 0);
	begin_answer(DNS_SERVFAIL);
	made_opt(&answer, 1232, 0);
	made_option(&answer, EDNS_EDE, "\0\26no", 4);
	made_option(&answer, EDNS_PADDING, "\0", 1);
	made_option(&answer, EDNS_EDE, "", 0);	   /* too short to be one */
	made_option(&answer, EDNS_EDE, text, 600); /* more than 512 octets */
	made_option(&answer, EDNS_EDE, "\377\377", 2);
	give_answer();
	assert_int_equal(made.opt_len, 11 + 8 + 6);
	assert_memory_equal(out + made.opt_at + 11, "\0\17\0\4\0\26no\0\17\0\2\377\377", 14);
	begin_answer(0);
	made_opt(&answer, 1232, 0);
	for (int i = 0; i < 6; i++)
		made_option(&answer, EDNS_EDE, text, 2);
	give_answer();
	assert_int_equal(made.opt_len, 11 + 4 * 6);
	begin_answer(0);
	made_opt(&answer, 1232, 0);
	made_option(&answer, EDNS_EDE, text, 200);
	made_option(&answer, EDNS_EDE, text, 304);
	made_option(&answer, EDNS_EDE, text, 2);
	give_answer();
	assert_int_equal(made.opt_len, 11 + 512);
}

static void
options_behind_a_broken_one_do_not_go_back(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	begin_answer(0);
	made_opt(&answer, 1232, 0);
	made_option(&answer, EDNS_EDE, "\0\1", 2);
	made_octets(&answer, "\0\17\0\12\0\1", 6);
	made_rdlen(&answer);
	give_answer();
	assert_int_equal(made.opt_len, 11 + 6);
}

/* RFC 6840 section 5.8. */
static void
ad_goes_back_only_to_who_understands_it(void **state)
{
	(void)state;
	begin_answer(DNS_AD);
	ask(0);
	give_answer();
	assert_int_equal(given_flags() & DNS_AD, 0);
	ask(DNS_AD);
	give_answer();
	assert_int_equal(given_flags() & DNS_AD, DNS_AD);
	ask_with_opt(0, 0x8000);
	give_answer();
	assert_int_equal(given_flags() & DNS_AD, DNS_AD);
	ask_with_opt(0, 0);
	give_answer();
	assert_int_equal(given_flags() & DNS_AD, 0);
}

static void
octets_behind_the_last_record_stay_behind(void **state)
{
	size_t whole;

	(void)state;
	for (int has = 0; has < 2; has++) {
		ask(0);
		if (has)
			made_opt(&query, 1232, 0);
		begin_answer(0);
		made_a(&answer, MADE_ANSWER, "12>", 1);
		whole = answer.len;
		made_octets(&answer, "more", 4);
		give_answer();
		assert_int_equal(out_len, whole + (has ? 11 : 0));
		assert_int_equal(seen.end, whole);
	}
}

/* RFC 5452 section 9.1: a client may wait on for an answer that repeats its question. */
static void
an_error_that_is_a_bare_header_gets_the_question(void **state)
{
	(void)state;
	for (int has = 0; has < 2; has++) {
		ask(0);
		if (has)
			made_opt(&query, 1232, 0);
		made_init(&answer, 1, DNS_QR | DNS_FORMERR);
		if (has)
			made_opt(&answer, 1232, 0);
		give_answer();
		assert_int_equal(out_len, query.len);
		assert_int_equal(made.rcode, DNS_FORMERR);
		assert_int_equal(dns_qdcount(out), 1);
		assert_memory_equal(out + 12, query.buf + 12, 21);
	}
}

static void
records_without_a_question_go_back_as_they_are(void **state)
{
	(void)state;
	ask(0);
	made_init(&answer, 0x1234, DNS_QR | DNS_REFUSED);
	made_a(&answer, MADE_AUTHORITY, "x", 1);
	give_answer();
	assert_int_equal(out_len, answer.len);
	assert_memory_equal(out, answer.buf, answer.len);
}

/* An OPT with an option first in the additional section, as some servers put it, and two records
 * behind it that are compressed against each other. */
static void
answer_with_tail(void)
{
	char owner[16];

	begin_answer(0);
	made_rr(&answer, MADE_AUTHORITY, "16>", NS, 1, 1);
	made_rdata_name(&answer, "ns.16>");
	made_opt(&answer, 1232, 0);
	made_option(&answer, EDNS_PADDING, "\0\0\0", 3);
	snprintf(owner, sizeof(owner), "%zu>", answer.len);
	made_a(&answer, MADE_ADDITIONAL, "new.16>", 1);
	made_a(&answer, MADE_ADDITIONAL, owner, 2);
	made_a(&answer, MADE_ADDITIONAL, "16>", 3);
}

static void
records_behind_the_opt_move_up_and_their_owners_follow(void **state)
{
	(void)state;
	for (int has = 0; has < 2; has++) {
		size_t at;

		ask(0);
		if (has)
			made_opt(&query, 1232, 0);
		answer_with_tail();
		give_answer();
		law_same_records(answer.buf, answer.len, out, out_len);
		at = seen.opt_at + 6 + 14; /* behind new.16> A */
		assert_int_equal(get16(out + at), 0xc000 | seen.opt_at);
		assert_memory_equal(out + seen.opt_at, "\3new\300\20", 6);
		assert_int_equal(get16(out + at + 16), 0xc010);
		assert_int_equal(made.opt_len, has ? 11 : 0);
		assert_int_equal(dns_arcount(out), 3 + has);
	}
}

static void
an_answer_that_cannot_be_edited_is_not(void **state)
{
	char name[16];

	(void)state;
	ask(0);
	begin_answer(0);
	made_opt(&answer, 1232, 0);
	snprintf(name, sizeof(name), "mx.%zu>", answer.len);
	made_a(&answer, MADE_ADDITIONAL, "tail", 1);
	made_rr(&answer, MADE_ADDITIONAL, "", MX, 1, 1);
	made_octets(&answer, "\0\5", 2);
	made_rdata_name(&answer, name);
	assert_int_equal(judge(), EDNS_FORWARD);
	assert_int_equal(read_answer(), 0);
	assert_true(seen.tail_names);
	assert_int_equal(edns_make_answer(out, answer.buf, answer.len, &seen, query.buf, &facts, &reply), 0);
	put16(answer.buf + answer.len - 2, 0xc00c);
	give_answer();
	assert_false(seen.tail_names);
}

/* ---- Answers that do not fit ------------------------------------------------------------------ */

/* An answer whose length without OPT is len. */
static void
answer_of(size_t len)
{
	static const uint8_t filler[65535];

	begin_answer(DNS_RD | DNS_RA);
	made_rr(&answer, MADE_ANSWER, "12>", TXT, 1, 300);
	assert_true(len >= answer.len);
	made_rdata(&answer, filler, len - answer.len);
}

/* RFC 5625 section 4.4, RFC 1035 section 4.2.1: TC, and only when it must be. */
static void
an_answer_is_cut_only_above_the_limit(void **state)
{
	static const size_t limits[] = {512, 1232, 4096, 65535};

	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		ask(DNS_RD);
		reply.limit = limits[i];
		answer_of(limits[i]);
		give_answer();
		assert_int_equal(out_len, limits[i]);
		assert_int_equal(given_flags() & DNS_TC, 0);
		if (limits[i] == 65535)
			continue;
		answer_of(limits[i] + 1);
		give_answer();
		assert_int_equal(out_len, facts.question_end);
		assert_int_equal(given_flags(), DNS_QR | DNS_TC | DNS_RD | DNS_RA);
		assert_int_equal(dns_qdcount(out), 1);
		assert_int_equal(dns_ancount(out), 0);
		assert_memory_equal(out + 12, query.buf + 12, query.len - 12);
	}
}

/* RFC 6891 section 7: header, question and OPT, also when TC is set. */
static void
a_cut_answer_has_an_opt_for_who_sent_one(void **state)
{
	(void)state;
	ask_with_opt(0, 0x8000);
	reply.limit = 1232;
	answer_of(1232 - 11);
	give_answer();
	assert_int_equal(out_len, 1232);
	assert_int_equal(given_flags() & DNS_TC, 0);
	answer_of(1232 - 10);
	give_answer();
	assert_int_equal(out_len, facts.question_end + 11u);
	assert_int_equal(given_flags() & DNS_TC, DNS_TC);
	assert_int_equal(made.opt_len, 11);
	assert_true(get32(out + made.opt_at + 5) == 0x8000);
}

/* RFC 7830 section 4: the upstream's padding must not cost the client anything. */
static void
padding_and_opt_of_the_upstream_do_not_count(void **state)
{
	static const uint8_t zeros[468];

	(void)state;
	ask(0);
	reply.limit = 512;
	answer_of(512);
	made_opt(&answer, 1232, 0);
	made_option(&answer, EDNS_PADDING, zeros, sizeof(zeros));
	give_answer();
	assert_int_equal(out_len, 512);
	assert_int_equal(given_flags() & DNS_TC, 0);
}

/* RFC 5625 section 4.4: never removed. */
static void
the_upstreams_tc_bit_stays(void **state)
{
	(void)state;
	ask(0);
	begin_answer(DNS_TC);
	made_a(&answer, MADE_ANSWER, "12>", 1);
	give_answer();
	assert_int_equal(given_flags() & DNS_TC, DNS_TC);
	assert_int_equal(dns_ancount(out), 1);
}

/* RFC 8914 section 3: Extended DNS Errors are dropped before data, and TC is set. */
static void
extended_errors_are_dropped_before_data(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	reply.limit = 600;
	answer_of(600 - 11 - 10);
	made_opt(&answer, 1232, 0);
	made_option(&answer, EDNS_EDE, "\0\1text", 6);
	give_answer();
	assert_int_equal(out_len, 600);
	assert_int_equal(given_flags() & DNS_TC, 0);
	reply.limit = 599;
	give_answer();
	assert_int_equal(out_len, 590);
	assert_int_equal(given_flags() & DNS_TC, DNS_TC);
	assert_int_equal(dns_ancount(out), 1);
	assert_int_equal(made.opt_len, 11);
	reply.limit = 589;
	give_answer();
	assert_int_equal(out_len, facts.question_end + 11u + 10);
	assert_int_equal(dns_ancount(out), 0);
	assert_memory_equal(out + made.opt_at + 11, "\0\17\0\6\0\1text", 10);
}

static void
an_extended_error_of_our_own_stands_behind_the_upstreams(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	reply.limit = 600;
	reply.ede = EDE_STALE;
	answer_of(600 - 11 - 6);
	give_answer();
	assert_int_equal(out_len, 600);
	assert_int_equal(given_flags() & DNS_TC, 0);
	assert_memory_equal(out + made.opt_at + 11, "\0\17\0\2\0\3", 6);
	made_opt(&answer, 1232, 0);
	made_option(&answer, EDNS_EDE, "\0\1text", 6);
	reply.limit = 610;
	give_answer();
	assert_int_equal(out_len, 610);
	assert_memory_equal(out + made.opt_at + 11, "\0\17\0\6\0\1text\0\17\0\2\0\3", 16);
	/* They go together, before data. */
	reply.limit = 609;
	give_answer();
	assert_int_equal(out_len, 594);
	assert_int_equal(given_flags() & DNS_TC, DNS_TC);
	assert_int_equal(dns_ancount(out), 1);
	ask(0);
	reply.ede = EDE_STALE;
	answer_of(500);
	give_answer();
	assert_int_equal(out_len, 500);
}

/* The longest question, subnet and keepalive leave 200 octets; longer errors are dropped, the OPT never. */
static void
the_opt_of_a_cut_answer_always_fits(void **state)
{
	char name[256];
	uint8_t text[502] = {0, 1};

	(void)state;
	for (size_t i = 0; i < 253; i++)
		name[i] = i % 63 == 62 ? '.' : 'a';
	name[253] = '\0';
	made_init(&query, 7, 0);
	made_question(&query, name, A, 1);
	made_opt(&query, 512, 0);
	made_option(&query, EDNS_ECS, SUBNET, 7);
	made_init(&answer, 1, DNS_QR);
	made_question(&answer, name, A, 1);
	for (uint32_t i = 0; i < 20; i++)
		made_a(&answer, MADE_ANSWER, "12>", i);
	made_opt(&answer, 1232, 0);
	made_option(&answer, EDNS_ECS, "\0\2\0\0ssssssssssssssss", 20);
	made_option(&answer, EDNS_EDE, text, sizeof(text));
	reply = (struct edns_reply){.id = 7, .limit = 512, .udp_size = 1232, .keepalive = 5};
	give_answer();
	assert_int_equal(given_flags() & DNS_TC, DNS_TC);
	assert_int_equal(dns_ancount(out), 0);
	assert_non_null(given_option(EDNS_ECS));
	assert_non_null(given_option(EDNS_KEEPALIVE));
	assert_null(given_option(EDNS_EDE));
}

static void
a_limit_below_512_counts_as_512(void **state)
{
	(void)state;
	ask(0);
	answer_of(512);
	give_answer();
	reply.limit = 0;
	assert_int_equal(edns_make_answer(out, answer.buf, answer.len, &seen, query.buf, &facts, &reply), 512);
}

/* A TCP answer of the largest size has no room for an OPT. */
static void
an_answer_without_room_for_an_opt_is_cut_over_tcp_too(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	reply.limit = 100000;
	answer_of(65535);
	give_answer();
	assert_int_equal(given_flags() & DNS_TC, DNS_TC);
	assert_int_equal(made.opt_len, 11);
	answer_of(65535 - 11);
	give_answer();
	assert_int_equal(out_len, 65535);
	assert_int_equal(given_flags() & DNS_TC, 0);
}

/* RFC 5625 section 4.5. */
static void
the_answer_to_a_signed_query_changes_only_its_id(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	made_rr(&query, MADE_ADDITIONAL, "key", 250, 255, 0);
	made_rdata(&query, TSIG_RDATA, sizeof(TSIG_RDATA) - 1);
	answer_with_tail();
	put16(answer.buf + 2, DNS_QR | DNS_AD);
	made_rr(&answer, MADE_ADDITIONAL, "key", 250, 255, 0);
	made_rdata(&answer, TSIG_RDATA, sizeof(TSIG_RDATA) - 1);
	give_answer();
	assert_int_equal(out_len, answer.len);
	assert_memory_equal(out + 2, answer.buf + 2, answer.len - 2);
	answer_of(1300);
	reply.limit = 1232;
	give_answer();
	assert_int_equal(given_flags() & DNS_TC, DNS_TC);
	assert_int_equal(out_len, facts.question_end + 11u);
	made_opt(&answer, 1232, 0); /* behind it, a name that would be in the way of any editing */
	made_rr(&answer, MADE_ADDITIONAL, "", MX, 1, 0);
	made_rdata(&answer, "\0\1\377\377", 4);
	give_answer();
	assert_true(seen.tail_names);
	assert_int_equal(out_len, facts.question_end + 11u);
}

/* ---- Errors of our own ------------------------------------------------------------------------ */

/* RFC 1035 section 4.1.1, RFC 4035 section 3.2.2 (CD): copied.  QR and RA are set, the rest is 0. */
static void
an_error_copies_id_opcode_rd_and_cd(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags < 0x8000; flags += 0x10) {
		ask(flags);
		judge();
		give_error(DNS_SERVFAIL, EDE_NONE, NULL);
		assert_int_equal(given_flags(), DNS_QR | DNS_RA | DNS_SERVFAIL | (flags & 0x7910));
		assert_int_equal(out_len, query.len);
		assert_memory_equal(out + 4, query.buf + 4, query.len - 4);
	}
}

/* RFC 6891 section 7: MUST NOT. */
static void
an_error_has_no_opt_for_who_sent_none(void **state)
{
	(void)state;
	ask(0);
	judge();
	reply.keepalive = 100;
	give_error(DNS_SERVFAIL, EDE_NETWORK_ERROR, "text");
	assert_int_equal(made.opt_len, 0);
	assert_int_equal(dns_arcount(out), 0);
}

/* RFC 6891 section 6.1.1, RFC 3225 section 3, RFC 8914 section 2. */
static void
an_error_says_why_in_its_opt(void **state)
{
	(void)state;
	ask_with_opt(0, 0x8000);
	judge();
	give_error(DNS_SERVFAIL, EDE_NETWORK_ERROR, "1.1.1.1@853: refused");
	assert_true(get32(out + made.opt_at + 5) == 0x8000);
	assert_int_equal(get16(out + made.opt_at + 3), 1232);
	expect_option(given_option(EDNS_EDE), "\0\0271.1.1.1@853: refused", 22);
	give_error(DNS_SERVFAIL, EDE_OTHER, NULL);
	expect_option(given_option(EDNS_EDE), "\0\0", 2);
	give_error(DNS_SERVFAIL, EDE_NONE, "unsaid");
	assert_int_equal(made.opt_len, 11);
}

static void
the_text_of_an_error_is_cut_to_64_octets(void **state)
{
	char text[101];

	(void)state;
	memset(text, 'x', 100);
	text[100] = '\0';
	ask_with_opt(0, 0);
	judge();
	give_error(DNS_REFUSED, EDE_PROHIBITED, text);
	assert_non_null(given_option(EDNS_EDE));
	assert_int_equal(get16(given_option(EDNS_EDE)), 2 + 64);
	give_error(DNS_REFUSED, EDE_PROHIBITED, "");
	expect_option(given_option(EDNS_EDE), "\0\22", 2);
}

/* RFC 7828 section 3.3.2. */
static void
an_error_says_our_keepalive_when_told(void **state)
{
	(void)state;
	ask_with_opt(0, 0);
	judge();
	reply.keepalive = 0x102;
	give_error(DNS_SERVFAIL, EDE_NONE, NULL);
	expect_option(given_option(EDNS_KEEPALIVE), "\1\2", 2);
}

static void
an_error_without_a_readable_question_has_none(void **state)
{
	(void)state;
	ask(0);
	query.len -= 3;
	expect_reply(DNS_FORMERR);
	give_error(rcode, ede, NULL);
	assert_int_equal(out_len, 12);
	assert_int_equal(dns_qdcount(out), 0);
}

static void
an_extended_rcode_is_never_said_without_an_opt(void **state)
{
	(void)state;
	ask(0);
	judge();
	give_error(DNS_BADVERS, EDE_NONE, NULL);
	assert_int_equal(made.rcode, DNS_SERVFAIL);
}

/* ---- Laws on generated messages --------------------------------------------------------------- */

static uint32_t seed;

static uint32_t
chance(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

/* Where names begin that a later one may point at. */
static size_t names[400];
static unsigned names_len;

/* A name for m: some labels, then the root or a pointer to an earlier name. */
static void
random_name(struct made *m, bool may_point)
{
	size_t at = m->len;
	unsigned labels = chance(4);

	for (unsigned i = 0; i < labels; i++) {
		unsigned n = 1 + chance(chance(8) == 0 ? 63 : 8);

		made_u8(m, n);
		while (n-- > 0)
			made_u8(m, chance(20) == 0 ? chance(256) : 'A' + chance(26) + 0x20 * chance(2));
	}
	if (may_point && names_len != 0 && chance(3) != 0) {
		size_t to = names[chance(names_len)];

		if (to < 0x4000 && to != at) {
			made_u16(m, 0xc000u | (unsigned)to);
			goto note;
		}
	}
	made_u8(m, 0);
note:
	if (names_len < 400 && labels != 0)
		names[names_len++] = at;
}

static void
random_record(struct made *m, enum made_section section)
{
	static const uint16_t types[] = {1, 2, 5, 6, 12, 15, 16, 28, 33, 46, 47, 65, 249, 257, 65280};
	unsigned type = types[chance(15)];
	uint8_t data[64];
	unsigned n = chance(chance(5) == 0 ? 64 : 20);

	random_name(m, true);
	made_u16(m, type);
	made_u16(m, chance(10) == 0 ? chance(65536) : 1);
	made_u32(m, chance(100000));
	m->rdlen_at = m->len;
	made_u16(m, 0);
	made_count(m, section, 1);
	if (type == 2 || type == 5 || type == 12) {
		random_name(m, true);
		made_rdlen(m);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		data[i] = (uint8_t)chance(256);
	made_rdata(m, data, n);
}

/* Mostly one that can be.  Returns its length. */
static unsigned
random_subnet(uint8_t data[300])
{
	unsigned family = 1 + chance(2), bits = chance(family == 1 ? 33 : 129);

	if (chance(30) == 0)
		return chance(24); /* whatever data holds */
	put16(data, (uint16_t)family);
	data[2] = (uint8_t)bits;
	data[3] = 0;
	return 4 + (bits + 7) / 8;
}

static void
random_opt(struct made *m)
{
	static const uint16_t codes[] = {3,	   EDNS_ECS, EDNS_COOKIE, EDNS_KEEPALIVE, EDNS_PADDING,
					 EDNS_EDE, 65001};
	uint8_t data[300] = {0};

	made_opt(m, chance(5000),
		 (chance(10) == 0 ? chance(256) << 24 : 0) | (chance(2) ? 0x8000u : 0) | chance(2));
	for (unsigned i = chance(6); i > 0; i--) {
		unsigned code = codes[chance(7)], n = chance(chance(10) == 0 ? 300 : 24);

		for (unsigned k = 0; k < n; k++)
			data[k] = (uint8_t)chance(256);
		if (code == EDNS_ECS)
			n = random_subnet(data);
		made_option(m, code, data, code == EDNS_KEEPALIVE ? chance(2) * 2 : n);
	}
}

/* Header, question, and records in all sections with an OPT somewhere in the last. */
static void
random_message(struct made *m, unsigned flags, unsigned most)
{
	unsigned before, behind;

	names_len = 0;
	made_init(m, chance(65536), flags | (chance(0x8000) & 0x07ff));
	random_name(m, false);
	made_u16(m, chance(4) == 0 ? chance(251) : 1);
	made_u16(m, 1);
	made_count(m, MADE_QUESTION, 1);
	for (unsigned i = chance(most); i > 0; i--)
		random_record(m, MADE_ANSWER);
	for (unsigned i = chance(3); i > 0; i--)
		random_record(m, MADE_AUTHORITY);
	before = chance(3);
	behind = chance(3) == 0 ? chance(4) : 0;
	while (before-- > 0)
		random_record(m, MADE_ADDITIONAL);
	if (chance(4) != 0)
		random_opt(m);
	while (behind-- > 0)
		random_record(m, MADE_ADDITIONAL);
}

/* The owner of the record at at, uncompressed and in lower case.  Returns its length. */
static size_t
owner_of(uint8_t name[512], const uint8_t *msg, size_t at)
{
	size_t n = 0;

	while (msg[at] != 0) {
		if (msg[at] >= 0xc0) {
			at = get16(msg + at) & 0x3fff;
			continue;
		}
		assert_true(n + msg[at] < 512 - 2);
		for (size_t end = at + msg[at] + 1; at < end; at++)
			name[n++] = msg[at] >= 'A' && msg[at] <= 'Z' ? msg[at] | 0x20 : msg[at];
	}
	name[n++] = 0;
	return n;
}

/* Every record of a but for its OPT is in b with the same owner, uncompressed. */
static void
expect_same_owners(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	size_t at_a = law_first_record(a, a_len), at_b = law_first_record(b, b_len);
	unsigned left_a = law_records(a), left_b = law_records(b);
	uint8_t name_a[512], name_b[512];
	struct dns_rr ra = {0}, rb = {0};

	while (law_next_record(a, a_len, &at_a, &left_a, &ra)) {
		size_t n = owner_of(name_a, a, ra.at);

		assert_true(law_next_record(b, b_len, &at_b, &left_b, &rb));
		assert_int_equal(owner_of(name_b, b, rb.at), n);
		assert_memory_equal(name_a, name_b, n);
	}
}

static void
the_laws_hold_for_generated_queries(void **state)
{
	unsigned forwarded = 0;

	(void)state;
	seed = 853;
	for (int round = 0; round < 20000; round++) {
		random_message(&query, 0, chance(20) == 0 ? 40 : 2);
		if (!law_query(query.buf, query.len, &facts))
			continue;
		forwarded++;
		sent_len = edns_make_query(sent, query.buf, query.len, &facts, 1, chance(2) != 0);
		expect_same_owners(query.buf, query.len, sent, sent_len);
	}
	assert_in_range(forwarded, 15000, 20000);
}

static void
the_laws_hold_for_generated_answers(void **state)
{
	unsigned given = 0, cut = 0, stuck = 0;

	(void)state;
	seed = 7858;
	for (int round = 0; round < 20000; round++) {
		random_message(&query, 0, 1);
		reply = (struct edns_reply){.id = (uint16_t)chance(65536),
					    .limit = 512 + chance(1000),
					    .udp_size = 1232,
					    .keepalive = (int)chance(3) - 1};
		if (judge() != EDNS_FORWARD)
			continue;
		random_message(&answer, DNS_QR, chance(10) == 0 ? 100 : 10);
		law_answer(answer.buf, answer.len, query.buf, &facts, &reply);
		if (read_answer() == -1)
			continue;
		out_len = edns_make_answer(out, answer.buf, answer.len, &seen, query.buf, &facts, &reply);
		given += out_len != 0;
		stuck += out_len == 0;
		if (out_len == 0 || law_records(out) - facts.has_opt == 0) {
			cut += out_len != 0 && (dns_flags(out) & DNS_TC) != 0;
			continue;
		}
		if (seen.question.name_len != facts.question.name_len) /* else its names became others */
			expect_same_owners(answer.buf, answer.len, out, out_len);
	}
	assert_in_range(given, 14000, 20000);
	assert_in_range(cut, 100, 5000);
	assert_in_range(stuck, 10, 2000);
}

/* Octets changed at random: nothing is read or written outside, and the laws still hold. */
static void
the_laws_hold_for_damaged_messages(void **state)
{
	(void)state;
	seed = 53;
	for (int round = 0; round < 20000; round++) {
		struct edns_facts damaged;

		random_message(&query, 0, 2);
		for (unsigned i = chance(6); i > 0; i--)
			query.buf[chance((uint32_t)query.len)] = (uint8_t)chance(256);
		query.len -= chance(4) == 0 ? chance((uint32_t)query.len) : 0;
		if (!law_query(query.buf, query.len, &damaged))
			continue;
		random_message(&answer, DNS_QR, 10);
		for (unsigned i = chance(6); i > 0; i--)
			answer.buf[chance((uint32_t)answer.len)] = (uint8_t)chance(256);
		reply = (struct edns_reply){
			.id = 1, .limit = 512 + chance(600), .udp_size = 1232, .keepalive = -1};
		law_answer(answer.buf, answer.len, query.buf, &damaged, &reply);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_query_shorter_than_a_header_is_dropped),
		cmocka_unit_test(a_response_is_dropped),
		cmocka_unit_test(a_plain_query_is_forwarded),
		cmocka_unit_test(header_flags_are_ignored),
		cmocka_unit_test(every_type_and_class_is_forwarded),
		cmocka_unit_test(records_of_unknown_types_are_forwarded),
		cmocka_unit_test(every_name_is_forwarded),
		cmocka_unit_test(zone_transfers_are_refused_as_not_supported),
		cmocka_unit_test(other_opcodes_are_not_implemented),
		cmocka_unit_test(dso_with_a_count_is_a_format_error),
		cmocka_unit_test(any_number_of_questions_but_one_is_a_format_error),
		cmocka_unit_test(a_query_cut_anywhere_is_a_format_error),
		cmocka_unit_test(octets_behind_the_last_record_are_a_format_error),
		cmocka_unit_test(a_query_longer_than_is_taken_is_a_format_error),
		cmocka_unit_test(two_opt_records_are_a_format_error),
		cmocka_unit_test(an_opt_record_in_another_section_is_a_format_error),
		cmocka_unit_test(an_opt_record_with_a_name_is_a_format_error),
		cmocka_unit_test(options_that_do_not_fill_their_opt_are_a_format_error),
		cmocka_unit_test(an_unknown_version_is_answered_with_badvers),
		cmocka_unit_test(unknown_options_are_ignored),
		cmocka_unit_test(unknown_opt_flags_and_extended_rcodes_are_ignored),
		cmocka_unit_test(udp_sizes_below_512_count_as_512),
		cmocka_unit_test(what_the_opt_says_is_noted),
		cmocka_unit_test(tsig_that_is_not_last_is_a_format_error),
		cmocka_unit_test(sig0_signs_only_as_the_last_record),
		cmocka_unit_test(header_flags_and_question_leave_as_they_came),
		cmocka_unit_test(the_do_bit_leaves_as_it_came),
		cmocka_unit_test(every_query_is_padded_to_a_multiple_of_128),
		cmocka_unit_test(a_subnet_of_no_bits_leaves_by_default),
		cmocka_unit_test(the_clients_own_subnet_leaves_as_it_came),
		cmocka_unit_test(each_subnet_that_can_be_is_passed_on),
		cmocka_unit_test(a_client_subnet_that_is_none_is_a_format_error),
		cmocka_unit_test(an_empty_keepalive_leaves),
		cmocka_unit_test(no_other_option_of_the_client_leaves),
		cmocka_unit_test(a_plain_query_leaves_without_any_opt),
		cmocka_unit_test(an_opt_in_the_middle_is_taken_out_and_pointers_follow),
		cmocka_unit_test(an_opt_that_cannot_be_taken_out_is_a_format_error),
		cmocka_unit_test(an_owner_that_points_into_the_opt_is_a_format_error),
		cmocka_unit_test(a_signed_query_leaves_unchanged_but_for_its_id),
		cmocka_unit_test(a_signed_query_may_hold_names_behind_its_opt),
		cmocka_unit_test(a_tkey_record_is_carried),
		cmocka_unit_test(the_largest_query_leaves_whole),
		cmocka_unit_test(an_answer_is_read),
		cmocka_unit_test(a_keepalive_without_a_timeout_says_nothing),
		cmocka_unit_test(an_answer_without_an_extended_error_has_none),
		cmocka_unit_test(the_first_extended_error_is_read),
		cmocka_unit_test(an_extended_error_behind_a_broken_option_is_not_read),
		cmocka_unit_test(the_scope_of_an_answer_is_read),
		cmocka_unit_test(what_is_no_answer_is_refused),
		cmocka_unit_test(an_answer_cut_anywhere_is_refused),
		cmocka_unit_test(an_answer_with_two_opts_or_one_out_of_place_is_refused),
		cmocka_unit_test(an_answer_without_opt_goes_back_octet_for_octet),
		cmocka_unit_test(the_question_goes_back_in_the_clients_spelling),
		cmocka_unit_test(a_client_without_opt_gets_none),
		cmocka_unit_test(a_client_with_opt_gets_exactly_one),
		cmocka_unit_test(the_do_bit_of_the_query_goes_back),
		cmocka_unit_test(an_extended_rcode_goes_back_in_the_opt),
		cmocka_unit_test(an_extended_rcode_without_opt_becomes_servfail),
		cmocka_unit_test(no_other_option_of_the_upstream_goes_back),
		cmocka_unit_test(our_own_keepalive_goes_back_when_told),
		cmocka_unit_test(the_subnet_goes_back_to_who_sent_one),
		cmocka_unit_test(extended_errors_go_back_whole_and_in_order),
		cmocka_unit_test(options_behind_a_broken_one_do_not_go_back),
		cmocka_unit_test(ad_goes_back_only_to_who_understands_it),
		cmocka_unit_test(octets_behind_the_last_record_stay_behind),
		cmocka_unit_test(an_error_that_is_a_bare_header_gets_the_question),
		cmocka_unit_test(records_without_a_question_go_back_as_they_are),
		cmocka_unit_test(records_behind_the_opt_move_up_and_their_owners_follow),
		cmocka_unit_test(an_answer_that_cannot_be_edited_is_not),
		cmocka_unit_test(an_answer_is_cut_only_above_the_limit),
		cmocka_unit_test(a_cut_answer_has_an_opt_for_who_sent_one),
		cmocka_unit_test(padding_and_opt_of_the_upstream_do_not_count),
		cmocka_unit_test(the_upstreams_tc_bit_stays),
		cmocka_unit_test(extended_errors_are_dropped_before_data),
		cmocka_unit_test(an_extended_error_of_our_own_stands_behind_the_upstreams),
		cmocka_unit_test(the_opt_of_a_cut_answer_always_fits),
		cmocka_unit_test(a_limit_below_512_counts_as_512),
		cmocka_unit_test(an_answer_without_room_for_an_opt_is_cut_over_tcp_too),
		cmocka_unit_test(the_answer_to_a_signed_query_changes_only_its_id),
		cmocka_unit_test(an_error_copies_id_opcode_rd_and_cd),
		cmocka_unit_test(an_error_has_no_opt_for_who_sent_none),
		cmocka_unit_test(an_error_says_why_in_its_opt),
		cmocka_unit_test(the_text_of_an_error_is_cut_to_64_octets),
		cmocka_unit_test(an_error_says_our_keepalive_when_told),
		cmocka_unit_test(an_error_without_a_readable_question_has_none),
		cmocka_unit_test(an_extended_rcode_is_never_said_without_an_opt),
		cmocka_unit_test(the_laws_hold_for_generated_queries),
		cmocka_unit_test(the_laws_hold_for_generated_answers),
		cmocka_unit_test(the_laws_hold_for_damaged_messages),
	};

	return cmocka_run_group_tests_name("edns", tests, NULL, NULL);
}
