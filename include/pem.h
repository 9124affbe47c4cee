/* SPDX-License-Identifier: MIT */
/* Certificates in PEM (RFC 7468), as bundles of trust anchors hold them.  Pure: octets in, octets out. */
#ifndef DNPROXY_PEM_H
#define DNPROXY_PEM_H

#include <stddef.h>
#include <stdint.h>

enum pem_result {
	PEM_END,	 /* there is no further certificate */
	PEM_CERTIFICATE, /* der[0..*der_len) is one */
	PEM_BAD		 /* something that begins like one and is none was passed over */
};

/* Looks for the next certificate in (*at)[0..*left) and moves both on.  Lines end in LF, CRLF or CR; a
 * byte order mark, text around the blocks, blocks of other kinds and a missing last newline are all
 * right.  der has room for three quarters of *left; it may lie in front of *at in the same buffer. */
enum pem_result pem_next(const uint8_t **at, size_t *left, uint8_t *der, size_t *der_len);

#endif
