/* SPDX-License-Identifier: MIT */
/*
 * transport.h - what the transports over a VFIO device have in common
 *
 * Region (region.c) and BARs (bar.c) differ in how a PCILG and a PCISTB are asked for; finding out
 * what the function is, enabling it in configuration space, its MSI, reset and liveness are the
 * same. Each embeds struct transport first.
 *
 * After -ENODEV, -ETIMEDOUT or -EPROTO from the device nothing is known about its state any more:
 * the transport is dead and every later call fails with -ENODEV.
 */
#ifndef SMCDU_VFIO_TRANSPORT_H
#define SMCDU_VFIO_TRANSPORT_H

#include <stdbool.h>

#include "vfio/zpci.h"

struct transport {
	struct zpci z; /* first */
	struct vfio_device *dev; /* owned */
	bool dead;
};

static inline struct transport *transport_of(struct zpci *z)
{
	return (struct transport *)z;
}

/* Notes what a device error means for the transport; returns the error to report. */
int transport_note(struct transport *t, int err);

/* The same for instructions, where everything else is "the device refused or failed": -EIO. */
int transport_note_io(struct transport *t, int err);

/* Fills caps.info, vendor, device, bar_size and gives_files. */
int transport_describe(struct transport *t);

/* Memory access and bus mastering, in configuration space. */
int transport_enable(struct transport *t);

/* Entries of struct zpci_ops. */
int transport_set_msi(struct zpci *z, int eventfd);
int transport_reset(struct zpci *z);
int transport_side_channel(struct zpci *z, int fd);
int transport_add_window(struct zpci *z, struct vfio_window *w);
void transport_del_window(struct zpci *z, struct vfio_window *w);
int transport_liveness_fd(struct zpci *z);
int transport_check(struct zpci *z);

/*
 * The transports. Both take ownership of @dev, also on failure. @io: the region, which was found.
 * -ENOENT from the second: these BARs do not take block stores.
 */
int zpci_open_region(struct vfio_device *dev, const struct vfio_region_desc *io, struct zpci **ret);
int zpci_open_bars(struct vfio_device *dev, struct zpci **ret);

#endif
