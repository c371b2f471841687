/* SPDX-License-Identifier: MIT */
#include "vfio/transport.h"

#include <errno.h>

#define PCI_CONFIG_COMMAND 4u
#define PCI_COMMAND_ENABLE 0x6u /* memory space, bus master */

_Static_assert(offsetof(struct transport, z) == 0, "zpci is embedded first");

int transport_note(struct transport *t, int err)
{
	if (err == -ENODEV || err == -ETIMEDOUT || err == -EPROTO)
		t->dead = true;
	return err == -EPROTO ? -ENODEV : err;
}

int transport_note_io(struct transport *t, int err)
{
	err = transport_note(t, err);
	return err == 0 || err == -ENODEV || err == -ETIMEDOUT ? err : -EIO;
}

/* Reads or writes configuration space; little-endian by definition of PCI. */
static int config_access(struct transport *t, uint64_t offset, uint8_t *buf, size_t len, bool write)
{
	const struct vfio_device_ops *ops = t->dev->ops;
	struct vfio_region_desc config;
	ssize_t n;
	int e = ops->get_region(t->dev, VFIO_DEV_REGION_CONFIG, &config);

	if (e < 0)
		return e;
	n = write ? ops->region_write(t->dev, &config, offset, buf, len)
		  : ops->region_read(t->dev, &config, offset, buf, len);
	if (n < 0)
		return (int)n;
	return (size_t)n == len ? 0 : -EIO;
}

int transport_describe(struct transport *t)
{
	struct zpci_caps *caps = &t->z.caps;
	struct vfio_region_desc bar;
	uint8_t id[4] = { 0 };
	int e = t->dev->ops->get_info(t->dev, &caps->info);

	if (e == 0)
		e = config_access(t, 0, id, sizeof(id), false);
	if (e < 0)
		return e;
	caps->gives_files = t->dev->ops->side_channel;
	caps->vendor = (uint16_t)(id[0] | id[1] << 8);
	caps->device = (uint16_t)(id[2] | id[3] << 8);
	for (uint32_t i = 0; i <= ZPCI_PCIAS_MAX; i++) {
		e = t->dev->ops->get_region(t->dev, i, &bar);
		if (e < 0 && e != -EINVAL)
			return e;
		caps->bar_size[i] = e < 0 ? 0 : bar.size;
	}
	return 0;
}

int transport_enable(struct transport *t)
{
	uint8_t cmd[2];
	int e = config_access(t, PCI_CONFIG_COMMAND, cmd, sizeof(cmd), false);

	if (e < 0)
		return e;
	cmd[0] |= PCI_COMMAND_ENABLE;
	return config_access(t, PCI_CONFIG_COMMAND, cmd, sizeof(cmd), true);
}

int transport_set_msi(struct zpci *z, int eventfd)
{
	struct transport *t = transport_of(z);

	return t->dead ? -ENODEV : transport_note(t, t->dev->ops->set_msi(t->dev, eventfd));
}

int transport_reset(struct zpci *z)
{
	struct transport *t = transport_of(z);
	int e;

	if (t->dead)
		return -ENODEV;
	e = t->dev->ops->reset(t->dev);
	if (e == 0)
		e = transport_enable(t);
	return transport_note(t, e);
}

int transport_side_channel(struct zpci *z, int fd)
{
	struct transport *t = transport_of(z);

	if (t->dead)
		return -ENODEV;
	if (!t->dev->ops->side_channel)
		return -EOPNOTSUPP;
	return transport_note(t, t->dev->ops->side_channel(t->dev, fd));
}

int transport_add_window(struct zpci *z, struct vfio_window *w)
{
	struct transport *t = transport_of(z);

	if (t->dead)
		return -ENODEV;
	return t->dev->ops->add_window ? t->dev->ops->add_window(t->dev, w) : -EOPNOTSUPP;
}

void transport_del_window(struct zpci *z, struct vfio_window *w)
{
	struct transport *t = transport_of(z);

	t->dev->ops->del_window(t->dev, w);
}

int transport_liveness_fd(struct zpci *z)
{
	struct transport *t = transport_of(z);

	return t->dev->ops->liveness_fd(t->dev);
}

int transport_check(struct zpci *z)
{
	struct transport *t = transport_of(z);

	return t->dead ? -ENODEV : transport_note(t, t->dev->ops->check(t->dev));
}
