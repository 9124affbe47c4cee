/* SPDX-License-Identifier: MIT */
#include "yaml.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "text.h"

/* A collection that is being read.  Its entries begin in column indent.  While open, its newest
 * entry (slot) has no value yet.  The lowest frame stands for the document, whose one entry is the
 * root; it has column -1, so that every line lies inside it. */
struct frame {
	size_t node;
	size_t slot;
	long indent;
	bool open;
};

/* text[start..end) is the line being read, without its line end; at is the next octet. */
struct reader {
	struct yaml *y;
	const char *text;
	size_t len, next;
	size_t start, end, at;
	uint32_t line;
	struct frame stack[YAML_DEPTH_MAX + 1];
	size_t depth;
	bool start_seen; /* the leading "---" */
};

/* What a plain scalar cannot begin with, and what that would be: texts one after another, each
 * behind its character. */
static const char indicators[] = "\ttabs outside quotes (indent with spaces)\0"
				 "&anchors (&)\0"
				 "*aliases (*)\0"
				 "!tags (!)\0"
				 "|texts over several lines (| and >)\0"
				 "{mappings in {...}\0"
				 "[lists in [...] and as keys\0"
				 "?keys marked with \"? \"\0"
				 ":values that begin with this colon\0"
				 "-lists that begin on this line\0"
				 "#comments without a space before #\0"
				 "%directives (%)\0"
				 ",empty values before a comma\0";

static struct yaml_mark
mark(const struct reader *r, size_t at)
{
	struct yaml_mark m = {.line = r->line, .column = 1};

	for (size_t i = r->start; i < at; i++)
		m.column += ((unsigned char)r->text[i] & 0xc0u) != 0x80u;
	return m;
}

__attribute__((format(printf, 3, 4))) static int
fail(struct reader *r, size_t at, const char *fmt, ...)
{
	va_list ap;

	r->y->at = mark(r, at);
	va_start(ap, fmt);
	text_make_v(r->y->error, sizeof(r->y->error), fmt, ap);
	va_end(ap);
	return -1;
}

static int
fail_bound(struct reader *r, size_t at, unsigned bound, const char *what)
{
	return fail(r, at, "more than %u %s are not supported", bound, what);
}

/* The octet i of the line, or NUL behind its end. */
static char
peek(const struct reader *r, size_t i)
{
	return i < r->end ? r->text[i] : '\0';
}

static bool
is_blank(char c)
{
	return c == '\0' || c == ' ' || c == '\t';
}

static bool
at_dash(const struct reader *r)
{
	return peek(r, r->at) == '-' && is_blank(peek(r, r->at + 1));
}

/* Whether only a comment or nothing follows.  A # begins a comment behind a space alone. */
static bool
at_end(const struct reader *r)
{
	return r->at == r->end || (r->text[r->at] == '#' && (r->at == r->start || r->text[r->at - 1] == ' '));
}

static void
skip_spaces(struct reader *r)
{
	while (peek(r, r->at) == ' ')
		r->at++;
}

static struct frame *
top(struct reader *r)
{
	return &r->stack[r->depth];
}

/* ---- Characters ----------------------------------------------------------------------------- */

/* Decodes one character of UTF-8 from s[0..len), len > 0, into *c.  Returns its length; 0 when it is
 * none: cut short, longer than needed, a surrogate, or above U+10FFFF. */
static size_t
read_utf8(const char *s, size_t len, uint32_t *c)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t lead = (unsigned char)s[0];
	size_t n = lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf8 ? 4 : 0;

	if (n == 0 || n > len)
		return 0;
	*c = n == 1 ? lead : lead & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		uint32_t more = (unsigned char)s[i];

		if ((more & 0xc0u) != 0x80u)
			return 0;
		*c = *c << 6 | (more & 0x3fu);
	}
	return *c < least[n] || (*c >= 0xd800 && *c <= 0xdfff) || *c > 0x10ffff ? 0 : n;
}

/* Writes a character as UTF-8.  Returns its length. */
static size_t
put_utf8(char out[4], uint32_t c)
{
	static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80u | (c & 0x3fu));
	out[0] = (char)(lead[n == 1 ? 0 : n] | c);
	return n;
}

/* What YAML calls printable, without the three characters beyond CR and LF that YAML 1.1 takes for
 * line ends and 1.2 does not, and without a byte order mark in the middle. */
