/* SPDX-License-Identifier: MIT */
/*
 * base_ucx.c - UCX over shared memory: tagged messages, both sides progressing all the time
 *
 * Its workers are made after the fork, one per process, and tell each other their addresses over a
 * socket pair.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <ucp/api/ucp.h>

#include "smcd/perf/baseline.h"
#include "vfio/base/fd.h"

#define TAG 1

struct ucx_link {
	struct link base;
	ucp_context_h context;
	ucp_worker_h worker;
	ucp_ep_h ep;
	bool one_core;
};

struct ucx_pair {
	int fd[2];
	bool one_core;
};

static struct ucx_link *self(struct link *l)
{
	return (struct ucx_link *)(void *)l;
}

static int error_of(ucs_status_t s)
{
	return s == UCS_OK ? 0 : s == UCS_ERR_NO_MEMORY ? -ENOMEM : -EIO;
}

static int complete(struct ucx_link *l, ucs_status_ptr_t request)
{
	ucs_status_t s;

	if (!UCS_PTR_IS_PTR(request))
		return error_of(UCS_PTR_STATUS(request));
	while ((s = ucp_request_check_status(request)) == UCS_INPROGRESS)
		if (!ucp_worker_progress(l->worker) && l->one_core)
			sched_yield();
	ucp_request_free(request);
	return error_of(s);
}

static int ucx_send(struct link *base, const void *buf, size_t len)
{
	static const ucp_request_param_t plain;
	struct ucx_link *l = self(base);

	return complete(l, ucp_tag_send_nbx(l->ep, buf, len, TAG, &plain));
}

static int ucx_recv(struct link *base, void *buf, size_t len)
{
	static const ucp_request_param_t plain;
	struct ucx_link *l = self(base);

	return complete(l, ucp_tag_recv_nbx(l->worker, buf, len, TAG, UINT64_MAX, &plain));
}

static void ucx_close(struct link *base)
{
	static const ucp_request_param_t now = { .op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
		.flags = UCP_EP_CLOSE_FLAG_FORCE };
	struct ucx_link *l = self(base);

	if (l->ep)
		complete(l, ucp_ep_close_nbx(l->ep, &now));
	if (l->worker)
		ucp_worker_destroy(l->worker);
	if (l->context)
		ucp_cleanup(l->context);
	free(l);
}

static const struct link_ops ucx_ops = {
	.send = ucx_send,
	.recv = ucx_recv,
	.close = ucx_close,
};

static int open_pair(const struct base_params *p, void **shared)
{
	struct ucx_pair *pair = malloc(sizeof(*pair));

	if (!pair)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair->fd) < 0) {
		free(pair);
		return -errno;
	}
	pair->one_core = p->cores == 1;
	*shared = pair;
	return 0;
}

static int make_worker(struct ucx_link *l)
{
	static const ucp_params_t params = { .field_mask = UCP_PARAM_FIELD_FEATURES,
		.features = UCP_FEATURE_TAG };
	static const ucp_worker_params_t single = { .field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
		.thread_mode = UCS_THREAD_MODE_SINGLE };
	ucp_config_t *config;
	ucs_status_t s = ucp_config_read(NULL, NULL, &config);

	if (s != UCS_OK)
		return error_of(s);
	s = ucp_config_modify(config, "TLS", "shm");
	if (s == UCS_OK)
		s = ucp_init(&params, config, &l->context);
	ucp_config_release(config);
	if (s == UCS_OK)
		s = ucp_worker_create(l->context, &single, &l->worker);
	return error_of(s);
}

static int make_endpoint(struct ucx_link *l, int fd)
{
	ucp_ep_params_t params = { .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS };
	char theirs[4096];
	ucp_address_t *ours;
	ucs_status_t s;
	size_t len;
	ssize_t n;

	s = ucp_worker_get_address(l->worker, &ours, &len);
	if (s != UCS_OK)
		return error_of(s);
	n = send(fd, ours, len, MSG_NOSIGNAL);
	ucp_worker_release_address(l->worker, ours);
	if (n == (ssize_t)len)
		n = recv(fd, theirs, sizeof(theirs), 0);
	if (n <= 0)
		return n < 0 ? -errno : -ECONNRESET;
	params.address = (const ucp_address_t *)(const void *)theirs;
	return error_of(ucp_ep_create(l->worker, &params, &l->ep));
}

static int end_pair(void *shared, unsigned int side, struct link **ret)
{
	struct ucx_pair *pair = shared;
	struct ucx_link *l = calloc(1, sizeof(*l));
	int r;

	fd_closep(&pair->fd[1 - side]);
	if (!l) {
		r = -ENOMEM;
	} else {
		l->base.ops = &ucx_ops;
		l->one_core = pair->one_core;
		r = make_worker(l);
		if (r == 0)
			r = make_endpoint(l, pair->fd[side]);
		if (r < 0)
			ucx_close(&l->base);
		else
			*ret = &l->base;
	}
	fd_closep(&pair->fd[side]);
	free(pair);
	return r;
}

const struct baseline base_ucx = {
	.name = "ucx",
	.what = "UCX tagged messages over shared memory, both sides spinning",
	.tests = PERF_RTT | PERF_STREAM,
	.open = open_pair,
	.end = end_pair,
};
