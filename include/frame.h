/* SPDX-License-Identifier: MIT */
/* The two-octet length in front of each message on a stream (RFC 1035 section 4.2.2, RFC 7766
 * section 8), fed in any pieces.  No I/O, no allocation. */
#ifndef DNPROXY_FRAME_H
#define DNPROXY_FRAME_H

#include <stddef.h>
#include <stdint.h>

/* The caller gives buf, of 2 + max octets, once; have counts the octets of an unfinished frame. */
struct frame {
	uint8_t *buf;
	size_t have;
	size_t min, max; /* lengths of a message that are taken */
};

/* min..max are within 0..65,535. */
void frame_init(struct frame *f, uint8_t *buf, size_t min, size_t max);

/* Forgets an unfinished frame (the stream it came from has ended). */
void frame_reset(struct frame *f);

enum frame_result {
	FRAME_MORE,    /* all input is taken; no whole message yet */
	FRAME_MESSAGE, /* *msg[0..*msg_len) is a message; call again for the next */
	FRAME_BAD      /* the length is outside min..max: the stream is of no more use */
};

/* Takes octets from *in (*len of them), and moves both on.  A message that lies whole in the
 * input is given where it lies, without a copy; one that came in pieces is given in f->buf.
 * Either may be written to by the caller, and is valid until the next call with this frame.
 * However a stream is cut into pieces, the same messages come out. */
enum frame_result frame_next(struct frame *f, uint8_t **in, size_t *len, uint8_t **msg, size_t *msg_len);

#endif
