/* SPDX-License-Identifier: MIT */
/* One line an event to standard error: "dnproxy: warn: text".  A line that repeats within
 * LOG_REPEAT_MS is counted and summarised ("... and 312 more").  No time stamps: whoever keeps the
 * log (the container runtime, procd, the journal) has a better clock.  A line that
 * standard error does not take at once is lost and counted: a log never holds up an answer. */
#ifndef DNPROXY_LOG_H
#define DNPROXY_LOG_H

#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* The words of the levels, in order, NULL at the end: "error", "warn", "info", "debug". */
extern const char *const log_words[];

/* What is above level is not written.  The start value is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* From here on lines begin with "worker 2: ", behind the level; what was counted so far is another's. */
void log_set_worker(unsigned number);

/* Writes one line; text is without a newline and control characters in it become '?'. */
#define log_error(...) log_event(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_event(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_event(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_event(LOG_LEVEL_DEBUG, __VA_ARGS__)
void log_event(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Writes a line of the query log, without summarising and whatever the level. */
void log_query(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Once a turn, with the turn's time in monotonic milliseconds: ends summaries that are due.
 * log_deadline() says when that is next; UINT64_MAX = nothing waits. */
void log_tick(uint64_t now);
uint64_t log_deadline(void);

#endif
