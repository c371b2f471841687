/* SPDX-License-Identifier: MIT */
#include "ism_double.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ism_double_priv.h"
#include "vfio/base/fd.h"

struct ism_double ism_d;

/* --- calls --- */

/* The node of a descriptor; of -1: a free one. */
struct ism_node *ism_double_node(int fd)
{
	for (unsigned int i = 0; i < ISM_DOUBLE_NODES; i++) {
		struct ism_node *n = &ism_d.node[i];

		if (fd < 0 ? n->kind == ISM_NODE_NONE : n->kind != ISM_NODE_NONE && n->fd == fd)
			return n;
	}
	return NULL;
}

/* Every call begins here; false with errno set: it shall fail. */
static bool enter(void)
{
	ism_d.count.calls++;
	if (ism_d.fail_nth && --ism_d.fail_nth == 0) {
		errno = ism_d.fail_errno;
		return false;
	}
	fabric_run(ism_d.fabric);
	return true;
}

static struct ism_node *enter_fd(int fd)
{
	struct ism_node *n = ism_double_node(fd);

	if (!n)
		errno = EBADF;
	return n && enter() ? n : NULL;
}

static int result(ssize_t r)
{
	if (r >= 0)
		return (int)r;
	errno = (int)-r;
	return -1;
}

static int open_file(const char *text)
{
	int fd = memfd_create("sysfs", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		fd_closep(&fd);
	return fd;
}

static int double_open(const char *path, int flags)
{
	struct ism_node node, *n;
	char text[32];
	int r;

	if (!enter())
		return -1;
	r = ism_double_path(path, &node, text);
	n = ism_double_node(-1);
	if (r < 0 || !n)
		return result(r < 0 ? r : -ENFILE);
	if (node.kind == ISM_NODE_GROUP &&
		(node.port->group_open || node.port->running || ism_d.host.taken))
		return result(-EBUSY);
	node.fd = node.kind == ISM_NODE_FILE ? open_file(text) : eventfd(0, EFD_CLOEXEC);
	if (node.fd < 0)
		return -1;
	if (node.kind == ISM_NODE_CONTAINER && !ism_space_new(node.fd, 0))
		return result(-ENOMEM);
	if (node.kind == ISM_NODE_GROUP)
		node.port->group_open = true;
	if (node.kind == ISM_NODE_DEVICE)
		node.port->descriptors++;
	*n = node;
	return node.fd;
}

static int double_close(int fd)
{
	struct ism_node *n = ism_double_node(fd);

	if (!n)
		return result(-EBADF);
	switch (n->kind) {
	case ISM_NODE_DEVICE:
		n->port->descriptors--;
		if (n->bound)
			ism_device_end(n->port);
		else if (!n->port->running)
			n->port->unbound = n->port->unbinding;
		break;
	case ISM_NODE_GROUP:
		n->port->group_open = false;
		if (!n->port->running)
			n->port->space = NULL;
		break;
	case ISM_NODE_CONTAINER:
	case ISM_NODE_IOMMUFD:
		ism_space_close(fd);
		break;
	case ISM_NODE_FILE:
	case ISM_NODE_NONE:
		break;
	}
	*n = (struct ism_node){ .kind = ISM_NODE_NONE };
	return close(fd);
}

static int double_ioctl(int fd, unsigned long nr, void *arg)
{
	struct ism_node *n = enter_fd(fd);

	if (!n)
		return -1;
	switch (n->kind) {
	case ISM_NODE_CONTAINER:
		return result(ism_container_ioctl(fd, nr, arg));
	case ISM_NODE_GROUP:
		return result(ism_group_ioctl(n, nr, arg));
	case ISM_NODE_IOMMUFD:
		return result(ism_iommufd_ioctl(fd, nr, arg));
	case ISM_NODE_DEVICE:
		return result(ism_device_ioctl(n, nr, arg));
	default:
		return result(-ENOTTY);
	}
}

static ssize_t double_pread(int fd, void *buf, size_t count, off_t pos)
{
	struct ism_node *n = enter_fd(fd);

	if (!n)
		return -1;
	if (n->kind == ISM_NODE_FILE)
		return pread(fd, buf, count, pos);
	if (n->kind != ISM_NODE_DEVICE || !n->bound || pos < 0)
		return result(-EINVAL);
	return result(ism_double_read(&ism_d, n->port, (uint64_t)pos, buf, count));
}

static ssize_t double_pwrite(int fd, const void *buf, size_t count, off_t pos)
{
	struct ism_node *n = enter_fd(fd);

	if (!n)
		return -1;
	if (n->kind != ISM_NODE_DEVICE || !n->bound || pos < 0)
		return result(-EINVAL);
	return result(ism_double_write(&ism_d, n->port, (uint64_t)pos, buf, count));
}

static int double_claim(int fd)
{
	return enter_fd(fd) ? 0 : -1;
}

static ssize_t double_readlink(const char *path, char *buf, size_t size)
{
	return enter() ? result(ism_double_readlink(path, buf, size)) : -1;
}

static int double_access(const char *path, int mode)
{
	return enter() ? result(ism_double_access(path, mode)) : -1;
}

static int double_list(const char *path, int (*fn)(void *ctx, const char *name), void *ctx)
{
	return enter() ? result(ism_double_list(path, fn, ctx)) : -1;
}

const struct sys_ops ism_double_sys = {
	.open = double_open,
	.close = double_close,
	.ioctl = double_ioctl,
	.pread = double_pread,
	.pwrite = double_pwrite,
	.claim = double_claim,
	.readlink = double_readlink,
	.access = double_access,
	.list = double_list,
};

/* --- life --- */

static void init_port(unsigned int nr)
{
	struct ism_port *p = &ism_d.port[nr];

	p->nr = nr;
	p->fn = ism_d.fabric->fn[nr];
	p->msi = p->req = p->err = -1;
	snprintf(p->bdf, sizeof(p->bdf), "%04x:00:00.0", (nr + 1) & 0xffff);
}

int ism_double_start(const struct ism_double_params *params, struct fabric **ret)
{
	const struct fabric_params fp = { .functions = params->functions,
		.chid = FABRIC_CHID_DEFAULT, .gid_base = FABRIC_GID_BASE };
	int r;

	if (params->functions < 1 || params->functions > ISM_DOUBLE_MAX)
		return -EINVAL;
	ism_d = (struct ism_double){ .params = *params };
	if (!ism_d.params.region_index)
		ism_d.params.region_index = VFIO_DEV_REGION_FIXED;
	if (!ism_d.params.caps_version)
		ism_d.params.caps_version = 2;
	if (pipe2(ism_d.probe, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	r = fabric_new(&fp, &ism_d.fabric);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < params->functions; i++)
		init_port(i);
	*ret = ism_d.fabric;
	return 0;
}

int ism_double_stop(void)
{
	int r = 0;

	for (unsigned int i = 0; i < ISM_DOUBLE_NODES; i++)
		if (ism_d.node[i].kind != ISM_NODE_NONE)
			r = -EBUSY;
	for (unsigned int i = 0; i < ISM_DOUBLE_SPACES; i++) {
		if (ism_d.space[i].used)
			r = -EBUSY;
		free(ism_d.space[i].maps);
	}
	ism_d.fabric = fabric_free(ism_d.fabric);
	close(ism_d.probe[0]);
	close(ism_d.probe[1]);
	ism_d.params.functions = 0;
	return r;
}

const char *ism_double_bdf(unsigned int nr)
{
	return ism_d.port[nr].bdf;
}

int ism_double_open(unsigned int nr, struct vfio_device **ret)
{
	const struct vfio_open_params params = { .bdf = ism_d.port[nr].bdf,
		.way = ism_d.params.way, .sys = &ism_double_sys };

	return vfio_open(&params, ret);
}

void ism_double_fail(unsigned int nth, int err)
{
	ism_d.fail_nth = nth;
	ism_d.fail_errno = err;
}

struct ism_double_host *ism_double_host(void)
{
	return &ism_d.host;
}

const struct ism_double_count *ism_double_count(void)
{
	return &ism_d.count;
}

/* --- what happens to functions --- */

void ism_double_unbind(unsigned int nr)
{
	struct ism_port *p = &ism_d.port[nr];

	p->unbinding = true;
	p->unbound = p->descriptors == 0;
	if (p->req >= 0)
		eventfd_write(p->req, 1);
}

bool ism_double_unbound(unsigned int nr)
{
	return ism_d.port[nr].unbound;
}

void ism_double_bind(unsigned int nr)
{
	ism_d.port[nr].unbinding = ism_d.port[nr].unbound = false;
}

void ism_double_remove(unsigned int nr)
{
	ism_d.port[nr].removed = true;
	ism_d.port[nr].fn->faults.unplugged = true;
}

void ism_double_return(unsigned int nr)
{
	ism_d.port[nr].removed = false;
	ism_d.port[nr].fn->faults.unplugged = false;
}

void ism_double_run(void)
{
	fabric_run(ism_d.fabric);
}

void ism_double_report_error(unsigned int nr)
{
	if (ism_d.port[nr].err >= 0)
		eventfd_write(ism_d.port[nr].err, 1);
}
