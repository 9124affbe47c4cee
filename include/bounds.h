/* SPDX-License-Identifier: MIT */
/* Every size, count and default time of dnproxy, each with its reason.
 *
 * Nothing grows past these while serving: what is full asks for less, refuses politely and is
 * counted.  Units stand in the names: _MS milliseconds, _S seconds; sizes are octets. */
#ifndef DNPROXY_BOUNDS_H
#define DNPROXY_BOUNDS_H

/* ---- Messages ------------------------------------------------------------------------------- */

#define DNS_HEADER 12u	       /* RFC 1035 section 4.1.1 */
#define DNS_NAME_MAX 255u      /* RFC 1035 section 2.3.4: octets of a name on the wire */
#define DNS_MESSAGE_MAX 65535u /* the two-octet length of RFC 1035 section 4.2.2 */

/* The largest query taken.  RFC 5625 section 4.4.3 asks for 4,096; no known client comes near. */
#define QUERY_MSG_MAX 4096u

/* What leaves for an upstream: the query, our OPT with a client's subnet option (at most 11 + 4 +
 * 20), padding of less than one block with its header.  Rounded up. */
#define UPSTREAM_MSG_MAX (QUERY_MSG_MAX + 256u)

/* RFC 8467 section 4.1: queries are padded to a multiple of this. */
#define PAD_BLOCK 128u

#define UDP_SIZE_MIN 512u      /* RFC 6891 section 6.2.3: less counts as this */
#define UDP_SIZE_DEFAULT 1232u /* RFC 9715: fits an IPv6 packet of 1,280 octets unfragmented */
#define UDP_SIZE_MAX 4096u     /* more has only ever meant lost fragments */

/* ---- Settings ------------------------------------------------------------------------------- */

#define CONFIG_FILE_MAX 65536u /* a settings file is written by hand */
#define LISTEN_MAX 16u	       /* a router's bridges, twice (IPv4 and IPv6); two descriptors each */
#define ALLOW_MAX 32u	       /* prefixes; more belongs in a firewall */
#define UPSTREAMS_MAX 8u       /* attempts per query are bounded by this plus one */
#define PINS_MAX 8u	       /* RFC 7858 section 4.2 wants a spare; a change of keys has two more */
#define HOSTNAME_MAX 253u      /* RFC 1035: 255 octets on the wire, written without the last dot */
#define CONFIG_PATH_MAX 256u   /* a path in a setting */
#define CONFIG_ERROR_MAX 512u  /* one line: place, key, value, what is expected */

#define WORKERS_MAX 64u		    /* processors of the largest machine this is for */
#define SUPERVISOR_REST_MS 1000u    /* a worker that dies at once is no reason to fork in a loop */
#define SUPERVISOR_END_MS 900u	    /* "within a second", their end included */
#define SUPERVISOR_LOOK_MS 3600000u /* as good as for ever */
#define SIGNAL_AT_WORK 40	    /* a real-time signal, for of these none is lost behind its like */

#define SERVE_END_MS 600u /* so long an answer may still come when told to end; two thirds of their time */
#define NOTIFY_MS 100u	  /* whoever wants to know of the start takes a line of it at once */

/* ---- Queries on their way ------------------------------------------------------------------- */

#define QUERIES_DEFAULT 2048u /* 1,000 in flight at 20 ms are 50,000 a second; twice that */
#define QUERIES_MIN 64u
#define QUERIES_MAX 16384u /* a quarter of the 65,536 IDs, so a random ID is free at once */

/* The last eighth of the table is for clients that hold less than a quarter of it: who asks more than
 * is answered must not lock out all others.  Addresses are counted in so many buckets, by a hash that
 * nobody outside can know; an IPv6 client may have all of a /64. */
#define QUERIES_SPARE(slots) ((slots) / 8u)
#define QUERIES_SHARE(slots) ((slots) / 4u)
#define ORIGIN_BUCKETS 256u

/* A query up to this length lies in its slot (a name of 255 octets with all its trimmings does);
 * a longer one takes one of the few long places. */
#define QUERY_SHORT 320u
#define QUERIES_LONG 32u

/* A query joins one that asks the same if that is not older: a client that asks again wants more done. */
#define QUERY_JOIN_MS 1000u

/* So many queries in about 8 ms, 25,000 a second: after each turn that found some, but few, the loop rests, and the
 * next finds more.  That spares a fifth of the CPU and more; where less is asked nobody waits for it.  Fewer than
 * twelve clients that wait for us are not made to: no rest of theirs brings as much. */
#define LOOP_CROWD 200u
#define LOOP_CROWD_WORTH 12u
#define LOOP_REST_US 120

/* A stub resolver gives up after 5 s (resolv.conf's default).  Our SERVFAIL must be there within
 * 4 s, scheduling of a busy machine included. */
#define QUERY_TIMEOUT_MS 3700u

/* Who can have a stale answer waits no longer than this for a better one (RFC 8767 section 5 says 1.8 s). */
#define QUERY_BRIEF_MS 1800u

/* ---- Which upstream ------------------------------------------------------------------------- */

