/* SPDX-License-Identifier: MIT */
#include "ism/model/fabricd_ctl.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define ANSWER_TIMEOUT_MS 10000

static void client_close(struct ctl_client *c)
{
	loop_set(c->ctl->loop, &c->sock, 0);
	fd_closep(&c->sock.fd);
	free(c->answer);
	c->answer = NULL;
	c->have = c->sent = c->answer_len = 0;
}

static void client_send(struct ctl_client *c)
{
	ssize_t n = fd_send(c->sock.fd, c->answer + c->sent, c->answer_len - c->sent, NULL, 0,
		MSG_DONTWAIT);

	if (n > 0)
		c->sent += (size_t)n;
	if ((n < 0 && n != -EAGAIN) || c->sent == c->answer_len ||
		loop_set(c->ctl->loop, &c->sock, EPOLLOUT))
		client_close(c);
}

static void client_answer(struct ctl_client *c, char *line)
{
	c->answer = line ? ctl_execute(c->ctl, line) : strdup("error line too long\n");
	if (!c->answer) {
		client_close(c);
		return;
	}
	c->answer_len = strlen(c->answer);
	client_send(c);
}

static void client_receive(struct ctl_client *c)
{
	ssize_t n = recv(c->sock.fd, c->line + c->have, sizeof(c->line) - c->have, MSG_DONTWAIT);
	char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_close(c);
		return;
	}
	c->have += (size_t)n;
	end = memchr(c->line, '\n', c->have);
	if (end) {
		*end = '\0';
		client_answer(c, c->line);
	} else if (c->have == sizeof(c->line)) {
		client_answer(c, NULL);
	}
}

static void client_ready(struct source *s, uint32_t events)
{
	struct ctl_client *c =
		(struct ctl_client *)(void *)((char *)s - offsetof(struct ctl_client, sock));

	if (c->answer)
		client_send(c);
	else
		client_receive(c);
}

/* A free place, made by sending the oldest client away if need be. */
static struct ctl_client *place(struct ctl *ctl)
{
	struct ctl_client *oldest = &ctl->client[0];
	size_t i;

	for (i = 0; i < CTL_CLIENTS; i++) {
		struct ctl_client *c = &ctl->client[i];

		if (c->sock.fd < 0)
			return c;
		if (c->born < oldest->born)
			oldest = c;
	}
	client_close(oldest);
	return oldest;
}

static void listen_ready(struct source *s, uint32_t events)
{
	struct ctl *ctl = (struct ctl *)(void *)((char *)s - offsetof(struct ctl, listen));
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ctl_client *c;

	if (fd < 0) {
		/* Out of descriptors: the oldest client's will do for this one, next turn. */
		if (errno == EMFILE || errno == ENFILE)
			client_close(place(ctl));
		return;
	}
	c = place(ctl);
	c->sock.fd = fd;
	c->born = ctl->births++;
	if (loop_set(ctl->loop, &c->sock, EPOLLIN))
		client_close(c);
}

int ctl_open(struct ctl *c, struct loop *loop, struct fabric *f, const struct port *ports,
	struct fabricd_dir *dir)
{
	size_t i;
	int fd;

	memset(c, 0, sizeof(*c));
	c->loop = loop;
	c->fabric = f;
	c->ports = ports;
	c->dir = dir->path;
	for (i = 0; i < CTL_CLIENTS; i++) {
		c->client[i].ctl = c;
		c->client[i].sock = (struct source){ .fd = -1, .ready = client_ready };
	}
	fd = fabricd_dir_listen(dir, FABRICD_CONTROL);
	if (fd < 0)
		return fd;
	c->listen = (struct source){ .fd = fd, .ready = listen_ready };
	return loop_set(loop, &c->listen, EPOLLIN);
}

void ctl_close(struct ctl *c, struct fabricd_dir *dir)
{
	size_t i;

	if (!c->loop)
		return;
	for (i = 0; i < CTL_CLIENTS; i++)
		client_close(&c->client[i]);
	loop_set(c->loop, &c->listen, 0);
	if (c->listen.fd >= 0)
		fabricd_dir_remove(dir, FABRICD_CONTROL);
	fd_closep(&c->listen.fd);
}

static int receive_answer(int fd, char **ret)
{
	size_t len = 0, cap = 0;
	char *buf = NULL;

	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (cap - len < 4096) {
			char *more = realloc(buf, cap + 65536);

			if (!more)
				break;
			buf = more;
			cap += 65536;
		}
		if (poll(&pfd, 1, ANSWER_TIMEOUT_MS) <= 0)
			break;
		n = recv(fd, buf + len, cap - len - 1, 0);
		if (n < 0)
			break;
		len += (size_t)n;
		if (n == 0) {
			buf[len] = '\0';
			*ret = buf;
			return 0;
		}
	}
	free(buf);
	return -EIO;
}

int ctl_send(const char *dir, const char *line)
{
	int fd FD_CLEANUP = fabricd_dir_connect(dir, FABRICD_CONTROL);
	char *answer = NULL;
	int status;

	if (fd < 0) {
		log_err("no fabric answers on %s/%s (%s): is ism-fabricd running there?", dir,
			FABRICD_CONTROL, strerror(-fd));
		return 1;
	}
	if (fd_send(fd, line, strlen(line), NULL, 0, 0) < 0 ||
		fd_send(fd, "\n", 1, NULL, 0, 0) < 0 || receive_answer(fd, &answer)) {
		log_err("the fabric in %s did not answer", dir);
		return 1;
	}
	status = strncmp(answer, "ok\n", 3) ? 1 : 0;
	fputs(status ? answer : answer + 3, status ? stderr : stdout);
	free(answer);
	return fflush(stdout) ? 1 : status;
}
