/* SPDX-License-Identifier: MIT */
/* The settings: one table of keys, read from a YAML file and the environment, checked, and printed
 * back.  Refuses rather than guesses: nothing is in force unless all of it is right. */
#ifndef DNPROXY_CONFIG_H
#define DNPROXY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "bounds.h"
#include "log.h"
#include "pin.h"

struct config_upstream {
	struct addr addr;		 /* with its port */
	char hostname[HOSTNAME_MAX + 1]; /* what its certificate must name, without a final dot; "" = none:
					  * with no pins either it must name the address */
	struct pin pin[PINS_MAX];	 /* a key of its chain must be one of them */
	size_t pins;
	bool keep_warm; /* it is connected to at once, and again when it closes */
};

struct config {
	struct addr listen[LISTEN_MAX]; /* with the port */
	size_t listens;
	struct prefix allow[ALLOW_MAX];
	size_t allows;
	struct config_upstream upstream[UPSTREAMS_MAX];
	size_t upstreams;
	char trust_anchors[CONFIG_PATH_MAX]; /* a PEM file; "" = the built-in anchors */
	uint16_t port;
	uint16_t udp_size;
	uint16_t max_queries;
	uint16_t tcp_clients;
	uint16_t tcp_per_address;
	uint8_t level;		 /* enum log_level */
	uint8_t upstream_policy; /* enum pool_policy: in order, or the fastest */
	bool strict_clock;
	uint16_t workers;				    /* 0 = as many as there are processors */
	uint32_t cache_size;				    /* KiB */
	uint32_t cache_min_ttl, cache_max_ttl, cache_stale; /* s */
	bool cache_prefetch;
	bool log_queries;
};

/* Puts the built-in defaults into *c: 127.0.0.1 port 53, to 1.1.1.1 "cloudflare-dns.com";
 * loopback, private, link-local and unique-local sources allowed. */
void config_default(struct config *c);

/* Reads text[0..len), the contents of a settings file called name in messages, into *c: the
 * defaults, and over them what the file says.  Defaults never stand in for an upstream, which a
 * file must name.  text need not end in NUL.  Returns 0; or -1 with one line in err,
 * "name:line:column: key: what, what to do", and *c must not be used. */
int config_read(struct config *c, const char *text, size_t len, const char *name, char err[CONFIG_ERROR_MAX]);

/* Lets the environment override what is set: DNPROXY_HOST (addresses, with commas or spaces between
 * them), DNPROXY_PORT, DNPROXY_LOG_LEVEL, DNPROXY_UPSTREAM_IP ("192.0.2.1", or with a port
 * "192.0.2.1@8853", "2001:db8::1@8853") and DNPROXY_UPSTREAM_HOSTNAME.  An empty variable counts as
 * not set, and so does a port that is a URL: Kubernetes sets that for a Service of our name.  The last two
 * change the one upstream there is, whose pins stay; when there are several they must come together, and
 * are the only upstream then, without pins.  Without a file (from_file false) an address needs its
 * hostname too: the built-in one belongs to another server.
 * Called after config_default() or config_read().  get is getenv() or a test's own.  Returns 0; or
 * -1 with one line in err that names the variable, and *c must not be used. */
int config_environment(struct config *c, char *(*get)(const char *), bool from_file,
		       char err[CONFIG_ERROR_MAX]);

/* Leaves one upstream, that of text: "192.0.2.1", "192.0.2.1@8853", "[2001:db8::1]@853", each perhaps with
 * "#hostname" behind.  Where the settings have one with this address and port, it stays as it is but for a
 * hostname that is given; else it has no pins, and without a hostname must name its address.
 * Returns 0; or -1 with one line in err, and *c must not be used. */
int config_choose(struct config *c, const char *text, char err[CONFIG_ERROR_MAX]);

/* Writes the settings in force as YAML that config_read() reads back the same.  Returns the
 * length without the final NUL, which always fits in CONFIG_TEXT_MAX. */
#define CONFIG_TEXT_MAX 16384u
size_t config_print(const struct config *c, char out[CONFIG_TEXT_MAX]);

/* Writes a table of all keys with default, range and help text, for --help.  Returns as above. */
size_t config_help(char out[CONFIG_TEXT_MAX]);

#endif