/* A query not answered within so many times its upstream's usual time is also put to the next one.  Three
 * times: answers from a resolver's cache take one, and those it has to look up itself often two.  At least
 * the time a resolver usually looks something up in; at most such that the other's answer comes in time. */
#define POOL_HEDGE_TIMES 3u
#define POOL_HEDGE_MIN_MS 200u
#define POOL_HEDGE_DEFAULT_MS 500u /* before anything was measured */
#define POOL_HEDGE_MAX_MS 700u
/* Of all queries at most one in so many, and so many more in a row: an outage becomes no storm. */
#define POOL_HEDGE_SHARE 10u
#define POOL_HEDGE_BURST 20u

/* Who has waited this long was lost, not slow: it is put to another whatever the share, still at most once by each
 * upstream and once again. */
#define POOL_LATE_MS 1500u

/* Silent with questions open for this long: the connection is doubted, and all its questions go elsewhere,
 * where a connection may have to be made first: all within 1.5 s.  More for an upstream far away. */
#define POOL_DOUBT_MIN_MS 700u
#define POOL_DOUBT_MAX_MS 1500u

/* A query that waits for a connection to come about is also offered to the next upstream after this: four
 * round trips of 100 ms. */
#define POOL_WAIT_MS 400u

#define POOL_EXPLORE_MS 5000u /* within the idle time of connections, which need not be opened anew then */

/* While all upstreams rest, a query cuts the rest of one short, at most once in this time. */
#define POOL_WAKE_MS 1000u

/* ---- What is promised (README) -------------------------------------------------------------- */

#define PROMISE_OTHER_MS 1500u /* an upstream falls silent, another is well: every client has its answer */
#define PROMISE_BACK_MS 1000u  /* the only upstream was silent, or there was no route: the first answer */

/* ---- Answers that are kept ------------------------------------------------------------------ */

#define CACHE_KIB_DEFAULT 512u /* some 3,000 answers */
#define CACHE_KIB_MAX 1048576u /* offsets inside have 32 bits, and 1 GiB fits a 32-bit machine */

#define CACHE_MIN_TTL 0u     /* more keeps answers longer than their zone allows */
#define CACHE_MAX_TTL 86400u /* RFC 8767 section 4 proposes days; a day is what most resolvers keep */
#define CACHE_STALE_S 86400u /* RFC 8767 section 5: 1 to 3 days */

#define CACHE_NEGATIVE_MAX_S 10800u /* RFC 2308 section 5: one to three hours have been found to work well */

/* RFC 9520 section 3.2: a failure is remembered for at least a second, at most five minutes, and longer when
 * it goes on.  Upstreams remember too; our own memory must not add much to the time a repair takes. */
#define CACHE_FAILURE_S 5u
#define CACHE_FAILURE_MAX_S 40u

#define CACHE_STALE_TTL 30u /* RFC 8767 section 4 */
#define CACHE_RECHECK_S 30u /* RFC 8767 section 5: a refresh that failed is not tried again sooner */

#define CACHE_PREFETCH_ASKED 3u /* so often while it was kept: worth asking again before it is gone */

/* RFC 8020: of so many names above the one asked for, the nearest, it is looked up whether they exist.  Half
 * of an IPv6 address backwards. */
#define CACHE_ANCESTORS 16u

#define CACHE_MOVES \
	32u /* answers moved inside by one put, then what comes up is forgotten; 8 cost half a hit in 100 */
#define CACHE_BUCKET 128u /* octets of the block per bucket of the index: a small answer */
#define CACHE_SMALL 10u	  /* one part in so many is for answers that have not been asked for again */

/* ---- Upstream connections ------------------------------------------------------------------- */

#define DOT_PORT 853u	       /* RFC 7858 section 3.1 */
#define DOT_CONNECT_MS 1500u   /* TCP takes one round trip; two lost SYNs are a dead path */
#define CONN_SYN_MS 500u       /* a second SYN: the kernel's own comes after 1 s (RFC 6298 section 2) */
#define DOT_HANDSHAKE_MS 2000u /* two round trips and 0.6 s of computing on a small router */
/* Questions out and nothing heard for this long, though the peer's kernel acknowledges: replaced too. */
#define DOT_SILENT_MS 2000u
#define DOT_IDLE_MS 9000u	   /* well-known servers close at 10 s: closing first avoids the race */
#define DOT_IDLE_MAX_MS 60000u	   /* the longest idle time an upstream's keepalive may grant */
#define DOT_IDLE_LEARN_MS 200u	   /* who closes sooner closes after each answer: nothing to be learnt */
#define DOT_IDLE_TRUST 16u	   /* so many closes of ours in time: its idle time may have grown */
#define DOT_SHORT_MS 250u	   /* connections that all last less, without an answer, are no use: it rests */
#define DOT_LOG_MS 10000u	   /* trouble in new words is told at most once in this time */
#define DOT_REST_DISTRUST_MS 2000u /* after certificate trouble: it does not go away by itself */
#define DOT_REST_LOCAL_MS 100u	   /* no route: nothing has left this machine, so trying costs nobody */
#define DOT_REST_MIN_MS 250u	   /* after a failure; doubles up to DOT_REST_MAX_MS */
#define DOT_REST_MAX_MS 8000u	   /* a user who plugs the cable back in waits no longer */
/* One odd question proves nothing: so many in a row that are answered without OPT alone do. */
#define PLAIN_AFTER 3u
#define DOT_PLAIN_MS 900000u /* an upstream that refuses OPT is offered it again after this */

