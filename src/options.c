/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <string.h>

#include "text.h"

const char options_usage[] =
	"dnproxy: takes plain DNS over UDP and TCP, and asks an upstream over authenticated TLS.\n"
	"\n"
	"usage: dnproxy [-c FILE] [--check]\n"
	"       dnproxy probe [-c FILE] [--json] [--idle] [--name NAME] [IP[@PORT][#HOSTNAME]]\n"
	"       dnproxy health [-c FILE] [--live]\n"
	"  -c, --config FILE  settings; else ./dnproxy.yml, else /etc/dnproxy.yml, else defaults\n"
	"      --check        check the settings, print what is in force and the memory, and end\n"
	"      --help         print this and end\n"
	"      --version      print versions and build date and end\n"
	"  probe              what an upstream (each of the settings) can do, and what is wrong\n"
	"      --json         as JSON\n"
	"      --idle         also how long it stays open, up to 65 s\n"
	"      --name NAME    what is asked for, else example.com\n"
	"  health             whether the program at work is ready: an upstream has answered lately, or does now\n"
	"      --live         only whether it answers itself\n"
	"\n";

/* Reads one option of argv, and steps to its last word.  Returns what is wrong with it, or NULL. */
static const char *
read_option(struct options *o, char **argv, int *i)
{
	const char *arg = argv[*i], *next = argv[*i + 1];
	bool probing = o->task == TO_PROBE, caring = o->task == TO_HEALTH;

	if (strcmp(arg, "-c") == 0 || strcmp(arg, "--config") == 0) {
		if (next == NULL)
			return "names no file";
		o->path = next;
		++*i;
	} else if (text_begins(arg, "--config=")) {
		o->path = arg + 9;
	} else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
		o->task = TO_HELP;
	} else if (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0) {
		o->task = TO_VERSION;
	} else if (caring && (strcmp(arg, "--live") == 0 || strcmp(arg, "--ready") == 0)) {
		o->live = arg[2] == 'l';
	} else if (!probing && !caring && strcmp(arg, "--check") == 0) {
		o->task = TO_CHECK;
	} else if (probing && strcmp(arg, "--json") == 0) {
		o->wishes.json = true;
	} else if (probing && strcmp(arg, "--idle") == 0) {
		o->wishes.idle = true;
	} else if (probing && strcmp(arg, "--name") == 0) {
		if (next == NULL || !probe_is_name(next))
			return "needs a DNS name";
		o->wishes.name = next;
		++*i;
	} else if (probing && arg[0] != '-' && o->target == NULL) {
		o->target = arg;
	} else {
		return arg[0] == '-' ? "no such option"
				     : "no option; a settings file is named with -c, and probe or health comes first";
	}
	return NULL;
}

int
options_read(struct options *o, int argc, char **argv, char err[CONFIG_ERROR_MAX])
{
	int i = 1;

	*o = (struct options){.task = TO_SERVE, .wishes = {.name = "example.com"}};
	if (argc > 1 && strcmp(argv[1], "probe") == 0) {
		o->task = TO_PROBE;
		i = 2;
	} else if (argc > 1 && strcmp(argv[1], "health") == 0) {
		o->task = TO_HEALTH;
		i = 2;
	}
	for (; i < argc; i++) {
		const char *arg = argv[i], *wrong = read_option(o, argv, &i);

		if (wrong != NULL) {
			text_make(err, CONFIG_ERROR_MAX, "dnproxy: %s: %s; see dnproxy --help", arg, wrong);
			return -1;
		}
	}
	return 0;
}
