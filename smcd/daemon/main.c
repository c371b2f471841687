/* SPDX-License-Identifier: MIT */
/* smcd-userd: signals, readiness, watchdog; everything else is daemon.c. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#if defined(HAVE_SYSTEMD)
#include <systemd/sd-daemon.h>
#endif

#include "smcd/daemon/daemon.h"
#include "smcd/daemon/function.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"
#include "vfio/watch.h"

struct host {
	struct daemon d;
	struct loop_source signals;
	struct loop_timer watchdog;
	uint64_t watchdog_ns; /* 0: not asked for */
};

static void notify(const char *state)
{
#if defined(HAVE_SYSTEMD)
	sd_notify(0, state);
#endif
}

/* From the helper thread, while ours hangs in the kernel; systemd's watchdog does the rest. */
static void on_hang(const char *name, unsigned int seconds)
{
	char status[128] = "STATUS=";

	if (seconds)
		snprintf(status, sizeof(status), "STATUS=%s: hangs in the kernel for %u s", name,
			seconds);
	notify(status);
}

static void on_signal(struct loop_source *src, short revents)
{
	struct host *h = CONTAINER(src, struct host, signals);
	struct signalfd_siginfo si;

	if (read(src->fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return;
	log_info("%s: ending", strsignal((int)si.ssi_signo));
	h->d.stopping = true;
}

static void on_watchdog(struct loop_timer *timer)
{
	struct host *h = CONTAINER(timer, struct host, watchdog);

	notify("WATCHDOG=1");
	loop_timer_set(h->d.loop, timer, clock_ns() + h->watchdog_ns);
}

static void start_watchdog(struct host *h)
{
#if defined(HAVE_SYSTEMD)
	uint64_t usec = 0;

	if (sd_watchdog_enabled(0, &usec) > 0)
		h->watchdog_ns = usec * 1000 / 2;
#endif
	h->watchdog.fn = on_watchdog;
	if (h->watchdog_ns)
		on_watchdog(&h->watchdog);
}

static int watch_signals(struct host *h)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	h->signals = (struct loop_source){ .events = POLLIN, .fn = on_signal };
	h->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (h->signals.fd < 0)
		return -errno;
	return loop_add(h->d.loop, &h->signals);
}

/* A channel costs three descriptors; the soft limit is a relic of select(2). */
static void raise_nofile(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return;
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
}

static int serve(struct host *h, const struct config *cfg)
{
	int ret;

	ret = watch_signals(h);
	if (ret < 0) {
		log_err("signals: %s", strerror(-ret));
		return ret;
	}
	printf("smcd-userd: ready: %s, %u function%s, %s\n", cfg->name, cfg->nr_functions,
		cfg->nr_functions == 1 ? "" : "s", cfg->socket);
	fflush(stdout);
	notify("READY=1");
	start_watchdog(h);
	ret = daemon_run(&h->d);
	notify("STOPPING=1");
	return ret;
}

static int run(const struct config *cfg)
{
	struct host h = { .signals.fd = -1 };
	int ret;

	raise_nofile();
	watch_listen(on_hang);
	ret = daemon_init(&h.d, cfg);
	if (ret < 0)
		return ret;
	ret = serve(&h, cfg);
	loop_timer_cancel(h.d.loop, &h.watchdog);
	loop_del(h.d.loop, &h.signals);
	fd_closep(&h.signals.fd);
	daemon_deinit(&h.d);
	return ret;
}

/* So that systemd does not try again what cannot become better by itself. */
#define EXIT_USAGE 2

int main(int argc, char **argv)
{
	struct config cfg;
	int ret, status;

	log_init("smcd-userd", LOG_LEVEL_INFO);
	if (config_init(&cfg) < 0)
		return EXIT_FAILURE;
	ret = config_from_args(&cfg, argc, argv);
	status = ret == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
	if (ret == 0) {
		log_init("smcd-userd", cfg.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
		ret = run(&cfg);
	}
	config_deinit(&cfg);
	return ret < 0 ? status : EXIT_SUCCESS;
}
