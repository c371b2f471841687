/* SPDX-License-Identifier: MIT */
/* The ioctls of groups and devices. */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio_zdev.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ism_double_priv.h"
#include "vfio/uapi.h"

/* --- the function's view of its driver --- */

static void *host_resolve(void *ctx, uint64_t iova, size_t len, bool write)
{
	const struct ism_port *p = ctx;
	const struct ism_space *s = p->space;

	for (unsigned int i = 0; s && i < s->nmaps; i++) {
		const struct vfio_iommu_type1_dma_map *m = &s->maps[i];

		if (iova >= m->iova && len <= m->size && iova - m->iova <= m->size - len)
			return (void *)(uintptr_t)(m->vaddr + (iova - m->iova));
	}
	return NULL;
}

static void host_irq(void *ctx)
{
	const struct ism_port *p = ctx;

	if (p->msi >= 0)
		eventfd_write(p->msi, 1);
}

static void host_unplugged(void *ctx)
{
	const struct ism_port *p = ctx;

	if (p->req >= 0)
		eventfd_write(p->req, 1);
}

const struct function_host ism_double_function_host = { host_resolve, host_irq, host_unplugged };

/* --- information --- */

int ism_double_give(void *arg, const void *fixed, uint32_t fixed_len, uint32_t min_len,
	const void *caps, uint32_t caps_len, size_t off_at)
{
	uint32_t room, want = fixed_len + caps_len;

	memcpy(&room, arg, sizeof(room));
	if (room < min_len)
		return -EINVAL;
	memcpy(arg, fixed, room < fixed_len ? room : fixed_len);
	memcpy(arg, &want, sizeof(want));
	if (caps_len && room >= want) {
		memcpy((uint8_t *)arg + off_at, &fixed_len, sizeof(fixed_len));
		memcpy((uint8_t *)arg + fixed_len, caps, caps_len);
	}
	return 0;
}

static int device_info(const struct ism_port *p, void *arg)
{
	bool region = ism_d.params.kind == ISM_DOUBLE_REGION;
	const struct vfio_device_info di = {
		.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_CAPS |
			(ism_d.host.no_reset ? 0 : VFIO_DEVICE_FLAGS_RESET),
		.num_regions = region ? ism_d.params.region_index + 1 : VFIO_PCI_NUM_REGIONS,
		.num_irqs = VFIO_PCI_NUM_IRQS,
	};
	struct {
		struct vfio_device_info_cap_zpci_base base;
		struct vfio_device_info_cap_zpci_group group;
	} caps = { 0 };

	caps.base.header.id = VFIO_DEVICE_INFO_CAP_ZPCI_BASE;
	caps.base.header.version = (uint16_t)ism_d.params.caps_version;
	caps.base.header.next = sizeof(di) + sizeof(caps.base);
	caps.base.start_dma = ISM_DOUBLE_IOVA_START;
	caps.base.end_dma = ISM_DOUBLE_IOVA_END;
	caps.base.pchid = ism_d.fabric->chid;
	caps.base.vfn = (uint16_t)p->fn->nr;
	caps.base.pft = 5;
	caps.base.fh = 0x80000000u | (p->fn->nr + 1);
	caps.group.header.id = VFIO_DEVICE_INFO_CAP_ZPCI_GROUP;
	caps.group.header.version = (uint16_t)ism_d.params.caps_version;
	caps.group.noi = 1;
	caps.group.maxstbl = 128; /* what Linux reports whatever the hardware can do */
	if (ism_d.params.caps_version >= 2)
		caps.group.imaxstbl = (uint16_t)fabric_knob(ism_d.fabric, KNOB_max_store);
	return ism_double_give(arg, &di, sizeof(di), 16, &caps, sizeof(caps),
		offsetof(struct vfio_device_info, cap_offset));
}

