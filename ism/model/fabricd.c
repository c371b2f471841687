/* SPDX-License-Identifier: MIT */
/*
 * fabricd.c - ism-fabricd: a software ISM fabric on vfio-user sockets
 *
 * One thread, one epoll loop. It sleeps without a timeout unless a fault, a knob or the watchdog
 * has something due, so an idle fabric costs nothing.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "ism/model/fabric.h"
#include "ism/model/fabricd_ctl.h"
#include "ism/model/fabricd_dir.h"
#include "ism/model/fabricd_port.h"
#include "ism/model/loop.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define NS_PER_MS UINT64_C(1000000)

struct fabricd {
	struct loop loop;
	struct source signals;
	struct fabricd_dir dir;
	struct fabric *fabric;
	struct port *ports;
	unsigned int n_ports;
	struct ctl ctl;
	uint64_t watchdog_ns; /* 0: none */
	uint64_t watchdog_at;
	bool stop;
};

struct options {
	struct fabric_params fabric;
	struct knobs knobs;
	char dir[PATH_MAX];
	const char *command;
	bool allow_unsealed;
};

static const char usage[] =
	"usage: ism-fabricd --functions N [--dir DIR] [OPTION...]\n"
	"       ism-fabricd [--dir DIR] --command 'LINE'\n"
	"Serves N ISM functions of one software fabric on DIR/ism0.sock ... (vfio-user).\n"
	"\n"
	"  --functions N            functions, 1 to 255\n"
	"  --dir DIR                sockets; default $XDG_RUNTIME_DIR/ism-fabric, or\n"
	"                           /run/ism-fabric\n"
	"  --chid X                 CHID of the fabric, default 0x1d15\n"
	"  --gid-base X             GID of function 0, default 0x1d15000000000001\n"
	"  --max-store N            longest PCISTB, 8 to 4096 bytes, default 4096\n"
	"  --knob NAME=VALUE        behaviour that hardware does not document\n"
	"  --list-knobs             lists knobs with default, range and effect\n"
	"  --allow-unsealed-memory  accept client memory that can be truncated, which would\n"
	"                           kill the fabric: only for trusted clients\n"
	"  --command LINE           sends LINE to the fabric in DIR (try: help)\n"
	"  --verbose                log every client and decision\n"
	"  --help, --version\n";

static int fail_usage(const char *what, const char *arg, const char *why)
{
	fprintf(stderr, "ism-fabricd: %s %s: %s\nTry: ism-fabricd --help\n", what, arg, why);
	return 2;
}

static void list_knobs(void)
{
	int i;

	for (i = 0; i < KNOB_COUNT; i++) {
		const struct knob_desc *k = &knob_table[i];

		printf("%-20s %" PRIu64 " (%" PRIu64 "..%" PRIu64 ")  %s\n", k->name, k->def,
			k->min, k->max, k->help);
	}
}

static int parse_number(const char *text, uint64_t max, uint64_t *ret)
{
	unsigned long long v;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno || *end || v > max)
		return -EINVAL;
	*ret = v;
	return 0;
}

static int parse_knob(struct options *o, const char *arg)
{
	char name[64];
	const char *eq = strchr(arg, '=');
	int r;

	if (!eq || (size_t)(eq - arg) >= sizeof(name))
		return fail_usage("--knob", arg, "must be NAME=VALUE");
	memcpy(name, arg, (size_t)(eq - arg));
	name[eq - arg] = '\0';
	r = knob_set_text(&o->knobs, name, eq + 1);
	if (r == -ENOENT)
		return fail_usage("--knob", arg, "no such knob; see --list-knobs");
	return r ? fail_usage("--knob", arg, "not a value of this knob; see --list-knobs") : 0;
}