static bool
is_printable(uint32_t c)
{
	if (c < 0xa0)
		return c == '\t' || (c >= 0x20 && c <= 0x7e);
	return c != 0x2028 && c != 0x2029 && c != 0xfeff && (c < 0xd800 || c > 0xdfff) && c != 0xfffe &&
	       c != 0xffff && c <= 0x10ffff;
}

static int
check_characters(struct reader *r)
{
	for (size_t i = r->start; i < r->end;) {
		uint32_t c = 0;
		size_t n = read_utf8(r->text + i, r->end - i, &c);

		if (n == 0)
			return fail(r, i, "this is not UTF-8; save it as UTF-8");
		if (c == '\r')
			return fail(r, i, "a carriage return without a newline; end lines with both");
		if (!is_printable(c))
			return fail(r, i, "the character U+%04x is not supported; remove it", (unsigned)c);
		i += n;
	}
	return 0;
}

/* Adds octets to the text being read. */
static int
put_octets(struct reader *r, const char *s, size_t n)
{
	struct yaml *y = r->y;

	if (n > sizeof(y->text) - y->used)
		return fail_bound(r, r->at, YAML_TEXT_MAX, "octets of text");
	memcpy(y->text + y->used, s, n);
	y->used += n;
	return 0;
}

static int
end_text(struct reader *r)
{
	return put_octets(r, "", 1);
}

/* ---- Scalars -------------------------------------------------------------------------------- */

static int
fail_quotes(struct reader *r)
{
	return fail(r, r->at, "put quotes around a value that holds %c", r->text[r->at]);
}

/* Says why no plain scalar can begin here. */
static int
fail_indicator(struct reader *r)
{
	const char *i = indicators;
	char c = peek(r, r->at);

	if (c == '\0')
		return fail(r, r->at, "a value is missing");
	while (*i != '\0' && *i != (c == '>' ? '|' : c))
		i += strlen(i) + 1;
	if (*i == '\0')
		return fail_quotes(r);
	return fail(r, r->at, "%s are not supported; put quotes around it or write it otherwise", i + 1);
}

/* Whether the colon at i ends a plain scalar.  Inside [...] more does. */
static bool
is_colon(const struct reader *r, size_t i, bool inside)
{
	char c = peek(r, i + 1);

	return peek(r, i) == ':' && (is_blank(c) || (inside && text_has(",[]{}", c)));
}

static bool
can_begin_plain(const struct reader *r, bool inside)
{
	char c = peek(r, r->at), after = peek(r, r->at + 1);

	if (c == '-')
		return !is_blank(after) && !(inside && text_has(",[]{}", after));
	if (c == '?' || c == ':')
		return !inside && !is_blank(after);
	return c != '\0' && !text_has("\t,[]{}#&*!|>'\"%@`", c);
}

/* Ends at ": ", at a colon that ends the line, at " #", at the end of the line, and inside [...] at
 * a comma or bracket.  Spaces at its end do not belong to it. */
static int
read_plain(struct reader *r, bool inside)
{
	size_t begin = r->at, end;

	if (!can_begin_plain(r, inside))
		return fail_indicator(r);
	for (; !at_end(r) && !is_colon(r, r->at, inside); r->at++) {
		char c = r->text[r->at];

		if (c == '\t')
			return fail_indicator(r);
		if (inside && text_has("?{}[", c))
			return fail_quotes(r);
		if (inside && (c == ',' || c == ']'))
			break;
	}
	for (end = r->at; r->text[end - 1] == ' ';)
		end--;
	return put_octets(r, r->text + begin, end - begin) == -1 ? -1 : end_text(r);
}

static int
fail_unclosed(struct reader *r, size_t begin)
{
	return fail(r, begin, "this quote is not closed on its line; close it");
}

static int
read_single(struct reader *r)
{
	size_t begin = r->at++;

	for (; r->at < r->end; r->at++) {
		if (r->text[r->at] == '\'') {
			r->at++;
			if (peek(r, r->at) != '\'')
				return end_text(r);
		}
		if (put_octets(r, r->text + r->at, 1) == -1)
			return -1;
	}
	return fail_unclosed(r, begin);
}

