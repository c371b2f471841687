/* SPDX-License-Identifier: MIT */
#include "tests/integration/guest_x.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "smcd/ipc/chan.h"
#include "vfio/base/fd.h"
#include "vfio/user/proto.h"

/*
 * Hostile applications on the daemon's socket, hostile clients on the fabric's, a hostile guest on
 * the fabric: each gets an error or is dropped, and a channel between the others stays right.
 */
static struct guests g;

static int setup(void **state)
{
	guests_start(&g, NULL);
	return 0;
}

static int teardown(void **state)
{
	guests_stop(&g);
	return 0;
}

static int dial(const char *path, int type)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strncpy(sa.sun_path, path, sizeof(sa.sun_path) - 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* The other side must answer with an error message or hang up; both end in end of file. */
static void expect_dropped(int fd)
{
	char buf[4096];
	ssize_t n;

	do {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };

		if (poll(&pfd, 1, HANG_MS) != 1)
			fail_msg("neither answered nor dropped");
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	} while (n > 0);
	assert_true(n == 0 || errno == ECONNRESET);
	close(fd);
}

static struct ipc_connect good_connect(void)
{
	struct ipc_connect m = { .hdr = ipc_hdr(IPC_CONNECT) };

	strcpy(m.peer, "guest-b");
	strcpy(m.service, "nobody");
	return m;
}

static void send_first(const void *msg, size_t len, const int *fds, unsigned int nfds)
{
	int fd = dial(g.socket[GUEST_A], SOCK_SEQPACKET);

	assert_int_equal(fd_send(fd, msg, len, fds, nfds, 0), (ssize_t)len);
	expect_dropped(fd);
}

