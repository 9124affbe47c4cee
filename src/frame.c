/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <string.h>

#include "bytes.h"
#include "frame.h"

#define LENGTH 2u /* octets of the length in front of a message */

void
frame_init(struct frame *f, uint8_t *buf, size_t min, size_t max)
{
	f->buf = buf;
	f->have = 0;
	f->min = min;
	f->max = max;
}

void
frame_reset(struct frame *f)
{
	f->have = 0;
}

/* Moves octets from the input until f->buf holds want.  Returns whether it does. */
static bool
fill(struct frame *f, uint8_t **in, size_t *len, size_t want)
{
	size_t n = want - f->have;

	if (n > *len)
		n = *len;
	if (n != 0)
		memcpy(f->buf + f->have, *in, n);
	f->have += n;
	*in += n;
	*len -= n;
	return f->have == want;
}

/* The usual case: the whole frame lies in the input. */
static enum frame_result
take_whole(uint8_t **in, size_t *len, uint8_t **msg, size_t *msg_len, size_t size)
{
	*msg = *in + LENGTH;
	*msg_len = size;
	*in += LENGTH + size;
	*len -= LENGTH + size;
	return FRAME_MESSAGE;
}

static bool
fits(const struct frame *f, size_t size)
{
	return size >= f->min && size <= f->max;
}

enum frame_result
frame_next(struct frame *f, uint8_t **in, size_t *len, uint8_t **msg, size_t *msg_len)
{
	size_t size;

	if (f->have == 0 && *len >= LENGTH) {
		size = get16(*in);
		if (!fits(f, size))
			return FRAME_BAD;
		if (*len - LENGTH >= size)
			return take_whole(in, len, msg, msg_len, size);
	}
	if (f->have < LENGTH && !fill(f, in, len, LENGTH))
		return FRAME_MORE;
	size = get16(f->buf);
	if (!fits(f, size))
		return FRAME_BAD;
	if (!fill(f, in, len, LENGTH + size))
		return FRAME_MORE;
	f->have = 0;
	*msg = f->buf + LENGTH;
	*msg_len = size;
	return FRAME_MESSAGE;
}