/* Reads the digits of \x41, \u0041 or \U00000041. */
static int
read_code(struct reader *r, size_t digits)
{
	size_t begin = r->at - 1;
	uint32_t code = 0;
	char utf8[4];

	for (r->at++; digits > 0; digits--, r->at++) {
		int digit = text_hex(peek(r, r->at));

		if (digit == -1)
			return fail(r, begin, "this escape needs %u more hexadecimal digits", (unsigned)digits);
		code = code << 4 | (uint32_t)digit;
	}
	if (!is_printable(code))
		return fail(r, begin, "this escape stands for no printable character; remove it");
	return put_octets(r, utf8, put_utf8(utf8, code));
}

/* Of YAML's escapes those that stand for a printable character; so no text holds a NUL, a line end
 * or anything that upsets a terminal. */
static int
read_escape(struct reader *r)
{
	char c = peek(r, ++r->at);

	if (c == 'x' || c == 'u' || c == 'U')
		return read_code(r, c == 'x' ? 2 : c == 'u' ? 4 : 8);
	if (c == '\0' || !text_has("\"\\/ t", c))
		return fail(r, r->at - 1, "this escape is not supported; 'single quotes' take a \\ as it is");
	r->at++;
	return put_octets(r, c == 't' ? "\t" : &c, 1);
}

static int
read_double(struct reader *r)
{
	size_t begin = r->at++;

	while (r->at < r->end && r->text[r->at] != '"') {
		if (r->text[r->at] == '\\') {
			if (read_escape(r) == -1)
				return -1;
		} else if (put_octets(r, r->text + r->at++, 1) == -1) {
			return -1;
		}
	}
	if (r->at == r->end)
		return fail_unclosed(r, begin);
	r->at++;
	return end_text(r);
}

/* Reads a scalar of any kind; its text begins at y->text[*text]. */
static int
read_scalar(struct reader *r, bool inside, uint16_t *text)
{
	*text = (uint16_t)r->y->used;
	if (peek(r, r->at) == '"')
		return read_double(r);
	if (peek(r, r->at) == '\'')
		return read_single(r);
	return read_plain(r, inside);
}

/* ---- Collections ---------------------------------------------------------------------------- */

/* Appends a child to a collection.  Returns its index; 0 when there is no room. */
static size_t
add_node(struct reader *r, size_t parent)
{
	struct yaml *y = r->y;
	struct yaml_node *n = &y->node[y->nodes], *p = &y->node[parent];
	uint16_t index = (uint16_t)y->nodes;

	if (y->nodes == YAML_NODES_MAX) {
		fail_bound(r, r->at, YAML_NODES_MAX, "values");
		return 0;
	}
	memset(n, 0, sizeof(*n));
	n->parent = (uint16_t)parent;
	n->key_at = n->at = mark(r, r->at);
	if (p->last != 0)
		y->node[p->last].next = index;
	else
		p->first = index;
	p->last = index;
	y->nodes++;
	return index;
}

/* Makes the open slot of the innermost collection a collection, whose entries begin here. */
static int
open_collection(struct reader *r, enum yaml_kind kind)
{
	struct frame *f = top(r);
	struct yaml_node *n = &r->y->node[f->slot];

	if (r->depth == YAML_DEPTH_MAX)
		return fail_bound(r, r->at, YAML_DEPTH_MAX, "levels");
	n->kind = kind;
	n->at = mark(r, r->at);
	f->open = false;
	r->stack[++r->depth] = (struct frame){.node = f->slot, .indent = (long)(r->at - r->start)};
	return 0;
}

static bool
is_list(const struct reader *r, const struct frame *f)
{
	return f->indent >= 0 && r->y->node[f->node].kind == YAML_LIST;
}

/* Whether the innermost collection ends before an entry in this column. */
static bool
is_over(struct reader *r, long column, bool dash)
{
	const struct frame *f = top(r);

	if (f->indent > column)
		return true;
	/* A list may stand in the column of its key; then the next key ends it. */
	return f->indent == column && is_list(r, f) && !dash && f[-1].indent == column;
}

/* Finds the collection that has entries in this column, opening a new one where a value is due. */
static int
place(struct reader *r)
{
	long column = (long)(r->at - r->start);
	bool dash = at_dash(r);
	const struct frame *f;

	while (is_over(r, column, dash))
		r->depth--;
	f = top(r);
	if (f->indent == column && is_list(r, f) == dash)
		return 0;
	if (f->open && (f->indent < column || dash))
		return open_collection(r, dash ? YAML_LIST : YAML_MAP);
	if (f->indent == column)
		return fail(r, r->at,
			    dash ? "a list cannot begin here: the key above has its value"
				 : "this list goes on with \"- \" or ends");
	return fail(r, r->at, "this column belongs to nothing above; a value ends on its line");
}