/* 0: go on · > 0: exit status · < 0: exit with success. */
static int parse_option(struct options *o, int opt)
{
	uint64_t v = 0;

	switch (opt) {
	case 'n':
		if (parse_number(optarg, FABRIC_FUNCTIONS_MAX, &v) || !v)
			return fail_usage("--functions", optarg, "must be 1 to 255");
		o->fabric.functions = (unsigned int)v;
		return 0;
	case 'd':
		if (strlen(optarg) >= sizeof(o->dir))
			return fail_usage("--dir", optarg, "too long");
		strcpy(o->dir, optarg);
		return 0;
	case 'c':
		if (parse_number(optarg, UINT16_MAX, &v))
			return fail_usage("--chid", optarg, "must be a number up to 0xffff");
		o->fabric.chid = (uint16_t)v;
		return 0;
	case 'g':
		if (parse_number(optarg, UINT64_MAX, &o->fabric.gid_base))
			return fail_usage("--gid-base", optarg, "must be a 64-bit number");
		return 0;
	case 'm':
		if (parse_number(optarg, UINT64_MAX, &v) ||
			knob_set(&o->knobs, KNOB_max_store, v))
			return fail_usage("--max-store", optarg, "must be 8 to 4096");
		return 0;
	case 'k':
		return parse_knob(o, optarg);
	case 'l':
		list_knobs();
		return -1;
	case 'u':
		o->allow_unsealed = true;
		return 0;
	case 'x':
		o->command = optarg;
		return 0;
	case 'v':
		log_init("ism-fabricd", LOG_LEVEL_DEBUG);
		return 0;
	case 'h':
		fputs(usage, stdout);
		return -1;
	case 'V':
		puts("ism-fabricd " SMCDU_VERSION);
		return -1;
	default:
		fputs("Try: ism-fabricd --help\n", stderr);
		return 2;
	}
}

static int parse(struct options *o, int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "functions", required_argument, NULL, 'n' },
		{ "dir", required_argument, NULL, 'd' },
		{ "chid", required_argument, NULL, 'c' },
		{ "gid-base", required_argument, NULL, 'g' },
		{ "max-store", required_argument, NULL, 'm' },
		{ "knob", required_argument, NULL, 'k' },
		{ "list-knobs", no_argument, NULL, 'l' },
		{ "allow-unsealed-memory", no_argument, NULL, 'u' },
		{ "command", required_argument, NULL, 'x' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	int opt, r;

	fabricd_dir_default(o->dir, sizeof(o->dir));
	o->fabric.chid = FABRIC_CHID_DEFAULT;
	o->fabric.gid_base = FABRIC_GID_BASE;
	knobs_init(&o->knobs);
	while ((opt = getopt_long(argc, argv, "hV", longopts, NULL)) != -1) {
		r = parse_option(o, opt);
		if (r)
			return r;
	}
	if (optind < argc)
		return fail_usage("argument", argv[optind], "not expected");
	if (!o->fabric.functions && !o->command)
		return fail_usage("--functions", "N", "is required");
	return 0;
}

/* --- readiness and watchdog --- */

static void notify_systemd(const char *state)
{
#ifdef HAVE_SYSTEMD
	sd_notify(0, state);
#endif
}

static void watchdog_init(struct fabricd *d)
{
#ifdef HAVE_SYSTEMD
	uint64_t us = 0;

	if (sd_watchdog_enabled(0, &us) > 0)
		d->watchdog_ns = us * 1000 / 2;
#endif
	d->watchdog_at = d->watchdog_ns ? clock_ns() : FABRIC_NEVER;
}

/* --- the loop --- */

static void signals_ready(struct source *s, uint32_t events)
{
	struct fabricd *d = (struct fabricd *)(void *)((char *)s -
						       offsetof(struct fabricd, signals));
	struct signalfd_siginfo info;

	if (read(s->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		d->stop = true;
}

static int watch_signals(struct fabricd *d)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	d->signals.ready = signals_ready;
	d->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->signals.fd < 0)
		return -errno;
	return loop_set(&d->loop, &d->signals, EPOLLIN);
}

