/* SPDX-License-Identifier: MIT */
/* Trust anchors: a PEM bundle turned into names and keys, in a block given by the caller; and the
 * set that was built in.  No I/O, no allocation. */
#ifndef DNPROXY_TRUST_H
#define DNPROXY_TRUST_H

#include <stddef.h>
#include <stdint.h>

#include "cert.h"
#include "pin.h"

struct trust;

/* The anchors this program was built with. */
const struct trust *trust_builtin(void);

/* Octets of the block that trust_load() needs for pem[0..len), len <= PEM_MAX. */
size_t trust_memory(const uint8_t *pem, size_t len);

/* Reads all certificates of pem[0..len) into block, of trust_memory(pem, len) octets, aligned for
 * any type.  LF and CRLF, a byte order mark, text around the certificates and a missing final
 * newline are all right.  A certificate that cannot be read is passed over and counted in *skipped.
 * Returns the anchors, which lie in block; or NULL when there is not one, or over ANCHORS_MAX. */
const struct trust *trust_load(void *block, const uint8_t *pem, size_t len, size_t *skipped);

size_t trust_count(const struct trust *t);

/* The anchors as the TLS library takes them: br_x509_trust_anchor[trust_count(t)]. */
const void *trust_anchors(const struct trust *t);

/* The pin of the i-th anchor's key. */
const struct pin *trust_pin(const struct trust *t, size_t i);

/* The pin of a certificate's key: of its SubjectPublicKeyInfo in der. */
void trust_pin_of(struct pin *p, const uint8_t *der, const struct cert_part *spki);

/* Makes one anchor, a br_x509_trust_anchor, of a certificate, into which it points; of one that is no CA
 * an anchor for its own key alone.  Returns 0, or -1 when its key is of no use here. */
int trust_anchor_of(void *anchor, const uint8_t *der, const struct cert_facts *facts);

#endif