static void test_application_messages(void **state)
{
	struct ipc_connect c = good_connect();
	struct ipc_listen l = { .hdr = ipc_hdr(IPC_LISTEN), .service = "x" };
	struct ipc_query q = { .hdr = ipc_hdr(IPC_QUERY), .what = 99 };
	int many[FD_MSG_MAX];
	uint8_t junk[2048];
	unsigned int fds;

	sleep_ms(100); /* what came before has been closed by then, if there is time for it */
	fds = proc_fds(g.daemon[GUEST_A]);

	for (size_t n = 1; n <= sizeof(c) + 1; n += n < 16 ? 1 : 17) { /* every wrong length */
		memset(junk, 0, sizeof(junk));
		memcpy(junk, &c, sizeof(c));
		if (n != sizeof(c))
			send_first(junk, n, NULL, 0);
	}
	memset(junk, 0xff, sizeof(junk));
	send_first(junk, sizeof(junk), NULL, 0);
	c.hdr.magic ^= 1;
	send_first(&c, sizeof(c), NULL, 0);
	c = good_connect();
	c.hdr.version++;
	send_first(&c, sizeof(c), NULL, 0);
	for (unsigned int type = 0; type < 40; type++) { /* types that do not come first */
		c.hdr.type = (uint16_t)type;
		if (type != IPC_CONNECT)
			send_first(&c, sizeof(c), NULL, 0);
	}
	c = good_connect();
	memset(c.peer, 'p', sizeof(c.peer)); /* no NUL */
	send_first(&c, sizeof(c), NULL, 0);
	c = good_connect();
	memset(c.service, 's', sizeof(c.service));
	send_first(&c, sizeof(c), NULL, 0);
	c = good_connect();
	c.rcvbuf = UINT32_MAX;
	send_first(&c, sizeof(c), NULL, 0);
	c = good_connect();
	strcpy(c.service, "../\n\033[2J");
	send_first(&c, sizeof(c), NULL, 0);
	l.backlog = UINT32_MAX;
	l.hdr.version = 77;
	send_first(&l, sizeof(l), NULL, 0);
	send_first(&q, sizeof(q), NULL, 0);
	/* descriptors that nobody asked for */
	for (int i = 0; i < FD_MSG_MAX; i++)
		many[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	c = good_connect();
	send_first(&c, sizeof(c), many, 1);
	send_first(&c, sizeof(c), many, FD_MSG_MAX);
	for (int i = 0; i < FD_MSG_MAX; i++)
		close(many[i]);
	/* a client that says nothing and goes */
	close(dial(g.socket[GUEST_A], SOCK_SEQPACKET));
	guests_wait_stat(&g, GUEST_A, "clients", 0);
	guests_wait_fds(g.daemon[GUEST_A], fds);
	guests_expect_works(&g);
}

static void expect_error(const char *target, int error, const char *text)
{
	struct smcdu_channel *ch;
	int r = smcdu_connect(g.ctx[GUEST_A], target, &ch);

	if (r != error || !strstr(smcdu_last_error(), text))
		fail_msg("%s: %s: '%s' does not mention '%s'", target, strerror(-r), smcdu_last_error(),
			text);
}

static void test_errors_name_the_thing(void **state)
{
	struct smcdu_listener *l;
	struct smcdu_settings s;
	struct smcdu_channel *ch;
	struct smcdu_ctx *ctx;
	char path[256];

	expect_error("echo@nowhere", -EHOSTUNREACH, "nowhere");
	expect_error("echo@0x1234", -EHOSTUNREACH, "1234");
	expect_error("nothing@guest-b", -ECONNREFUSED, "nothing");
	assert_int_equal(smcdu_last_diag() >> 16, 0x0301);
	assert_int_equal(smcdu_connect(g.ctx[GUEST_A], "no-at-sign", &ch), -EINVAL);
	assert_int_equal(smcdu_connect(g.ctx[GUEST_A], "@guest-b", &ch), -EINVAL);
	assert_int_equal(smcdu_connect(g.ctx[GUEST_A], "sp ace@guest-b", &ch), -EINVAL);
	assert_int_equal(smcdu_listen(g.ctx[GUEST_A], "once", 1, &l), 0);
	{
		struct smcdu_listener *l2;

		assert_int_equal(smcdu_listen(g.ctx[GUEST_A], "once", 1, &l2), -EADDRINUSE);
		assert_non_null(strstr(smcdu_last_error(), "once"));
	}
	smcdu_listener_free(l);

	/* sockets that are not the daemon's */
	smcdu_default_settings(&s);
	s.socket_path = "/nonexistent/daemon.sock";
	assert_int_equal(smcdu_open(&s, &ctx), 0);
	assert_int_equal(smcdu_connect(ctx, "echo@guest-b", &ch), -ENOENT);
	assert_non_null(strstr(smcdu_last_error(), "/nonexistent/daemon.sock"));
	smcdu_close_ctx(ctx);
	snprintf(path, sizeof(path), "%s/fabric/ism2.sock", g.dir);
	s.socket_path = path;
	assert_int_equal(smcdu_open(&s, &ctx), 0);
	assert_int_not_equal(smcdu_connect(ctx, "echo@guest-b", &ch), 0);
	smcdu_close_ctx(ctx);
}

/* An application writes nonsense into the words it shares with its daemon. */
static void test_hostile_control_page(void **state)
{
	for (int kind = 0; kind < 5; kind++) {
		struct smcdu_listener *l;
		struct ipc_connect c = good_connect();
		struct smcdu_channel *server;
		struct ipc_channel ch;
		struct chan_ctl *ctl;
		struct ipc_simple bell = { .hdr = ipc_hdr(CHAN_BELL) };
		unsigned int n = 0;
		int fd, fds[2];
		char byte;

		strcpy(c.service, "page");
		assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "page", 1, &l), 0);
		fd = dial(g.socket[GUEST_A], SOCK_SEQPACKET);
		assert_int_equal(fd_send(fd, &c, sizeof(c), NULL, 0, 0), sizeof(c));
		assert_int_equal(fd_recv(fd, &ch, sizeof(ch), fds, 2, &n, 0), sizeof(ch));
		assert_int_equal(n, 2);
		assert_int_equal(ch.hdr.type, IPC_CHANNEL);
		assert_int_equal(smcdu_accept(l, 0, &server), 0);
		/* the DMB cannot be written, whatever the application tries */
		assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0), MAP_FAILED);
		assert_int_equal(pwrite(fds[0], "x", 1, 0), -1);
		assert_int_equal(ftruncate(fds[1], 0), -1);
		ctl = mmap(NULL, CHAN_CTL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
		assert_ptr_not_equal(ctl, MAP_FAILED);
		switch (kind) {
		case 0: /* more than the ring holds */
			atomic_store(&ctl->tx_pos, (uint64_t)ch.tx_size);
			break;
		case 1:
			atomic_store(&ctl->tx_pos, UINT64_MAX);
			break;
		case 2: /* consumed what never came */
			atomic_store(&ctl->rx_pos, 1);
			break;
		case 3:
			atomic_store(&ctl->rx_pos, UINT64_MAX);
			break;
		case 4: /* all of the application's and the daemon's words */
			memset(ctl, 0xff, CHAN_CTL_SIZE);
			break;
		}
		fd_send(fd, &bell, sizeof(bell), NULL, 0, 0);
		assert_int_equal(smcdu_recv(server, &byte, 1, 0), -ECONNRESET);
		/* the culprit is told as well, perhaps a little later */
		for (int ms = 0; ms < HANG_MS && !atomic_load(&ctl->error); ms++)
			sleep_ms(1);
		assert_int_not_equal(atomic_load(&ctl->error), 0);
		munmap(ctl, CHAN_CTL_SIZE);
		close(fds[0]);
		close(fds[1]);
		close(fd);
		smcdu_close(server);
		smcdu_listener_free(l);
	}
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
	guests_expect_works(&g);
}

