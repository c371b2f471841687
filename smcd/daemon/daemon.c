/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/daemon.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#if defined(HAVE_SYSTEMD)
#include <systemd/sd-daemon.h>
#endif

#include "smcd/daemon/capture.h"
#include "smcd/daemon/channel.h"
#include "smcd/daemon/client.h"
#include "smcd/daemon/function.h"
#include "smcd/daemon/link.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define SPIN_DEFAULT_US	 50u
#define FDS_EVERY	 8u /* turns between two looks at the descriptors while busy */
#define QUARANTINE_LOOK_NS UINT64_C(15000000)
#define ACCEPT_PAUSE_NS	 UINT64_C(100000000)

/* ---- the socket ------------------------------------------------------------------------------ */

/* The socket systemd gave us, or -1. */
static int inherited_socket(void)
{
#if defined(HAVE_SYSTEMD)
	int n = sd_listen_fds(1), fd;

	for (fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
		if (sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0) > 0)
			return fd;
	}
	if (n > 0)
		log_err("the socket passed in is no listening SEQPACKET socket: check "
			"smcd-userd.socket (ListenSequentialPacket=)");
#endif
	return -1;
}

/* Makes the socket's directory when only the last component is missing. */
static void make_directory(const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return;
	*slash = '\0';
	mkdir(dir, 0755);
}

/* One daemon per socket path: the lock, unlike the socket, goes away with its holder. */
static int take_lock(struct daemon *d)
{
	char *path;
	int fd, err;

	if (asprintf(&path, "%s.lock", d->cfg->socket) < 0)
		return -ENOMEM;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	err = errno;
	if (fd < 0) {
		log_err("%s: %s: give --socket a path in a directory that can be written", path,
			strerror(err));
		free(path);
		return -err;
	}
	free(path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		fd_closep(&fd);
		log_err("%s: another smcd-userd serves this socket: stop it, or use --socket",
			d->cfg->socket);
		return -EADDRINUSE;
	}
	d->lock_fd = fd;
	return 0;
}

static int set_owner(const struct config *cfg)
{
	struct group *gr;

	if (chmod(cfg->socket, cfg->socket_mode) < 0)
		return -errno;
	if (!cfg->group)
		return 0;
	gr = getgrnam(cfg->group);
	if (!gr) {
		log_err("group '%s' does not exist: create it, or remove group= from [daemon]",
			cfg->group);
		return -EINVAL;
	}
	return chown(cfg->socket, (uid_t)-1, gr->gr_gid) < 0 ? -errno : 0;
}

