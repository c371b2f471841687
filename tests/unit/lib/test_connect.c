/* SPDX-License-Identifier: MIT */
/* Requests and answers: a scripted daemon on a real socket says the right or the wrong thing. */
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio/base/fd.h"

#define SIZE 16384u

enum script {
	ANSWER,	   /* send ans, ans_len, fds */
	HANG_UP,   /* close at once */
	SAY_NOTHING,
};

struct rig {
	char dir[64];
	char path[96];
	int listener;
	struct smcdu_ctx *ctx;
	struct fake f;
	int open_fds;
	pthread_t thread;
	/* The script and what was heard. */
	enum script script;
	union {
		struct ipc_channel channel;
		struct ipc_error error;
		struct ipc_listening listening;
		struct ipc_simple simple;
		uint8_t bytes[512];
	} ans;
	size_t ans_len;
	int fds[8];
	unsigned int nfds;
	uint8_t heard[512];
	ssize_t heard_len;
	int sock; /* stays open until the rig ends */
};

static void *daemon_main(void *arg)
{
	struct rig *r = arg;

	r->sock = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
	if (r->script == HANG_UP) {
		fd_closep(&r->sock);
		return NULL;
	}
	r->heard_len = recv(r->sock, r->heard, sizeof(r->heard), 0);
	if (r->script == ANSWER)
		fd_send(r->sock, &r->ans, r->ans_len, r->fds, r->nfds, 0);
	return NULL;
}

static void start(struct rig *r, enum script script)
{
	fd_closep(&r->sock);
	r->script = script;
	assert_int_equal(pthread_create(&r->thread, NULL, daemon_main, r), 0);
}

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct smcdu_settings s;

	r->open_fds = count_fds();
	r->sock = -1;
	snprintf(r->dir, sizeof(r->dir), "/tmp/smcdu-lib-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	snprintf(r->path, sizeof(r->path), "%s/sock", r->dir);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", r->path);
	r->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(r->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(r->listener, 5), 0);
	smcdu_default_settings(&s);
	s.socket_path = r->path;
	s.rcvbuf = 20000;
	assert_int_equal(smcdu_open(&s, &r->ctx), 0);
	fake_make(&r->f, SIZE, SIZE, CDC_BIG);
	r->ans.channel = fake_describe(&r->f);
	r->ans_len = sizeof(r->ans.channel);
	r->fds[0] = r->f.dmb_fd;
	r->fds[1] = r->f.ctl_fd;
	r->nfds = 2;
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	fd_closep(&r->sock);
	fd_closep(&r->listener);
	smcdu_close_ctx(r->ctx);
	fake_end(&r->f);
	unlink(r->path);
	rmdir(r->dir);
	assert_int_equal(count_fds(), r->open_fds);
	free(r);
	return 0;
}

static void test_connect(void **state)
{
	struct rig *r = *state;
	struct smcdu_channel *ch;
	struct ipc_connect req;
	struct smcdu_channel_info info;
	uint8_t b[4];

	start(r, ANSWER);
	assert_int_equal(smcdu_connect(r->ctx, "echo.1@guest-b", &ch), 0);
	pthread_join(r->thread, NULL);
	assert_int_equal(r->heard_len, sizeof(req));
	memcpy(&req, r->heard, sizeof(req));
	assert_int_equal(req.hdr.type, IPC_CONNECT);
	assert_string_equal(req.service, "echo.1");
	assert_string_equal(req.peer, "guest-b");
	assert_int_equal(req.rcvbuf, 32768);
	assert_true(req.timeout_ms > 0 && req.timeout_ms <= 5000);
	assert_int_equal(req.path, 0);
	smcdu_channel_info(ch, &info);
	assert_int_equal(info.id, 7);
	assert_int_equal(info.port, 4711);
	fake_write(&r->f, 4);
	assert_int_equal(smcdu_recv(ch, b, 4, 0), 4);
	pattern_check(b, 0, 4);
	assert_true(fcntl(smcdu_channel_fd(ch), F_GETFD) & FD_CLOEXEC);
	smcdu_close(ch);
}

/* Answers no library may accept: -EPROTO, nothing leaked, output untouched. */
static void refuse(struct rig *r)
{
	struct smcdu_channel *ch = (void *)r;

	start(r, ANSWER);
	assert_int_equal(smcdu_connect(r->ctx, "echo@b", &ch), -EPROTO);
	assert_true(*smcdu_last_error());
	assert_ptr_equal(ch, r);
	pthread_join(r->thread, NULL);
}

