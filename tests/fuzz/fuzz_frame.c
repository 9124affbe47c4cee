/* SPDX-License-Identifier: MIT */
/* However a stream is cut into pieces, the same messages come out of it.
 * Input: least length, largest length (two octets each), three octets that say where to cut, then
 * the stream. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "frame.h"
#include "../unit/law.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What came out: each message with its length in front, and how it ended. */
struct got {
	uint8_t *octets;
	size_t len;
	enum frame_result last;
};

static void
take(struct got *g, const uint8_t *msg, size_t len)
{
	put16(g->octets + g->len, (uint16_t)len);
	if (len != 0)
		memcpy(g->octets + g->len + 2, msg, len);
	g->len += 2 + len;
}

/* Feeds the stream in pieces of size(state) octets; each piece lies in memory of its own. */
static void
feed(struct got *g, const uint8_t *stream, size_t len, size_t min, size_t max, uint32_t state)
{
	struct frame f;
	uint8_t *buf = malloc(2 + max);

	LAW(buf != NULL);
	g->octets = malloc(len + 1);
	LAW(g->octets != NULL);
	g->len = 0;
	g->last = FRAME_MORE;
	frame_init(&f, buf, min, max);
	for (size_t at = 0, n; at < len && g->last != FRAME_BAD; at += n) {
		uint8_t *piece, *in, *msg;
		size_t left, msg_len;

		state = state * 1664525u + 1013904223u;
		n = state >> 30 == 3 ? 1 : state >> 24;
		if (n == 0 || n > len - at)
			n = len - at;
		piece = in = malloc(n);
		LAW(piece != NULL);
		memcpy(piece, stream + at, n);
		left = n;
		while ((g->last = frame_next(&f, &in, &left, &msg, &msg_len)) == FRAME_MESSAGE) {
			LAW(msg_len >= min && msg_len <= max);
			take(g, msg, msg_len);
			LAW(in >= piece && in + left == piece + n);
		}
		LAW(g->last == FRAME_BAD || left == 0);
		free(piece);
	}
	free(buf);
}

/* What a reader with the whole stream before it sees. */
static void
law_whole(const struct got *g, const uint8_t *stream, size_t len, size_t min, size_t max)
{
	size_t at = 0;

	while (len - at >= 2) {
		size_t size = get16(stream + at);

		if (size < min || size > max) {
			LAW(g->last == FRAME_BAD && g->len == at);
			return;
		}
		if (size > len - at - 2)
			break;
		at += 2 + size;
	}
	LAW(g->last == FRAME_MORE && g->len == at && memcmp(g->octets, stream, at) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t min, max;
	struct got g;

	if (len < 7)
		return 0;
	min = get16(data);
	max = get16(data + 2);
	if (min > max)
		return 0;
	for (uint32_t seed = 0; seed < 4; seed++) {
		feed(&g, data + 7, len - 7, min, max, seed << 24 | (uint32_t)data[4] << 16 | get16(data + 5));
		law_whole(&g, data + 7, len - 7, min, max);
		free(g.octets);
	}
	return 0;
}
