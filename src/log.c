/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "bounds.h"
#include "text.h"

const char *const log_words[] = {"error", "warn", "info", "debug", NULL};

static enum log_level threshold = LOG_LEVEL_INFO;

/* The last line of each level that may repeat, and how often it was held back since it was
 * written.  One memory a level is enough: a flood is one line over and over. */
static struct memory {
	char text[LOG_LINE_MAX];
	uint64_t until; /* monotonic ms; repeats before this are counted */
	unsigned long repeats;
} memory[4];

static uint64_t clock_ms; /* as log_tick() said last */
static char who[24];	  /* "worker 2: " */

void
log_set_level(enum log_level level)
{
	threshold = level;
}

enum log_level
log_get_level(void)
{
	return threshold;
}

static unsigned long lost; /* lines that found standard error full */

void
log_set_worker(unsigned number)
{
	text_make(who, sizeof(who), "worker %u: ", number);
	memset(memory, 0, sizeof(memory));
	lost = 0;
}

/* Whether a line can be written without waiting.  A pipe that poll() calls writable takes PIPE_BUF
 * octets; making it non-blocking instead would do so for every program that shares it. */
static bool
takes_a_line(void)
{
	struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};

	return poll(&fd, 1, 0) == 1 && (fd.revents & POLLOUT) != 0;
}

/* One write(2) a line, so that lines of several processes do not mix.  Serving goes on when nobody
 * reads the log; what was lost is said when somebody does. */
static void
put_line(const char *word, const char *text)
{
	char line[LOG_LINE_MAX + 96];
	size_t n;
	ssize_t done;

	if (!takes_a_line()) {
		lost++;
		return;
	}
	if (lost > 0)
		text_make(line, sizeof(line), "dnproxy: %s: %s%.*s (%lu lines before this were lost)\n", word,
			  who, (int)LOG_LINE_MAX, text, lost);
	else
		text_make(line, sizeof(line), "dnproxy: %s: %s%s\n", word, who, text);
	n = strlen(line);
	line[n - 1] = '\n';
	lost = 0;
	done = write(STDERR_FILENO, line, n);
	(void)done;
}

/* What comes from outside must not move a terminal's cursor or forge a second line. */
static void
make_text(char text[LOG_LINE_MAX], const char *fmt, va_list ap)
{
	text_make_v(text, LOG_LINE_MAX, fmt, ap);
	for (char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
			*p = '?';
}

static void
end_repeats(enum log_level level)
{
	struct memory *m = &memory[level];
	char text[LOG_LINE_MAX + 32];

	if (m->repeats > 0) {
		text_make(text, sizeof(text), "%.400s ... and %lu more", m->text, m->repeats);
		put_line(log_words[level], text);
	}
	m->repeats = 0;
	m->text[0] = '\0';
}

void
log_event(enum log_level level, const char *fmt, ...)
{
	struct memory *m = &memory[level];
	char text[LOG_LINE_MAX];
	va_list ap;

	if (level > threshold)
		return;
	va_start(ap, fmt);
	make_text(text, fmt, ap);
	va_end(ap);
	if (clock_ms < m->until && strcmp(text, m->text) == 0) {
		m->repeats++;
		return;
	}
	end_repeats(level);
	memcpy(m->text, text, sizeof(text));
	m->until = clock_ms + LOG_REPEAT_MS;
	put_line(log_words[level], text);
}

void
log_query(const char *fmt, ...)
{
	char text[LOG_LINE_MAX];
	va_list ap;

	va_start(ap, fmt);
	make_text(text, fmt, ap);
	va_end(ap);
	put_line("query", text);
}

void
log_tick(uint64_t now)
{
	clock_ms = now;
	for (int i = 0; i < 4; i++)
		if (memory[i].until <= now && memory[i].text[0] != '\0')
			end_repeats((enum log_level)i);
}

uint64_t
log_deadline(void)
{
	uint64_t first = UINT64_MAX;

	for (int i = 0; i < 4; i++)
		if (memory[i].repeats > 0 && memory[i].until < first)
			first = memory[i].until;
	return first;
}