static int bind_socket(const struct config *cfg)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(cfg->socket) >= sizeof(sa.sun_path)) {
		log_err("%s: the path is too long for a socket (at most %zu characters)",
			cfg->socket, sizeof(sa.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	strcpy(sa.sun_path, cfg->socket);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(cfg->socket); /* a dead daemon's: we hold the lock */
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		err = -errno;
		fd_closep(&fd);
		log_err("%s: cannot bind: %s", cfg->socket, strerror(-err));
		return err;
	}
	err = set_owner(cfg);
	if (err == 0 && listen(fd, SOMAXCONN) < 0)
		err = -errno;
	if (err < 0) {
		log_err("%s: %s", cfg->socket, strerror(-err));
		fd_closep(&fd);
		unlink(cfg->socket);
		return err;
	}
	return fd;
}

static int open_socket(struct daemon *d)
{
	int fd = inherited_socket(), ret;

	if (fd < 0) {
		make_directory(d->cfg->socket);
		ret = take_lock(d);
		if (ret < 0)
			return ret;
		fd = bind_socket(d->cfg);
		if (fd < 0)
			return fd;
		d->own_socket = true;
	} else {
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	}
	d->accept = (struct loop_source){ .fd = fd, .events = POLLIN, .fn = client_on_accept };
	return loop_add(d->loop, &d->accept);
}

static void close_socket(struct daemon *d)
{
	loop_timer_cancel(d->loop, &d->accept_again);
	loop_del(d->loop, &d->accept);
	if (d->own_socket)
		unlink(d->cfg->socket);
	fd_closep(&d->accept.fd);
	/* The lock's file stays: unlinking it would let two daemons lock two files of that name. */
	fd_closep(&d->lock_fd);
}

static void on_accept_again(struct loop_timer *timer)
{
	struct daemon *d = CONTAINER(timer, struct daemon, accept_again);

	if (loop_add(d->loop, &d->accept) < 0)
		loop_timer_set(d->loop, timer, clock_ns() + ACCEPT_PAUSE_NS);
}

void daemon_pause_accept(struct daemon *d)
{
	log_warn("out of file descriptors (RLIMIT_NOFILE): applications have to wait");
	loop_del(d->loop, &d->accept);
	loop_timer_set(d->loop, &d->accept_again, clock_ns() + ACCEPT_PAUSE_NS);
}

/* ---- the turn -------------------------------------------------------------------------------- */

static unsigned int poll_functions(struct daemon *d)
{
	struct function *fn;
	unsigned int n = 0;

	LL_FOREACH(d->functions, fn) {
		n += function_poll(fn);
		function_tend(fn);
		if (!d->handshakes)
			stock_fill(fn, false);
	}
	return n;
}

static bool arm_functions(struct daemon *d)
{
	struct function *fn;
	bool pending = false;

	LL_FOREACH(d->functions, fn)
		pending |= function_arm(fn);
	return pending;
}

static void disarm_functions(struct daemon *d)
{
	struct function *fn;

	LL_FOREACH(d->functions, fn)
		function_disarm(fn);
}

bool daemon_work(struct daemon *d)
{
	bool any = poll_functions(d) > 0;

	any |= channels_serve(d);
	channels_reap(d);
	any |= clients_hear(d);
	return any;
}

/*
 * A piece of what will be wanted soon, or is over: nobody waits for long meanwhile, and nobody at all as far as
 * we know.
 */
static void prepare(struct daemon *d)
{
	struct function *fn;

	LL_FOREACH(d->functions, fn) {
		if (stock_fill(fn, true) || function_tidy(fn))
			return;
	}
	kits_fill(d);
}

/* DMBs in quarantine are released by polling, which a sleeper would put off for ever. */
static uint64_t longest_sleep(const struct daemon *d)
{
	const struct function *fn;

	LL_FOREACH(d->functions, fn) {
		if (fn->dev && ism_counters(fn->dev)->quarantined)
			return QUARANTINE_LOOK_NS;
	}
	return LOOP_FOREVER;
}

/* Nothing is hot and the window is over. */
static int sleep_until_event(struct daemon *d)
{
	uint64_t from;
	int ret;

	/* When there is time for it, and the last DMB has gone. */
	if (longest_sleep(d) == LOOP_FOREVER) {
		loop_trim(d->loop);
		trim_shrunk(&d->trim, HASH_COUNT(d->channels));
	}
	from = clock_ns();
	if (arm_functions(d))
		return 0; /* something came in between: look at it first */
	d->stats.sleeps++;
	ret = loop_turn(d->loop, longest_sleep(d));
	disarm_functions(d);
	d->now_ns = clock_ns();
	spin_learn(&d->spin, d->now_ns - from);
	d->busy_ns = d->now_ns;
	return ret;
}

int daemon_run(struct daemon *d)
{
	unsigned int turn = 0;
	bool given = false; /* the processor, since there was work */
	int ret = 0;

	d->busy_ns = d->now_ns = clock_ns();
	while (!d->stopping && ret >= 0) {
		d->now_ns = clock_ns();
		if (daemon_work(d)) {
			d->busy_ns = d->now_ns;
			given = false;
		} else if (!d->hot && d->now_ns - d->busy_ns >= spin_now(&d->spin, d->now_ns)) {
			ret = sleep_until_event(d);
			continue;
		} else {
			if (given && !d->handshakes)
				prepare(d);
			/*
			 * Whoever is to give us work, or was woken by what we did, may need this processor, and
			 * say so by a message.
			 */
			sched_yield();
			given = true;
			turn = 0;
		}
		if (turn++ % FDS_EVERY == 0)
			ret = loop_turn(d->loop, 0);
		if (ret > 0) {
			d->busy_ns = d->now_ns;
			given = false;
		}
	}
	if (ret < 0)
		log_err("event loop: %s", strerror(-ret));
	return ret < 0 ? ret : 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static uint64_t spin_limit(const struct config *cfg)
{
	uint32_t us = cfg->spin_us;

	if (us == CONFIG_SPIN_DEFAULT)
		us = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? SPIN_DEFAULT_US : 0;
	return (uint64_t)us * 1000;
}

int daemon_init(struct daemon *d, const struct config *cfg)
{
	unsigned int i;
	int ret;

	*d = (struct daemon){ .cfg = cfg, .lock_fd = -1, .started_ns = clock_ns() };
	d->accept.fd = -1;
	d->accept_again.fn = on_accept_again;
	d->spin.max_ns = spin_limit(cfg);
	memcpy(d->accounts.limit, cfg->limit, sizeof(d->accounts.limit));
	ret = loop_new(cfg->loop, &d->loop);
	if (ret < 0) {
		log_err("event loop: %s", strerror(-ret));
		return ret;
	}
	clients_init(d);
	kits_init(d);
	ret = open_socket(d);
	for (i = 0; i < cfg->nr_functions && ret == 0; i++) {
		if (!function_new(d, &cfg->functions[i]))
			ret = -ENOMEM;
	}
	if (ret < 0)
		daemon_deinit(d);
	return ret;
}

static void end_channels(struct daemon *d)
{
	struct channel *ch, *tmp;

	HASH_ITER(hh, d->channels, ch, tmp) {
		channel_abort(ch, ECONNRESET);
		channel_detach(ch, ECONNRESET);
		channel_drop_app(ch);
	}
	channels_reap(d);
}

void daemon_deinit(struct daemon *d)
{
	if (!d->loop)
		return;
	close_socket(d);
	clients_drop_all(d);
	listeners_drop_all(d);
	end_channels(d);
	captures_drop_all(d);
	while (d->functions)
		function_free(d->functions);
	kits_fini(d);
	assert(accounts_empty(&d->accounts));
	d->loop = loop_free(d->loop);
}
