/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <string.h>

#include "text.h"

const char options_usage[] =
	"dnproxy: takes plain DNS over UDP and TCP, and asks an upstream over authenticated TLS.\n"
	"\n"
	"usage: dnproxy [-c FILE] [--check]\n"
	"       dnproxy probe [-c FILE] [--json] [--idle] [--name NAME] [IP[@PORT][#HOSTNAME]]\n"
	"       dnproxy health [-c FILE] [--live | --ready]\n"
	"  -c, --config FILE  settings; else ./dnproxy.yml, else /etc/dnproxy.yml, else defaults\n"
	"      --check        check the settings, print what is in force and the memory, and end\n"
	"      --help         print this and end\n"
	"      --version      print versions and build date and end\n"
	"  probe              what an upstream (each of the settings) can do, and what is wrong\n"
	"      --json         as JSON\n"
	"      --idle         also how long it stays open, up to 65 s\n"
	"      --name NAME    what is asked for, else example.com\n"
	"  health             whether the program at work is ready: an upstream answers it, or did lately\n"
	"      --live         only whether it answers itself\n"
	"\n";

#define ANY 0xffu

enum { PATH = TO_HEALTH + 1, NAME, JSON, IDLE, LIVE, READY };

static const struct word {
	char text[10];
	uint8_t of;   /* belongs to this task, or ANY */
	uint8_t does; /* one of the above, or begins a task of its own */
} words[] = {
	{"-c", ANY, PATH},
	{"--config", ANY, PATH},
	{"--help", ANY, TO_HELP},
	{"-h", ANY, TO_HELP},
	{"--version", ANY, TO_VERSION},
	{"-V", ANY, TO_VERSION},
	{"--check", TO_SERVE, TO_CHECK},
	{"probe", TO_SERVE, TO_PROBE},
	{"--json", TO_PROBE, JSON},
	{"--idle", TO_PROBE, IDLE},
	{"--name", TO_PROBE, NAME},
	{"health", TO_SERVE, TO_HEALTH},
	{"--live", TO_HEALTH, LIVE},
	{"--ready", TO_HEALTH, READY},
};

/* What a word does for this task; -1: nothing. */
static int
find(const char *text, unsigned task)
{
	for (const struct word *w = words; w < words + sizeof(words) / sizeof(words[0]); w++)
		if ((w->of == ANY || w->of == task) && strcmp(text, w->text) == 0)
			return w->does;
	return -1;
}

/* Reads one option of argv, and steps to its last word.  Returns what is wrong with it, or NULL. */
static const char *
read_option(struct options *o, char **argv, int *i)
{
	const char *arg = argv[*i], *next = argv[*i + 1];
	int does = find(arg, o->task);

	if (does == PATH) {
		if (next == NULL)
			return "names no file";
		o->path = next;
		++*i;
	} else if (does == NAME) {
		if (next == NULL || !probe_is_name(next))
			return "needs a DNS name";
		o->wishes.name = next;
		++*i;
	} else if (does == JSON) {
		o->wishes.json = true;
	} else if (does == IDLE) {
		o->wishes.idle = true;
	} else if (does == LIVE || does == READY) {
		o->live = does == LIVE;
	} else if (does >= 0) {
		o->task = (enum options_task)does;
	} else if (text_begins(arg, "--config=")) {
		o->path = arg + 9;
	} else if (o->task == TO_PROBE && arg[0] != '-' && o->target == NULL) {
		o->target = arg;
	} else {
		return arg[0] == '-' ? "no such option" : "no option; a settings file is named with -c";
	}
	return NULL;
}

int
options_read(struct options *o, int argc, char **argv, char err[CONFIG_ERROR_MAX])
{
	*o = (struct options){.task = TO_SERVE, .wishes = {.name = "example.com"}};
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i], *wrong = read_option(o, argv, &i);

		if (wrong != NULL) {
			text_make(err, CONFIG_ERROR_MAX, "dnproxy: %s: %s; see dnproxy --help", arg, wrong);
			return -1;
		}
	}
	return 0;
}