static void test_wrong_lengths_and_types(void **state)
{
	struct rig *r = *state;

	r->ans_len--;
	refuse(r);
	r->ans_len += 2;
	refuse(r);
	r->ans_len = 1;
	refuse(r);
	r->ans_len = sizeof(r->ans);
	refuse(r);
	r->ans_len = sizeof(r->ans.channel);
	r->ans.channel.hdr.type = IPC_LISTENING;
	refuse(r);
	r->ans.channel.hdr = ipc_hdr(IPC_CHANNEL);
	r->ans.channel.hdr.magic++;
	refuse(r);
	r->ans.channel.hdr = ipc_hdr(IPC_CHANNEL);
	r->ans.channel.hdr.version++;
	refuse(r);
}

static void test_wrong_descriptors(void **state)
{
	struct rig *r = *state;

	for (r->nfds = 0; r->nfds < 5; r->nfds++) {
		if (r->nfds != 2)
			refuse(r);
		r->fds[r->nfds + 1] = r->f.ctl_fd;
	}
	r->fds[1] = r->f.sock; /* not memory */
	r->nfds = 2;
	refuse(r);
}

static void test_bad_memory(void **state)
{
	struct rig *r = *state;
	int small FD_CLEANUP = fd_memfd("small", CHAN_CTL_SIZE + SIZE / 2);
	int unsealed FD_CLEANUP = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(ftruncate(unsealed, CHAN_CTL_SIZE + SIZE), 0);
	r->fds[0] = unsealed;
	refuse(r);
	r->fds[0] = r->f.dmb_fd;
	r->fds[1] = unsealed;
	refuse(r);
	r->fds[1] = small;
	refuse(r);
}

static void test_bad_description(void **state)
{
	struct rig *r = *state;
	const uint32_t sizes[] = { 0, 31, 32, 8192, 16383, 16385, 2u << 20, 0x80000000u };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		r->ans.channel = fake_describe(&r->f);
		r->ans.channel.rx_size = sizes[i];
		refuse(r);
		r->ans.channel = fake_describe(&r->f);
		r->ans.channel.tx_size = sizes[i];
		refuse(r);
	}
	r->ans.channel = fake_describe(&r->f);
	r->ans.channel.rx_size *= 2; /* more than the file has */
	refuse(r);
	r->ans.channel = fake_describe(&r->f);
	r->ans.channel.order = 2;
	refuse(r);
	r->ans.channel = fake_describe(&r->f);
	r->ans.channel.path = 9;
	refuse(r);
	r->ans.channel = fake_describe(&r->f);
	memset(r->ans.channel.peer, 'x', sizeof(r->ans.channel.peer));
	refuse(r);
}

static void test_refusal_is_passed_on(void **state)
{
	struct rig *r = *state;
	struct smcdu_channel *ch;

	r->ans.error = (struct ipc_error){ .hdr = ipc_hdr(IPC_ERROR), .error = EHOSTUNREACH,
		.diag = 0x03030007, .text = "unknown peer \033[31m'b'" };
	r->ans_len = sizeof(r->ans.error);
	r->nfds = 0;
	start(r, ANSWER);
	assert_int_equal(smcdu_connect(r->ctx, "echo@b", &ch), -EHOSTUNREACH);
	pthread_join(r->thread, NULL);
	assert_string_equal(smcdu_last_error(), "unknown peer ?[31m'b'");
	assert_int_equal(smcdu_last_diag(), 0x03030007);
	r->ans.error.error = 0;
	memset(r->ans.error.text, 'x', sizeof(r->ans.error.text));
	refuse(r);
	assert_int_equal(smcdu_last_diag(), 0);
}

static void test_no_daemon(void **state)
{
	struct rig *r = *state;
	struct smcdu_channel *ch;
	struct smcdu_settings s;
	struct smcdu_ctx *ctx;

	start(r, HANG_UP);
	assert_int_equal(smcdu_connect(r->ctx, "echo@b", &ch), -ECONNREFUSED);
	pthread_join(r->thread, NULL);
	fd_closep(&r->listener);
	assert_int_equal(smcdu_connect(r->ctx, "echo@b", &ch), -ECONNREFUSED);
	assert_non_null(strstr(smcdu_last_error(), r->path));
	unlink(r->path);
	assert_int_equal(smcdu_connect(r->ctx, "echo@b", &ch), -ENOENT);
	smcdu_default_settings(&s);
	s.socket_path = "";
	assert_int_equal(smcdu_open(&s, &ctx), -ENAMETOOLONG);
}