/* Reads "-" and the spaces behind it. */
static int
read_dash(struct reader *r)
{
	struct frame *f = top(r);

	f->slot = add_node(r, f->node);
	f->open = true;
	r->at++;
	skip_spaces(r);
	return f->slot != 0 ? 0 : -1;
}

/* Offset behind the closing quote of the scalar at r->at; the end of the line if there is none. */
static size_t
skip_quoted(const struct reader *r)
{
	char quote = r->text[r->at];
	size_t i = r->at + 1;

	while (i < r->end && r->text[i] != quote)
		i += quote == '"' && r->text[i] == '\\' ? 2 : 1;
	return i < r->end ? i + 1 : r->end;
}

/* Offset of the colon that makes what begins here a key, or 0. */
static size_t
find_colon(const struct reader *r)
{
	size_t i = r->at;

	if (text_has("[{", peek(r, i)))
		return 0;
	if (peek(r, i) == '"' || peek(r, i) == '\'') {
		/* '' inside single quotes looks like two scalars, and that does as well. */
		do {
			i = skip_quoted(&(struct reader){.text = r->text, .end = r->end, .at = i});
		} while (r->text[r->at] == '\'' && peek(r, i) == '\'');
		while (peek(r, i) == ' ')
			i++;
		return is_colon(r, i, false) ? i : 0;
	}
	for (; i < r->end && !(r->text[i] == '#' && i > r->start && r->text[i - 1] == ' '); i++) {
		if (is_colon(r, i, false))
			return i;
	}
	return 0;
}

static int
fail_colon(struct reader *r)
{
	return fail(r, r->at, "a colon ends a key here; put quotes around a value that holds one");
}

/* After a value only a comment may follow. */
static int
end_value(struct reader *r)
{
	skip_spaces(r);
	if (at_end(r))
		return 0;
	switch (r->text[r->at]) {
	case ':':
		return fail_colon(r);
	case '\t':
	case '#':
		return fail_indicator(r);
	default:
		return fail(r, r->at, "something follows the value; put quotes around all");
	}
}

/* Reads one value of [...] and the comma behind it, if there is one. */
static int
read_item(struct reader *r, size_t list)
{
	size_t item = add_node(r, list);
	struct yaml_node *n = &r->y->node[item];

	if (item == 0 || read_scalar(r, true, &n->text) == -1)
		return -1;
	n->kind = YAML_SCALAR;
	skip_spaces(r);
	if (peek(r, r->at) == ':')
		return fail_colon(r);
	if (peek(r, r->at) == ',') {
		r->at++;
		skip_spaces(r);
	} else if (peek(r, r->at) != ']' && !at_end(r)) {
		return fail(r, r->at, "a comma or ] is missing here");
	}
	return 0;
}

static int
read_inline(struct reader *r, size_t list)
{
	size_t begin = r->at++;

	r->y->node[list].kind = YAML_LIST;
	skip_spaces(r);
	while (peek(r, r->at) != ']') {
		if (at_end(r))
			return fail(r, begin, "this list is not closed on its line; close it");
		if (read_item(r, list) == -1)
			return -1;
	}
	r->at++;
	return end_value(r);
}

/* Reads the rest of the line as the value of the open slot. */
static int
read_value(struct reader *r)
{
	struct frame *f = top(r);
	struct yaml_node *n = &r->y->node[f->slot];

	f->open = false;
	n->at = mark(r, r->at);
	if (peek(r, r->at) == '[')
		return read_inline(r, f->slot);
	n->kind = YAML_SCALAR;
	return read_scalar(r, false, &n->text) == -1 ? -1 : end_value(r);
}

static int
check_key(struct reader *r, size_t node, size_t begin)
{
	const struct yaml *y = r->y;
	const char *key = yaml_key(y, node);
	char path[YAML_PATH_MAX];

	if (strcmp(key, "<<") == 0)
		return fail(r, begin, "merge keys (<<) are not supported; write the keys out");
	for (size_t i = y->node[y->node[node].parent].first; i != node; i = y->node[i].next) {
		if (strcmp(yaml_key(y, i), key) == 0)
			return fail(r, begin, "%s: given twice; the first one is on line %u",
				    yaml_path(path, y, node), (unsigned)y->node[i].key_at.line);
	}
	return 0;
}

