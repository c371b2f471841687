/* SPDX-License-Identifier: MIT */
/*
 * What is made ahead of the channels that will want it: how much, when, and that it goes again.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "smcd/daemon/daemon.h"
#include "smcd/ipc/chan.h"
#include "vfio/base/fd.h"

static struct daemon d;

static int setup(void **state)
{
	d = (struct daemon){ .lock_fd = -1 };
	if (loop_new(LOOP_EPOLL, &d.loop) < 0)
		return -1;
	kits_init(&d);
	return 0;
}

static int teardown(void **state)
{
	kits_fini(&d);
	d.loop = loop_free(d.loop);
	return 0;
}

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void take(enum kit_kind kind, uint64_t now_ns)
{
	struct kit k;

	d.now_ns = now_ns;
	assert_int_equal(kit_get(&d, kind, &k), 0);
	if (kind != KIT_CTL)
		assert_int_equal(send(k.sock[0], "x", 1, MSG_DONTWAIT), 1);
	if (kind == KIT_CTL)
		assert_int_equal(fd_check_sealed(k.fd, 4096), 0);
	if (k.map) {
		assert_int_equal(*(char *)k.map, 0);
		munmap(k.map, CHAN_CTL_SIZE);
	}
	fd_closep(&k.fd);
	fd_closep(&k.sock[0]);
	fd_closep(&k.sock[1]);
}

static unsigned int fill(void)
{
	unsigned int n = 0;

	while (kits_fill(&d))
		n++;
	return n;
}

/* One channel now and then costs what it needs; those that come soon find everything there. */
static void ahead(void **state)
{
	uint64_t now = clock_ns();
	int before = count_fds();

	for (int kind = 0; kind < KIT_KINDS; kind++) {
		take((enum kit_kind)kind, now);
		take((enum kit_kind)kind, now + 2 * KIT_SOON_NS);
		assert_int_equal(fill(), 0);
		assert_int_equal(count_fds(), before);
	}
	take(KIT_SOCK, now + 2 * KIT_SOON_NS + 1);
	assert_int_equal(fill(), KIT_MAX);
	assert_int_equal(count_fds(), before + 2 * (int)KIT_MAX);
	take(KIT_SOCK, now + 2 * KIT_SOON_NS + 2);
	assert_int_equal(d.kits.shelf[KIT_SOCK].n, KIT_MAX - 1);
	assert_int_equal(fill(), 1);
	kits_fini(&d);
	assert_int_equal(count_fds(), before);
}

/* Nobody came any more; of one kind (@late) one was still wanted after a while. */
static void give_back(int late)
{
	uint64_t now = clock_ns(), until;
	int before = count_fds();

	for (int kind = 0; kind < KIT_KINDS; kind++) {
		take((enum kit_kind)kind, now);
		take((enum kit_kind)kind, now + 1);
	}
	assert_int_equal(fill(), KIT_KINDS * KIT_MAX);
	if (late < KIT_KINDS) {
		take((enum kit_kind)late, now + 2 * KIT_SOON_NS);
		assert_int_equal(fill(), 0);
	}
	until = clock_ns() + 100 * KIT_IDLE_NS;
	while (d.kits.idle.pos && clock_ns() < until)
		assert_true(loop_turn(d.loop, KIT_IDLE_NS) >= 0);
	assert_int_equal(count_fds(), before);
	assert_int_equal(fill(), 0);
}

static void given_back(void **state)
{
	for (int late = 0; late <= KIT_KINDS; late++)
		give_back(late);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ahead, setup, teardown),
		cmocka_unit_test_setup_teardown(given_back, setup, teardown),
	};

	return cmocka_run_group_tests_name("kits", tests, NULL, NULL);
}
