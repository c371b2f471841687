/* SPDX-License-Identifier: MIT */
/*
 * smcd-userd with functions of a kernel (kernel_double.h): channels work, and whatever becomes of a
 * function, its channels end in order, those of others go on, and it is used again when it is back.
 * The daemon is its own peer: ism0 reaches ism1, and ism2 reaches ism3.
 */
#include "tests/integration/guests.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/integration/kernel_double.h"
#include "vfio/base/fd.h"

#define PIECE 60000u

static struct guests g; /* of which only the first daemon is used */
static struct kernel_state *kernel;
static char state_file[96];

static const char config[] =
	"[function ism0]\nvfio = 0001:00:00.0,cdev\npnetid = ONE\n"
	"[function ism1]\nvfio = 0002:00:00.0,group\npnetid = NONE\n"
	"[function ism2]\nvfio = 0003:00:00.0\npnetid = TWO\n"
	"[function ism3]\nvfio = 0004:00:00.0\npnetid = NONE\n"
	"[peer one]\ngid = 0x1d15000000000002\npnetid = ONE\n"
	"[peer two]\ngid = 0x1d15000000000004\npnetid = TWO\n";

static void put_file(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
}

static int setup(void **state)
{
	static const struct kernel_state none;
	struct smcdu_settings s;
	char conf[96];
	const char *const argv[] = { guests_program("SMCD_USERD_KERNEL"), "--name", "guest-a",
		"--socket", g.socket[0], "--config", conf, NULL };
	int fd;

	memset(&g, 0, sizeof(g));
	strcpy(g.dir, "/tmp/smcdu-test.XXXXXX");
	assert_non_null(mkdtemp(g.dir));
	snprintf(g.socket[0], sizeof(g.socket[0]), "%s/a.sock", g.dir);
	snprintf(conf, sizeof(conf), "%s/conf", g.dir);
	snprintf(state_file, sizeof(state_file), "%s/kernel", g.dir);
	put_file(conf, config, strlen(config));
	put_file(state_file, (const char *)&none, sizeof(none));
	fd = open(state_file, O_RDWR | O_CLOEXEC);
	kernel = mmap(NULL, sizeof(*kernel), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(kernel, MAP_FAILED);
	close(fd);
	setenv(KERNEL_STATE, state_file, 1);
	g.fabric = g.daemon[1] = -1;
	g.daemon[0] = guests_spawn("smcd-userd", argv);
	smcdu_default_settings(&s);
	s.socket_path = g.socket[0];
	assert_int_equal(smcdu_open(&s, &g.ctx[0]), 0);
	return 0;
}

static int teardown(void **state)
{
	int status;

	smcdu_close_ctx(g.ctx[0]);
	status = guests_kill(&g.daemon[0], SIGTERM);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	munmap(kernel, sizeof(*kernel));
	guests_remove_tree(g.dir);
	return 0;
}

static void command(enum kernel_command c, unsigned int nr)
{
	const union sigval value = { .sival_int = (int)(c * KERNEL_FUNCTIONS + nr) };

	assert_int_equal(sigqueue(g.daemon[0], KERNEL_SIGNAL, value), 0);
}

/* A pair of channel ends between the daemon and itself. */
struct pair {
	struct smcdu_channel *c, *s;
	uint64_t tx, rx;
};

static int try_connect(const char *peer, struct pair *p)
{
	struct smcdu_listener *l = NULL;
	char target[32];
	int r;

	memset(p, 0, sizeof(*p));
	snprintf(target, sizeof(target), "echo@%s", peer);
	assert_int_equal(smcdu_listen(g.ctx[0], "echo", 1, &l), 0);
	r = smcdu_connect(g.ctx[0], target, &p->c);
	if (r == 0)
		assert_int_equal(smcdu_accept(l, 0, &p->s), 0);
	smcdu_listener_free(l);
	return r;
}

static void connect_pair(const char *peer, struct pair *p)
{
	uint64_t until = clock_ns() + HANG_MS * UINT64_C(1000000);
	int r;

	do { /* a function that is down comes back within seconds */
		r = try_connect(peer, p);
		if (r < 0)
			sleep_ms(50);
	} while (r < 0 && clock_ns() < until);
	if (r < 0)
		fail_msg("connect to %s: %s: %s", peer, strerror(-r), smcdu_last_error());
}

/* One thread plays both ends, so there is never more under way than fits. */
static void transfer(struct pair *p, size_t len)
{
	while (len) {
		size_t n = len < PIECE ? len : PIECE;

		pattern_send(p->c, 7, &p->tx, n);
		pattern_recv(p->s, 7, &p->rx, n);
		len -= n;
	}
}

static void close_pair(struct pair *p)
{
	smcdu_close(p->c);
	smcdu_close(p->s);
}

static void works(const char *peer)
{
	struct pair p;

	connect_pair(peer, &p);
	transfer(&p, 300000);
	close_pair(&p);
}

/* Receiving ends with one of the errors. */
static void ends_with(struct smcdu_channel *ch, int error, int other)
{
	char buf[64];
	ssize_t n;

	do {
		n = smcdu_recv(ch, buf, sizeof(buf), 0);
	} while (n > 0);
	if (n != error && n != other)
		fail_msg("recv: %zd instead of %d", n, error);
}

static void wait_unbound(unsigned int nr)
{
	uint64_t until = clock_ns() + HANG_MS * UINT64_C(1000000);

	while (!__atomic_load_n(&kernel->unbound[nr], __ATOMIC_ACQUIRE)) {
		if (clock_ns() > until)
			fail_msg("the unbind of function %u hangs", nr);
		sleep_ms(5);
	}
}

static uint32_t openings(void)
{
	return __atomic_load_n(&kernel->by_cdev, __ATOMIC_ACQUIRE) +
	       __atomic_load_n(&kernel->by_group, __ATOMIC_ACQUIRE);
}

static void test_works(void **state)
{
	struct pair p;

	works("one");
	works("two");
	/* ism0 by the wish for it, ism2 and ism3 by what there is; ism1 by the wish for a group */
	assert_int_equal(kernel->by_cdev, 3);
	assert_int_equal(kernel->by_group, 1);
	connect_pair("one", &p);
	for (int i = 0; i < 20; i++)
		transfer(&p, 100003);
	close_pair(&p);
}

/* Four functions take a map each; both ends of two control links none; an end of a channel its DMB. */
static void test_maps(void **state)
{
	struct pair one, two;

	assert_int_equal(try_connect("one", &one), 0);
	assert_int_equal(try_connect("two", &two), 0);
	assert_int_equal(__atomic_load_n(&kernel->maps, __ATOMIC_ACQUIRE), 4 + 2 * 2);
	transfer(&one, 100003);
	transfer(&two, 100003);
	close_pair(&one);
	close_pair(&two);
}

/*
 * Whatever befalls ism0: its channel ends, that of ism2 goes on, ism0 is opened again and works.
 * Its own end hears that the function is gone, the other that the peer is, which may also be what
 * the former hears first where nothing tells the daemon.
 */
static void befalls(enum kernel_command c, enum kernel_command back)
{
	bool told = c == KERNEL_UNBIND || c == KERNEL_REPORT_ERROR;
	uint32_t opened = openings();
	struct pair one, two;

	connect_pair("one", &one);
	connect_pair("two", &two);
	transfer(&one, 50000);
	transfer(&two, 50000);
	command(c, 0);
	if (!told) /* found out with the next call */
		while (smcdu_send(one.c, "x", 1, SMCDU_DONTWAIT) > 0)
			transfer(&two, 10);
	ends_with(one.c, -ENODEV, told ? -ENODEV : -ECONNRESET);
	ends_with(one.s, -ECONNRESET, -ECONNRESET);
	transfer(&two, 200000);
	close_pair(&one);
	if (c == KERNEL_UNBIND)
		wait_unbound(0);
	if (back)
		command(back, 0);
	works("one");
	transfer(&two, 200000);
	close_pair(&two);
	assert_int_equal(openings() - opened, 1);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
}

static void test_unbind(void **state)
{
	befalls(KERNEL_UNBIND, KERNEL_BIND);
}

static void test_error(void **state)
{
	befalls(KERNEL_REPORT_ERROR, 0);
}

static void test_removal(void **state)
{
	befalls(KERNEL_REMOVE, KERNEL_RETURN);
}

static void test_recovery(void **state)
{
	befalls(KERNEL_RECOVER, 0);
}

/* Nobody has a channel: the function is let go all the same, and while it is away all is said. */
static void test_unbind_idle(void **state)
{
	struct pair p;
	int r;

	command(KERNEL_UNBIND, 2);
	wait_unbound(2);
	r = try_connect("two", &p);
	assert_true(r < 0);
	works("one");
	command(KERNEL_BIND, 2);
	works("two");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_works),
		T(test_maps),
		T(test_unbind),
		T(test_error),
		T(test_removal),
		T(test_recovery),
		T(test_unbind_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