static uint64_t next_due(const struct fabricd *d)
{
	uint64_t due = fabric_due(d->fabric);
	unsigned int i;

	if (d->watchdog_at < due)
		due = d->watchdog_at;
	for (i = 0; i < d->n_ports; i++) {
		uint64_t p = port_due(&d->ports[i]);

		if (p < due)
			due = p;
	}
	return due;
}

static void run_due(struct fabricd *d, uint64_t now)
{
	unsigned int i;

	fabric_run(d->fabric);
	for (i = 0; i < d->n_ports; i++) {
		if (port_due(&d->ports[i]) <= now)
			port_run(&d->ports[i], now);
	}
	if (d->watchdog_at <= now) {
		notify_systemd("WATCHDOG=1");
		d->watchdog_at = now + d->watchdog_ns;
	}
}

/* Milliseconds until @due, rounded up so that it is due then. */
static int wait_ms(uint64_t due, uint64_t now)
{
	uint64_t ms = due <= now ? 0 : (due - now + NS_PER_MS - 1) / NS_PER_MS;

	return ms > 1000000 ? 1000000 : (int)ms;
}

static int run(struct fabricd *d)
{
	while (!d->stop) {
		uint64_t due = next_due(d);
		int timeout = -1, r;

		if (due != FABRIC_NEVER) {
			uint64_t now = clock_ns();

			if (due <= now) {
				run_due(d, now);
				due = next_due(d);
			}
			if (due != FABRIC_NEVER)
				timeout = wait_ms(due, now);
		}
		r = loop_turn(&d->loop, timeout);
		if (r) {
			log_err("cannot wait for events: %s", strerror(-r));
			return r;
		}
	}
	return 0;
}

/* A DMB costs a descriptor; the soft limit is a relic of select(2). */
static void raise_nofile(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return;
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
}

static int start(struct fabricd *d, const struct options *o)
{
	unsigned int i;
	int r;

	raise_nofile();
	r = loop_init(&d->loop);
	if (!r)
		r = watch_signals(d);
	if (!r)
		r = fabric_new(&o->fabric, &d->fabric);
	if (r) {
		log_err("cannot start: %s", r == -EINVAL ? "--gid-base leads to a GID of 0"
							  : strerror(-r));
		return r;
	}
	d->fabric->knobs = o->knobs;
	r = fabricd_dir_open(&d->dir, o->dir);
	if (r)
		return r;
	d->ports = calloc(o->fabric.functions, sizeof(*d->ports));
	if (!d->ports)
		return -ENOMEM;
	for (i = 0; i < o->fabric.functions; i++) {
		d->n_ports = i + 1;
		r = port_open(&d->ports[i], &d->loop, d->fabric->fn[i], &d->dir, o->allow_unsealed);
		if (r)
			return r;
	}
	return ctl_open(&d->ctl, &d->loop, d->fabric, d->ports, &d->dir);
}

static void end(struct fabricd *d)
{
	unsigned int i;

	ctl_close(&d->ctl, &d->dir);
	for (i = 0; i < d->n_ports; i++)
		port_close(&d->ports[i], &d->dir);
	free(d->ports);
	fabric_free(d->fabric);
	fabricd_dir_close(&d->dir);
	fd_closep(&d->signals.fd);
	loop_fini(&d->loop);
}

int main(int argc, char **argv)
{
	struct fabricd d = { .loop = { .fd = -1 }, .signals = { .fd = -1 }, .dir = { .lock = -1 } };
	struct options o = { 0 };
	int r;

	log_init("ism-fabricd", LOG_LEVEL_INFO);
	r = parse(&o, argc, argv);
	if (r)
		return r < 0 ? 0 : r;
	if (o.command)
		return ctl_send(o.dir, o.command);
	r = start(&d, &o);
	if (!r) {
		printf("ism-fabricd: ready: %u functions, CHID 0x%04x, %s\n", d.n_ports,
			d.fabric->chid, d.dir.path);
		fflush(stdout);
		notify_systemd("READY=1");
		watchdog_init(&d);
		r = run(&d);
		notify_systemd("STOPPING=1");
	}
	end(&d);
	return r ? 1 : 0;
}