static void test_silent_daemon(void **state)
{
	struct rig *r = *state;
	struct smcdu_settings s;
	struct smcdu_channel *ch;
	struct smcdu_ctx *ctx;

	smcdu_default_settings(&s);
	s.socket_path = r->path;
	s.connect_timeout_ms = 30;
	assert_int_equal(smcdu_open(&s, &ctx), 0);
	start(r, SAY_NOTHING);
	assert_int_equal(smcdu_connect(ctx, "echo@b", &ch), -ETIMEDOUT);
	pthread_join(r->thread, NULL);
	smcdu_close_ctx(ctx);
}

static void test_names(void **state)
{
	struct rig *r = *state;
	const char *bad[] = { "", "@", "echo", "echo@", "@b", "a b@c", "a@b@c", "a/b@c", "a@b\n",
		"a@0x", "a@0xg", "a@0x11112222333344445", NULL };
	struct smcdu_listener *l;
	struct smcdu_channel *ch;
	char name[96];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(smcdu_connect(r->ctx, bad[i], &ch), -EINVAL);
	memset(name, 'a', 64);
	strcpy(name + 64, "@b");
	assert_int_equal(smcdu_connect(r->ctx, name, &ch), -EINVAL);
	name[64] = '\0';
	assert_int_equal(smcdu_listen(r->ctx, name, 0, &l), -EINVAL);
	assert_int_equal(smcdu_listen(r->ctx, "a@b", 0, &l), -EINVAL);
	assert_int_equal(smcdu_listen(r->ctx, NULL, 0, &l), -EINVAL);
	assert_int_equal(smcdu_listen(r->ctx, "a", 1025, &l), -EINVAL);
	/* The longest ones pass: the daemon is asked. */
	memmove(name, name + 1, 64);
	strcpy(name + 63, "@0x0123456789abcdef");
	r->ans_len = 1;
	start(r, ANSWER);
	assert_int_equal(smcdu_connect(r->ctx, name, &ch), -EPROTO);
	pthread_join(r->thread, NULL);
}

static void test_settings(void **state)
{
	struct smcdu_settings s;
	struct smcdu_ctx *ctx;
	char path[200];

	smcdu_default_settings(&s);
	s.reserved[sizeof(s.reserved) - 1] = 1;
	assert_int_equal(smcdu_open(&s, &ctx), -EINVAL);
	smcdu_default_settings(&s);
	s.rcvbuf = 16383;
	assert_int_equal(smcdu_open(&s, &ctx), -EINVAL);
	s.rcvbuf = 1048577;
	assert_int_equal(smcdu_open(&s, &ctx), -EINVAL);
	smcdu_default_settings(&s);
	s.connect_timeout_ms = 0;
	assert_int_equal(smcdu_open(&s, &ctx), -EINVAL);
	smcdu_default_settings(&s);
	memset(path, 'p', sizeof(path));
	path[108] = '\0';
	s.socket_path = path;
	assert_int_equal(smcdu_open(&s, &ctx), -ENAMETOOLONG);
	path[107] = '\0';
	assert_int_equal(smcdu_open(&s, &ctx), 0);
	smcdu_close_ctx(ctx);
	smcdu_close_ctx(NULL);
}

static struct smcdu_listener *make_listener(struct rig *r)
{
	struct smcdu_listener *l;

	r->ans.listening = (struct ipc_listening){ .hdr = ipc_hdr(IPC_LISTENING), .port = 4711 };
	r->ans_len = sizeof(r->ans.listening);
	r->nfds = 0;
	start(r, ANSWER);
	assert_int_equal(smcdu_listen(r->ctx, "echo", 3, &l), 0);
	pthread_join(r->thread, NULL);
	return l;
}