#define TLS_RECORD_IN 16709u /* 16,384 plus the overhead BearSSL allows for: any legal record */
#define TLS_RECORD_OUT (UPSTREAM_MSG_MAX + 2u + 100u) /* one query; header, nonce and tag */
/* How much of a handshake is read in one turn: less than lies between two things that take long to compute. */
#define TLS_BITE 96u
#define DOT_OUT_MAX 32768u  /* records gathered in one turn: 128 usual queries of 256 octets */
#define NET_READ_MAX 32768u /* one read of any stream: two full TLS records */

/* A resumed session skips the certificate, and its secret gives all of its sessions away: an hour.  A
 * known leaf skips the chain, whose revocation nobody looks at anyway: a day. */
#define TLS_SESSION_S 3600u
#define TLS_LEAF_S 86400u

#define CERT_MAX 16384u	 /* one certificate: a hundred names in a leaf stay below 8 KiB */
#define CHAIN_MAX 10u	 /* certificates a server may send; real chains have 2 to 4 */
#define PEM_MAX 1048576u /* a trust anchor file; Debian's whole set has 222 kB */
#define ANCHORS_MAX 512u /* trust anchors; Debian's whole set has 150 */

/* Doubt, then a connection to the other one; and with 300 ms for the round trips of a far one. */
_Static_assert(POOL_DOUBT_MIN_MS + POOL_WAIT_MS + 300u < PROMISE_OTHER_MS, "silence is noticed in time");
/* A lost SYN, then the round trips of one that is not. */
_Static_assert(CONN_SYN_MS + 300u < PROMISE_BACK_MS && DOT_REST_LOCAL_MS + 300u < PROMISE_BACK_MS,
	       "an upstream that is back is noticed in time");

/* ---- Health --------------------------------------------------------------------------------- */

/* An upstream that has answered within this time is not asked for health's sake: three probes of 10 s, so that an
 * idle program connects no oftener than that.  A query that fails meanwhile ends it. */
#define READY_MS 30000u
#define HEALTH_MS 2000u	     /* HEALTHCHECK's usual timeout is 3 s, the start of a process included */
#define HEALTH_AGAIN_MS 100u /* a question may be lost, and an upstream may take a few of these to answer */

/* ---- Probing an upstream -------------------------------------------------------------------- */

#define PROBE_MS 10000u	      /* all of it, without waiting for an idle close */
#define PROBE_ANSWER_MS 2000u /* a resolver that looks something up takes one; most stubs wait for five */
#define PROBE_QUERIES 5u      /* of whose times the middle one is told */
#define PROBE_IDLE_MS 65000u /* more than a minute, which no well-known server grants, is as good as for ever */
#define PROBE_PAGE_MAX 16384u /* what is printed at once: ten certificates take 8,000 octets at most */

/* ---- Clients over TCP ----------------------------------------------------------------------- */

/* select() takes descriptors below FD_SETSIZE (1,024).  Listeners, upstreams and what the C
 * library and the log hold come off that; main.c checks the sum at compile time. */
#define TCP_CLIENTS_MAX 900u
#define TCP_CLIENTS_DEFAULT 900u
#define TCP_PER_ADDRESS_DEFAULT 256u /* behind one address there may be a whole office */
#define TCP_OWED_MAX 128u	     /* questions of one connection on their way; then we stop reading */
#define TCP_IDLE_MS 10000u	     /* RFC 7766 section 6.2.3: "of the order of a few seconds" */
#define TCP_SPARE_MS 1000u /* when full, a client with nothing open and quiet for this long makes room */
#define TCP_BACKLOG 511

/* Answers a client does not take at once wait in chunks shared by all.  512 KiB hold eight whole
 * answers of the largest size; when they are used up, the client stuck longest is closed. */
#define CHUNK_SIZE 2048u
#define CHUNKS 256u
#define TCP_KEPT_MAX (2u * (DNS_MESSAGE_MAX + 2u)) /* of one client, then it is closed */

/* ---- Clients over UDP ----------------------------------------------------------------------- */

#define UDP_BATCH 64u	    /* datagrams read or sent by one system call */
#define UDP_BATCHES 4u	    /* reads of one socket a turn; then others get their turn */
#define UDP_RCVBUF 1048576  /* the first burst of 1,000 clients overflows the usual 208 KiB */
#define UDP_OUT_MAX 131072u /* answers gathered in one turn */

/* ---- Log ------------------------------------------------------------------------------------ */

#define LOG_LINE_MAX 512u
#define LOG_REPEAT_MS 10000u /* the same line within this time is counted, not written */

#endif