static int region_info(const struct ism_port *p, void *arg)
{
	const struct vfio_region_info_cap_type type = {
		.header = { .id = VFIO_REGION_INFO_CAP_TYPE, .version = 1 },
		.type = ZPCI_IO_REGION_TYPE,
		.subtype = ZPCI_IO_REGION_SUBTYPE,
	};
	struct vfio_region_info ri;
	uint32_t cap_len = 0;

	memcpy(&ri, arg, sizeof(ri));
	if (ri.argsz < sizeof(ri) || ri.index == VFIO_PCI_ROM_REGION_INDEX ||
		ri.index == VFIO_PCI_VGA_REGION_INDEX)
		return -EINVAL;
	if (ri.index > VFIO_PCI_VGA_REGION_INDEX && (ism_d.params.kind != ISM_DOUBLE_REGION ||
		ri.index > ism_d.params.region_index))
		return -EINVAL;
	ri.cap_offset = 0;
	ri.offset = (uint64_t)ri.index << ism_double_shift(&ism_d);
	ri.size = ism_double_region_size(&ism_d, p, ri.index);
	ri.flags = ri.size ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
	if (ri.index > VFIO_PCI_VGA_REGION_INDEX && ri.index == ism_d.params.region_index) {
		ri.flags |= VFIO_REGION_INFO_FLAG_CAPS;
		cap_len = sizeof(type);
	}
	return ism_double_give(arg, &ri, sizeof(ri), sizeof(ri), &type, cap_len,
		offsetof(struct vfio_region_info, cap_offset));
}

/* --- interrupts --- */

/* Index 1 has one vector; 4 always has one; 3 only a PCI Express function. Else NULL. */
static int *irq_of(struct ism_port *p, uint32_t index)
{
	switch (index) {
	case VFIO_PCI_MSI_IRQ_INDEX:
		return &p->msi;
	case VFIO_PCI_REQ_IRQ_INDEX:
		return ism_d.host.no_request ? NULL : &p->req;
	case VFIO_PCI_ERR_IRQ_INDEX:
		return ism_d.host.err_irq ? &p->err : NULL;
	}
	return NULL;
}