/* Reads "key:" and what follows on the line. */
static int
read_entry(struct reader *r)
{
	struct frame *f = top(r);
	size_t begin = r->at, colon = find_colon(r);

	f->slot = add_node(r, f->node);
	if (f->slot == 0 || read_scalar(r, false, &r->y->node[f->slot].key) == -1)
		return -1;
	if (colon == 0)
		return fail(r, begin, "expected \"key: value\", the colon followed by a space");
	if (colon - begin > YAML_KEY_MAX)
		return fail_bound(r, begin, YAML_KEY_MAX, "octets in a key");
	if (check_key(r, f->slot, begin) == -1)
		return -1;
	r->at = colon + 1;
	skip_spaces(r);
	f->open = true;
	return at_end(r) ? 0 : read_value(r);
}

/* ---- Lines ---------------------------------------------------------------------------------- */

/* Whether the line is "---" or "...", perhaps with something behind it. */
static bool
is_marker(const struct reader *r)
{
	char c = peek(r, r->start);

	return (c == '-' || c == '.') && peek(r, r->start + 1) == c && peek(r, r->start + 2) == c &&
	       is_blank(peek(r, r->start + 3));
}

static int
read_marker(struct reader *r)
{
	if (r->depth > 0 || r->start_seen || r->text[r->start] == '.')
		return fail(r, r->start, "an end marker or second document is not supported; leave it out");
	r->start_seen = true;
	r->at += 3;
	skip_spaces(r);
	return at_end(r) ? 0 : fail(r, r->at, "nothing may follow --- on its line");
}

static int
read_line(struct reader *r)
{
	if (check_characters(r) == -1)
		return -1;
	skip_spaces(r);
	if (at_end(r))
		return 0;
	if (is_marker(r))
		return read_marker(r);
	if (peek(r, r->at) == '\t')
		return fail_indicator(r);
	if (place(r) == -1)
		return -1;
	while (at_dash(r)) {
		if (read_dash(r) == -1)
			return -1;
		if (at_end(r))
			return 0;
		if (!at_dash(r) && find_colon(r) == 0)
			return read_value(r);
		if (place(r) == -1)
			return -1;
	}
	return read_entry(r);
}

/* Moves on to the next line; false at the end of the text. */
static bool
next_line(struct reader *r)
{
	bool whole;

	if (r->next == r->len)
		return false;
	r->start = r->at = r->end = r->next;
	while (r->end < r->len && r->text[r->end] != '\n')
		r->end++;
	whole = r->end < r->len;
	r->next = r->end + whole;
	if (whole && r->end > r->start && r->text[r->end - 1] == '\r')
		r->end--;
	r->line++;
	return true;
}

int
yaml_read(struct yaml *y, const char *text, size_t len)
{
	struct reader r = {.y = y, .text = text, .len = len};

	y->nodes = 1;
	y->used = 1;
	y->text[0] = '\0';
	y->error[0] = '\0';
	y->at = (struct yaml_mark){1, 1};
	memset(&y->node[0], 0, sizeof(y->node[0]));
	y->node[0].key_at = y->node[0].at = y->at;
	r.stack[0] = (struct frame){.indent = -1, .open = true};
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		r.next = 3;
	while (next_line(&r)) {
		if (read_line(&r) == -1)
			return -1;
	}
	return 0;
}

/* ---- The tree ------------------------------------------------------------------------------- */

const char *
yaml_text(const struct yaml *y, size_t node)
{
	return y->text + y->node[node].text;
}

const char *
yaml_key(const struct yaml *y, size_t node)
{
	return y->text + y->node[node].key;
}

size_t
yaml_child(const struct yaml *y, size_t node, const char *key)
{
	size_t i = y->node[node].first;

	while (i != 0 && strcmp(yaml_key(y, i), key) != 0)
		i = y->node[i].next;
	return i;
}

char *
yaml_path(char out[YAML_PATH_MAX], const struct yaml *y, size_t node)
{
	const char *way[YAML_DEPTH_MAX + 1];
	size_t levels = 0, used = 0;

	for (; node != 0 && levels < YAML_DEPTH_MAX + 1; node = y->node[node].parent) {
		if (y->node[node].key != 0)
			way[levels++] = yaml_key(y, node);
	}
	out[0] = '\0';
	while (levels > 0 && used < YAML_PATH_MAX)
		used += (size_t)text_make(out + used, YAML_PATH_MAX - used, "%s%s", used > 0 ? "." : "",
					  way[--levels]);
	return out;
}
