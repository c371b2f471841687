/* SPDX-License-Identifier: MIT */
/*
 * The driver's end of the side channel, see attach.h. A channel that failed once is closed: the
 * function goes on without, and what is mapped stays so.
 */
#include "ism/attach.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "ism/dev.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define REPLY_TIMEOUT_MS 1000

void ism_attach_open(struct ism_dev *dev)
{
	int sv[2];
	int r;

	dev->side_fd = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return;
	r = zpci_side_channel(dev->port.z, sv[1]);
	fd_closep(&sv[1]);
	if (r == 0)
		dev->side_fd = sv[0];
	else
		fd_closep(&sv[0]);
}

bool ism_can_attach(const struct ism_dev *dev)
{
	return dev->side_fd >= 0;
}

/* Waits for the reply to *m, and puts it there. Its error, or what ended the channel. */
static int take_reply(struct ism_dev *dev, struct attach_msg *m, int fds[ATTACH_MAX_FDS],
	unsigned int *nfds)
{
	struct pollfd p = { .fd = dev->side_fd, .events = POLLIN };
	struct attach_msg ans;
	ssize_t n;

	if (poll(&p, 1, REPLY_TIMEOUT_MS) != 1)
		return -ETIMEDOUT;
	n = fd_recv(dev->side_fd, &ans, sizeof(ans), fds, ATTACH_MAX_FDS, nfds, MSG_DONTWAIT);
	if (n != (ssize_t)sizeof(ans) || ans.magic != ATTACH_MAGIC || ans.op != m->op ||
	    ans.token != m->token || ans.error > 0 || ans.error < -4095)
		return -EPROTO;
	*m = ans;
	return ans.error;
}

int ism_attach_call(struct ism_dev *dev, struct attach_msg *m, const int *give, unsigned int ngive,
	int fds[ATTACH_MAX_FDS], unsigned int want)
{
	unsigned int n = 0;
	int r;

	m->magic = ATTACH_MAGIC;
	if (dev->side_fd < 0)
		return -EOPNOTSUPP;
	if (fd_send(dev->side_fd, m, sizeof(*m), give, ngive, MSG_DONTWAIT) != sizeof(*m))
		r = -EPROTO;
	else
		r = take_reply(dev, m, fds, &n);
	if (r == 0 && n == want)
		return 0;
	while (n)
		fd_closep(&fds[--n]);
	if (r == -EPROTO || r == -ETIMEDOUT) {
		log_warn("the fabric's side channel failed (%s): channels are mediated from now on",
			strerror(-r));
		fd_closep(&dev->side_fd);
		return -EOPNOTSUPP;
	}
	return r < 0 ? r : -EPROTO;
}

int ism_offer_dmb(struct ism_dev *dev, const struct ism_dmb *dmb, const int *more,
	unsigned int nmore)
{
	struct attach_msg m = { .op = ATTACH_OFFER, .token = dmb->token };
	int give[ATTACH_MAX_FDS] = { dmb->fd };
	int fds[ATTACH_MAX_FDS];

	if (nmore >= ATTACH_MAX_FDS)
		return -EINVAL;
	if (nmore > 0)
		memcpy(&give[1], more, nmore * sizeof(*more));
	return ism_attach_call(dev, &m, give, nmore + 1, fds, 0);
}

int ism_take_dmb(struct ism_dev *dev, uint64_t token, uint32_t size, int *fds, unsigned int nfds)
{
	struct attach_msg m = { .op = ATTACH_TAKE, .token = token };
	int got[ATTACH_MAX_FDS];
	int r = ism_attach_call(dev, &m, NULL, 0, got, nfds);

	if (r < 0)
		return r;
	if (fd_check_sealed(got[0], size) < 0) {
		while (nfds)
			fd_closep(&got[--nfds]);
		return -EPROTO;
	}
	memcpy(fds, got, nfds * sizeof(*fds));
	return 0;
}
