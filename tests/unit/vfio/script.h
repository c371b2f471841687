/* SPDX-License-Identifier: MIT */
/*
 * script.h - a vfio-user server that follows a script, in a child process
 *
 * A script is a function that runs with the accepted connection; it checks what arrives with must()
 * and answers as it likes, well or badly. A violated must() is the child's exit status.
 */
#ifndef TEST_VFIO_SCRIPT_H
#define TEST_VFIO_SCRIPT_H

#include <errno.h>
#include <linux/vfio.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "vfio/base/fd.h"
#include "vfio/user/client.h"
#include "vfio/user/proto.h"

#define REGION 9u

struct msg {
	struct vu_hdr h;
	uint8_t p[16384];
	int fds[FD_MSG_MAX];
	unsigned int nfds;
};

/* --- the server's side: exits with the number of the line that was violated --- */
#define must(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			_exit(1 + __LINE__ % 250);                                                 \
	} while (0)

static int sv; /* the server's connection */

static inline void get_bytes(void *buf, size_t len, struct msg *m)
{
	for (size_t at = 0; at < len;) {
		unsigned int n = 0;
		ssize_t got = fd_recv(sv, (uint8_t *)buf + at, len - at, m->fds + m->nfds,
			FD_MSG_MAX - m->nfds, &n, 0);

		must(got > 0);
		m->nfds += n;
		at += (size_t)got;
	}
}

static inline void get(struct msg *m, uint16_t command)
{
	memset(m, 0, sizeof(*m));
	get_bytes(&m->h, sizeof(m->h), m);
	must(m->h.size >= sizeof(m->h) && m->h.size <= sizeof(m->h) + sizeof(m->p));
	get_bytes(m->p, m->h.size - sizeof(m->h), m);
	must(m->h.command == command);
	must((m->h.flags & VU_F_TYPE_MASK) == VU_F_TYPE_CMD);
}

static inline void put_raw(const void *buf, size_t len)
{
	must(fd_send(sv, buf, len, NULL, 0, 0) == (ssize_t)len);
}

static inline void put(uint16_t id, uint16_t command, uint32_t flags, uint32_t error,
	const void *payload, size_t len)
{
	uint8_t b[20000];
	const struct vu_hdr h = { id, command, (uint32_t)(sizeof(h) + len), flags, error };

	memcpy(b, &h, sizeof(h));
	if (len)
		memcpy(b + sizeof(h), payload, len);
	put_raw(b, sizeof(h) + len);
}

static inline void answer(const struct msg *m, const void *payload, size_t len)
{
	put(m->h.id, m->h.command, VU_F_TYPE_REPLY, 0, payload, len);
}

static inline void refuse(const struct msg *m, uint32_t error)
{
	put(m->h.id, m->h.command, VU_F_TYPE_REPLY | VU_F_ERROR, error, NULL, 0);
}

static inline void version(const char *json)
{
	uint8_t b[512] = { 0 };
	struct msg m;

	get(&m, VU_VERSION);
	must(m.p[m.h.size - 17] == 0 && strstr((char *)m.p + 4, "\"iova_is_va\":true"));
	if (json)
		memcpy(b + 4, json, strlen(json) + 1);
	answer(&m, b, json ? 4 + strlen(json) + 1 : 4);
}

static inline void version_chain(void)
{
	version("{\"capabilities\":{\"max_msg_fds\":16,\"max_dma_maps\":2,\"future\":[1],"
		"\"smcd_user\":{\"iova_is_va\":true,\"chain\":true}}}");
}

static inline void version_together(void)
{
	version("{\"capabilities\":{\"max_msg_fds\":16,\"smcd_user\":{\"iova_is_va\":true,"
		"\"chain\":true,\"together\":true}}}");
}

static inline void expect_eof(void)
{
	uint8_t b[4096];

	while (recv(sv, b, sizeof(b), 0) > 0)
		;
}

static inline void write_done(const struct msg *m, uint32_t count)
{
	struct vu_region_access ra;

	memcpy(&ra, m->p, sizeof(ra));
	ra.count = count;
	answer(m, &ra, sizeof(ra));
}

/* --- the test's side --- */
#define PATIENT 20000 /* ms; only a broken test ever waits so long */

struct rig {
	char dir[64];
	char path[96];
	int listener;
	pid_t pid;
	struct vfio_device *dev;
};

static inline int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	strcpy(r->dir, "/tmp/smcdu-client-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	snprintf(r->path, sizeof(r->path), "%s/s", r->dir);
	memcpy(sa.sun_path, r->path, strlen(r->path) + 1);
	r->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*state = r;
	return bind(r->listener, (struct sockaddr *)&sa, sizeof(sa)) || listen(r->listener, 1);
}

static inline int teardown(void **state)
{
	struct rig *r = *state;

	close(r->listener);
	unlink(r->path);
	rmdir(r->dir);
	free(r);
	return 0;
}

static inline int start_spinning(struct rig *r, void (*script)(void), unsigned int timeout_ms,
	unsigned int spin_us)
{
	struct vu_client_params p = { .path = r->path,
		.timeout_ms = timeout_ms ? timeout_ms : PATIENT, .spin_us = spin_us };

	r->pid = fork();
	assert_true(r->pid >= 0);
	if (r->pid == 0) {
		alarm(3 * PATIENT / 1000); /* of a test that went wrong nothing stays */
		sv = accept(r->listener, NULL, NULL);
		close(r->listener);
		script();
		_exit(0);
	}
	return vu_client_open(&p, &r->dev);
}

static inline int start(struct rig *r, void (*script)(void), unsigned int timeout_ms)
{
	return start_spinning(r, script, timeout_ms, 0);
}

/* Closes the client; the server must have seen everything it wanted to see. */
static inline void finish(struct rig *r)
{
	int status;

	r->dev = vfio_device_close(r->dev);
	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static const struct vfio_region_desc io_region = { .index = REGION, .size = 48 };

static inline int fired(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0);
}

/* What check() says once it notices the end; 0 if that hangs. */
static inline int await_death(struct vfio_device *dev)
{
	int r = 0;

	for (int i = 0; i < PATIENT && r == 0; i++) {
		poll(NULL, 0, 1);
		r = dev->ops->check(dev);
	}
	return r;
}

enum { BATCH = 64 };

static inline void fill(struct vfio_region_wr *wr, uint8_t (*q)[32])
{
	for (size_t i = 0; i < BATCH; i++) {
		memset(q[i], (int)i, 32);
		wr[i] = (struct vfio_region_wr){ 16, q[i], 32 };
	}
}

static inline void take_batch(struct msg *m, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		get(&m[i], VU_REGION_WRITE);
		must(m[i].p[16] == i && m[i].h.size == 64);
		must(m[i].h.flags == (i ? VU_F_CHAIN : 0));
	}
}

static struct msg batch[BATCH];

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