static int irq_info(struct ism_port *p, void *arg)
{
	struct vfio_irq_info ii;

	memcpy(&ii, arg, sizeof(ii));
	if (ii.argsz < sizeof(ii) || ii.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	if (ii.index == VFIO_PCI_ERR_IRQ_INDEX && !ism_d.host.err_irq)
		return -EINVAL;
	ii.flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE;
	ii.count = irq_of(p, ii.index) != NULL;
	memcpy(arg, &ii, sizeof(ii));
	return 0;
}

/* Index 1 has to be off before it changes. */
static int set_irqs(struct ism_port *p, const void *arg)
{
	struct vfio_irq_set s;
	int32_t fd = -1;
	int *to;

	memcpy(&s, arg, offsetof(struct vfio_irq_set, data));
	to = irq_of(p, s.index);
	if (!to)
		return -EINVAL;
	if (s.argsz < sizeof(s) || s.start || s.count > 1 ||
		!(s.flags & VFIO_IRQ_SET_ACTION_TRIGGER))
		return -EINVAL;
	if (s.flags & VFIO_IRQ_SET_DATA_EVENTFD) {
		if (s.argsz < sizeof(s) + sizeof(fd) || s.count != 1 ||
			(to == &p->msi && *to >= 0))
			return -EINVAL;
		memcpy(&fd, (const uint8_t *)arg + sizeof(s), sizeof(fd));
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -EBADF;
	}
	if (*to >= 0)
		close(*to);
	*to = fd;
	if (to == &p->msi)
		function_set_msi(p->fn, fd >= 0);
	return 0;
}

/* --- life --- */

int ism_device_start(struct ism_port *p)
{
	int r;

	if (p->running || ism_d.host.taken)
		return -EBUSY;
	r = function_attach(p->fn, &ism_double_function_host, p);
	if (r < 0)
		return r;
	p->running = true;
	ism_double_io_init(&ism_d, p);
	return 0;
}

void ism_device_end(struct ism_port *p)
{
	int *const irqs[] = { &p->msi, &p->req, &p->err };

	function_detach(p->fn);
	for (unsigned int i = 0; i < 3; i++) {
		if (*irqs[i] >= 0)
			close(*irqs[i]);
		*irqs[i] = -1;
	}
	p->running = false;
	p->space = NULL;
	p->unbound = p->unbinding;
}

/* --- group --- */

static int group_status(const struct ism_port *p, void *arg)
{
	struct vfio_group_status s;

	memcpy(&s, arg, sizeof(s));
	if (s.argsz < sizeof(s))
		return -EINVAL;
	s.flags = ism_d.host.mate ? 0 : VFIO_GROUP_FLAGS_VIABLE;
	if (p->space)
		s.flags |= VFIO_GROUP_FLAGS_CONTAINER_SET;
	memcpy(arg, &s, sizeof(s));
	return 0;
}

static int set_container(struct ism_port *p, const void *arg)
{
	const struct ism_node *n;
	struct ism_space *s;
	int fd;

	memcpy(&fd, arg, sizeof(fd));
	n = ism_double_node(fd);
	if (!n)
		return -EBADF;
	if (n->kind != ISM_NODE_CONTAINER || p->space)
		return -EINVAL;
	s = ism_space_of(fd, 0);
	s->has_group = true;
	p->space = s;
	return 0;
}

static int open_device(struct ism_port *p, const char *name)
{
	struct ism_node *n = ism_double_node(-1);
	int r;

	if (strcmp(name, p->bdf) != 0)
		return -ENODEV;
	if (!p->space || !p->space->has_iommu)
		return -EPERM;
	r = n ? ism_device_start(p) : -ENFILE;
	if (r < 0)
		return r;
	*n = (struct ism_node){ .kind = ISM_NODE_DEVICE, .port = p, .bound = true };
	n->fd = eventfd(0, EFD_CLOEXEC);
	p->descriptors++;
	ism_d.count.by_group++;
	return n->fd;
}

int ism_group_ioctl(struct ism_node *n, unsigned long nr, void *arg)
{
	switch (nr) {
	case VFIO_GROUP_GET_STATUS:
		return group_status(n->port, arg);
	case VFIO_GROUP_SET_CONTAINER:
		return set_container(n->port, arg);
	case VFIO_GROUP_GET_DEVICE_FD:
		return open_device(n->port, arg);
	}
	return -ENOTTY;
}

/* --- device --- */

static int bind_iommufd(struct ism_node *n, void *arg)
{
	const struct ism_node *i;
	struct cdev_bind b;
	int r;

	memcpy(&b, arg, sizeof(b));
	if (b.argsz < sizeof(b) || b.flags || b.iommufd < 0 || n->bound)
		return -EINVAL;
	i = ism_double_node(b.iommufd);
	if (!i || i->kind != ISM_NODE_IOMMUFD)
		return -EBADF;
	if (n->port->group_open)
		return -EBUSY;
	if (n->port->running || ism_d.host.taken)
		return -EINVAL;
	if (ism_d.host.unsafe || ism_d.host.mate)
		return -EPERM;
	r = ism_device_start(n->port);
	if (r < 0)
		return r;
	n->bound = true;
	ism_d.count.by_cdev++;
	b.out_devid = 1;
	memcpy(arg, &b, sizeof(b));
	return 0;
}

static int attach_ioas(struct ism_port *p, const void *arg)
{
	struct cdev_attach a;

	memcpy(&a, arg, sizeof(a));
	if (a.argsz < sizeof(a) || a.flags)
		return -EINVAL;
	for (unsigned int i = 0; i < ISM_DOUBLE_SPACES; i++) {
		struct ism_space *s = &ism_d.space[i];

		if (s->used && a.pt_id && s->id == a.pt_id) {
			s->has_iommu = true;
			p->space = s;
			return 0;
		}
	}
	return -ENOENT;
}

static int device_reset(struct ism_port *p)
{
	if (ism_d.host.no_reset)
		return -EINVAL;
	return function_reset(p->fn) < 0 ? -EINVAL : 0;
}

int ism_device_ioctl(struct ism_node *n, unsigned long nr, void *arg)
{
	if (nr == CDEV_BIND)
		return bind_iommufd(n, arg);
	if (!n->bound)
		return -EINVAL;
	switch (nr) {
	case CDEV_ATTACH:
		return attach_ioas(n->port, arg);
	case VFIO_DEVICE_GET_INFO:
		return device_info(n->port, arg);
	case VFIO_DEVICE_GET_REGION_INFO:
		return region_info(n->port, arg);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return irq_info(n->port, arg);
	case VFIO_DEVICE_SET_IRQS:
		return set_irqs(n->port, arg);
	case VFIO_DEVICE_RESET:
		return device_reset(n->port);
	}
	return -ENOTTY;
}