static void test_listen_and_accept(void **state)
{
	struct rig *r = *state;
	struct smcdu_listener *l = make_listener(r);
	struct ipc_channel msg = fake_describe(&r->f);
	int fds[3] = { r->f.app_sock, r->f.dmb_fd, r->f.ctl_fd };
	struct pollfd p = { .fd = smcdu_listener_fd(l), .events = POLLIN };
	struct smcdu_channel *ch = NULL;
	struct ipc_listen req;

	memcpy(&req, r->heard, sizeof(req));
	assert_int_equal(r->heard_len, sizeof(req));
	assert_string_equal(req.service, "echo");
	assert_int_equal(req.backlog, 3);
	assert_int_equal(smcdu_listener_port(l), 4711);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(smcdu_accept(l, SMCDU_DONTWAIT, &ch), -EAGAIN);
	assert_int_equal(fd_send(r->sock, &msg, sizeof(msg), fds, 3, 0), sizeof(msg));
	fd_closep(&r->f.app_sock);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(smcdu_accept(l, 0, &ch), 0);
	/* The channel lives on without the listener. */
	smcdu_listener_free(l);
	atomic_store(&r->f.ctl->bell, 1);
	assert_int_equal(smcdu_send(ch, "x", 1, 0), 1);
	assert_int_equal(fake_message(&r->f), CHAN_BELL);
	smcdu_close(ch);
	smcdu_listener_free(NULL);
}

static void test_accept_refuses(void **state)
{
	struct rig *r = *state;
	struct ipc_channel msg = fake_describe(&r->f);
	int fds[4] = { r->f.app_sock, r->f.dmb_fd, r->f.ctl_fd, r->f.ctl_fd };

	for (unsigned int nfds = 0; nfds <= 4; nfds++) {
		struct smcdu_listener *l = make_listener(r);
		struct smcdu_channel *ch = (void *)r;

		msg.order = nfds == 3 ? 5 : CDC_BIG; /* the right number: something else is wrong */
		fd_send(r->sock, &msg, sizeof(msg), fds, nfds, 0);
		assert_int_equal(smcdu_accept(l, 0, &ch), -ECONNRESET);
		assert_int_equal(smcdu_accept(l, 0, &ch), -ECONNRESET);
		assert_ptr_equal(ch, r);
		smcdu_listener_free(l);
	}
}

static void test_accept_after_the_daemon(void **state)
{
	struct rig *r = *state;
	struct smcdu_listener *l = make_listener(r);
	struct smcdu_channel *ch;

	fd_closep(&r->sock);
	assert_int_equal(smcdu_accept(l, 0, &ch), -ECONNRESET);
	smcdu_listener_free(l);
}

static void test_query(void **state)
{
	struct rig *r = *state;
	static const char text[] = "{\"a\":1}";
	int fd FD_CLEANUP = fd_memfd("json", 4096);
	char *json = NULL;

	assert_int_equal(pwrite(fd, text, sizeof(text) - 1, 0), sizeof(text) - 1);
	r->ans.simple.hdr = ipc_hdr(IPC_RESULT);
	r->ans_len = sizeof(r->ans.simple);
	r->fds[0] = fd;
	r->nfds = 1;
	start(r, ANSWER);
	assert_int_equal(smcdu_query(r->ctx, "peer", &json), 0);
	pthread_join(r->thread, NULL);
	assert_string_equal(json, text);
	free(json);
	r->fds[0] = r->f.sock;
	start(r, ANSWER);
	assert_int_equal(smcdu_query(r->ctx, "stats", &json), -EPROTO);
	pthread_join(r->thread, NULL);
	assert_int_equal(smcdu_query(r->ctx, "peers", &json), -EINVAL);
	assert_int_equal(smcdu_query(r->ctx, NULL, &json), -EINVAL);
}

static void test_capture(void **state)
{
	struct rig *r = *state;
	int fd;

	r->ans.simple.hdr = ipc_hdr(IPC_CAPTURING);
	r->ans_len = sizeof(r->ans.simple);
	r->nfds = 0;
	start(r, ANSWER);
	fd = smcdu_capture(r->ctx, SMCDU_CAPTURE_CLC);
	assert_true(fd >= 0);
	pthread_join(r->thread, NULL);
	close(fd);
	r->fds[0] = r->f.sock; /* nothing comes with it */
	r->nfds = 1;
	start(r, ANSWER);
	assert_int_equal(smcdu_capture(r->ctx, SMCDU_CAPTURE_CDC), -EPROTO);
	pthread_join(r->thread, NULL);
	assert_int_equal(smcdu_capture(r->ctx, 0), -EINVAL);
	assert_int_equal(smcdu_capture(r->ctx, 4), -EINVAL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_connect), T(test_wrong_lengths_and_types), T(test_wrong_descriptors),
		T(test_bad_memory), T(test_bad_description), T(test_refusal_is_passed_on),
		T(test_no_daemon), T(test_silent_daemon), T(test_names), T(test_settings),
		T(test_listen_and_accept), T(test_accept_refuses), T(test_accept_after_the_daemon),
		T(test_query), T(test_capture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
