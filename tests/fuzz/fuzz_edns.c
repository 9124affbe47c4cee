/* SPDX-License-Identifier: MIT */
/* The laws of edns_laws.h for any query and any answer.
 * Input: limit of the reply (two octets), keepalive, length of the query (two octets), the query,
 * the answer. */
#include "../unit/edns_laws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* In memory of exactly its size, so that a read outside is seen. */
static uint8_t *
copy(const uint8_t *data, size_t len)
{
	uint8_t *p = malloc(len != 0 ? len : 1);

	LAW(p != NULL);
	if (len != 0)
		memcpy(p, data, len);
	return p;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct edns_reply r = {.id = 0x1d1d, .udp_size = UDP_SIZE_DEFAULT, .keepalive = -1};
	struct edns_facts f;
	uint8_t *query, *answer;
	size_t n;

	if (len < 5)
		return 0;
	r.limit = get16(data) < UDP_SIZE_MIN ? UDP_SIZE_MIN : get16(data);
	if (data[2] & 1)
		r.keepalive = data[2];
	n = get16(data + 3);
	data += 5;
	len -= 5;
	if (n > len)
		n = len;
	query = copy(data, n);
	answer = copy(data + n, len - n);
	if (law_query(query, n, &f))
		law_answer(answer, len - n, query, &f, &r);
	free(query);
	free(answer);
	return 0;
}