static void test_fabric_sockets(void **state)
{
	struct vu_hdr h = { .command = VU_DMA_MAP, .size = sizeof(h) };
	char path[256];
	uint8_t junk[8192];

	snprintf(path, sizeof(path), "%s/fabric/ism2.sock", g.dir);
	memset(junk, 0xa5, sizeof(junk));
	for (size_t n = 16; n <= sizeof(junk); n *= 2) {
		int fd = dial(path, SOCK_STREAM);

		send(fd, junk, n, MSG_NOSIGNAL);
		expect_dropped(fd);
	}
	for (uint32_t size = 0; size < 16; size++) { /* shorter than a header */
		int fd = dial(path, SOCK_STREAM);

		h.size = size;
		send(fd, &h, sizeof(h), MSG_NOSIGNAL);
		expect_dropped(fd);
	}
	snprintf(path, sizeof(path), "%s/fabric/ism0.sock", g.dir); /* busy: guest A has it */
	expect_dropped(dial(path, SOCK_STREAM));
	snprintf(path, sizeof(path), "%s/fabric/control.sock", g.dir);
	{
		int fd = dial(path, SOCK_STREAM);

		for (int i = 0; i < 64; i++)
			if (send(fd, junk, sizeof(junk), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
				break;
		expect_dropped(fd);
	}
	guests_expect_works(&g);
}

/* ---- a guest that is hostile ---- */

/*
 * One attack on the control link that A opened for us: stream bytes and a CDC that announces them.
 */
static void x_attack(struct guest_x *x, const void *bytes, uint32_t len, struct cdc_msg msg)
{
	struct ism_dmb *dmb;

	assert_int_equal(ism_register_dmb(x->dev, GID_A, RDV_DMB_SIZE, NULL, &dmb), 0);
	x_offer(x, dmb->token);
	if (len)
		x_store(x, x->answer, CDC_SIZE, bytes, len);
	x_cdc(x, x->answer, msg);
	x_idle(x, 20);
	ism_unregister_dmb(x->dev, dmb);
}

static void attack_all(struct guest_x *x)
{
	const uint32_t n = RDV_DMB_SIZE - CDC_SIZE;
	uint8_t junk[4096], rec[RDV_MAX_LEN];
	struct rdv_record r = { .type = RDV_HELLO, .name = "guest-x", .version = RDV_VERSION };
	ssize_t len = rdv_encode(rec, &r);
	struct cdc_msg hostile[] = {
		{ .prod = { 0, n } },	       /* offset outside the ring */
		{ .prod = { 0, UINT32_MAX } },
		{ .prod = { 1, 0 } },	       /* whole turns */
		{ .prod = { 2, 0 } },
		{ .prod = { 65535, 0 } },
		{ .cons = { 1, 0 } },	       /* consumed what was never sent */
		{ .cons = { 0, n - 1 } },
		{ .prod = { 0, 100 }, .conn_flags = CDC_ABNORMAL },
		{ .conn_flags = 0xff, .prod_flags = 0xff },
	};

	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++)
		x_attack(x, NULL, 0, hostile[i]);
	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = pattern_byte(77, i);
	x_attack(x, junk, sizeof(junk), (struct cdc_msg){ .prod = { 0, sizeof(junk) } });
	assert_true(len > 0);
	/* a good HELLO with one byte wrong, then nonsense behind it */
	for (int i = 0; i < 24; i++) {
		uint8_t bad[RDV_MAX_LEN + 64];

		memcpy(bad, rec, (size_t)len);
		memset(bad + len, 0x5a, 64);
		bad[i] ^= 0x81;
		x_attack(x, bad, (uint32_t)len + 64, (struct cdc_msg){ .prod = { 0, (uint32_t)len + 64 } });
	}
}

static void test_hostile_guest(void **state)
{
	struct bystander s;
	struct guest_x x;
	struct ism_dmb *mine;

	x_open(&x, &g);
	bystander_start(&s, &g);

	attack_all(&x);
	/* memory of others: a guess is refused, and so is a token that is not ours to write */
	for (uint64_t t = 1; t < 2000; t++)
		x_store(&x, t << 32, 0, "boo", 3);
	/* offers with tokens that lead nowhere, and as many as the queue takes */
	assert_int_equal(ism_register_dmb(x.dev, GID_B, 16384, NULL, &mine), 0);
	for (uint64_t t = 1; t < 3000; t++) {
		ism_signal_event(x.dev, GID_A, t & 1 ? RDV_EV_OFFER : RDV_EV_ANSWER, t << 32);
		ism_signal_event(x.dev, GID_B, RDV_EV_OFFER, t & 7 ? mine->token : UINT64_MAX - t);
		ism_signal_event(x.dev, GID_B, (uint32_t)t, t);
		ism_poll(x.dev);
	}
	bystander_unharmed(&s);
	x_close(&x);
	guests_expect_works(&g);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors_name_the_thing),
		cmocka_unit_test(test_application_messages),
		cmocka_unit_test(test_hostile_control_page),
		cmocka_unit_test(test_fabric_sockets),
		cmocka_unit_test(test_hostile_guest),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
