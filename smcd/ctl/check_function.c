/* SPDX-License-Identifier: MIT */
/* What stands between one function and the daemon. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "smcd/ctl/check.h"
#include "vfio/open.h"
#include "vfio/zpci.h"

#define NODE_MAX     96
#define BLOCKERS_MAX 300
#define REMEDY_MAX   400

static const char udev_remedy[] =
	"let the udev rule of smcd-user (60-smcd-user.rules) make it usable for group smcd-user: "
	"udevadm control --reload; udevadm trigger --subsystem-match=vfio "
	"--subsystem-match=vfio-dev --subsystem-match=misc";

/* False: looking further makes no sense. */
static bool check_driver(struct check *c, const char *bdf, char driver[PCI_NAME_LEN])
{
	char remedy[REMEDY_MAX];
	int r = pci_driver(c->sys, bdf, driver);

	if (r < 0) {
		check_add(c, bdf, "function", FINDING_BAD, "see lspci -D for what there is",
			"%s", r == -ENODEV ? "there is no such PCI function" : strerror(-r));
		return false;
	}
	if (driver[0] && pci_driver_is_vfio(driver)) {
		check_add(c, bdf, "driver", FINDING_OK, "", "%s", driver);
		return true;
	}
	snprintf(remedy, sizeof(remedy), "smcd-userctl bind %s%s", bdf,
		strcmp(driver, "ism") == 0 ? " (the kernel's own SMC loses the function)" : "");
	check_add(c, bdf, "driver", FINDING_BAD, remedy, "%s, not one of VFIO",
		driver[0] ? driver : "none");
	return false;
}

static void check_id(struct check *c, const char *bdf)
{
	uint16_t vendor, device;
	int r = pci_id(c->sys, bdf, &vendor, &device);

	if (r < 0)
		check_add(c, bdf, "identity", FINDING_WARN, "", "cannot be read: %s", strerror(-r));
	else if (vendor == PCI_ISM_VENDOR && device == PCI_ISM_DEVICE)
		check_add(c, bdf, "identity", FINDING_OK, "", "ISM (%04x:%04x)", vendor, device);
	else
		check_add(c, bdf, "identity", FINDING_BAD, "name an ISM function (1014:04ed)",
			"%04x:%04x is no ISM function", vendor, device);
}

/* False: it is in no group. */
static bool check_group(struct check *c, const char *bdf, unsigned int *group)
{
	char text[BLOCKERS_MAX];
	int r = pci_group(c->sys, bdf, group);

	if (r < 0) {
		check_add(c, bdf, "iommu", FINDING_BAD,
			"enable the machine's IOMMU (on x86: intel_iommu=on, and in the firmware)",
			"in no IOMMU group");
		return false;
	}
	r = pci_group_blockers(c->sys, *group, bdf, text, sizeof(text));
	if (r > 0)
		check_add(c, bdf, "iommu", FINDING_BAD,
			"unbind them from their drivers, or bind them to vfio-pci as well",
			"IOMMU group %u is not viable; others use members of it: %s", *group, text);
	else
		check_add(c, bdf, "iommu", FINDING_OK, "", "IOMMU group %u", *group);
	return true;
}

/* What a driver of that name should be good for; only opening tells. */
static void expect_transport(struct check *c, const char *bdf, const char *driver)
{
	if (strcmp(driver, "ism_vfio_pci") == 0)
		check_add(c, bdf, "transport", FINDING_OK, "",
			"to be expected of ism_vfio_pci: BARs, one block store a write");
	else
		check_add(c, bdf, "transport", FINDING_WARN,
			"--open tells whether the kernel has it; else load ism-vfio-pci (Linux "
			"7.1 and later) and smcd-userctl bind again",
			"%s serves ISM only on a kernel with the zPCI I/O region", driver);
}

/* What there was when it was opened. */
static void tell_transport(struct check *c, const char *bdf, const struct zpci_caps *caps)
{
	check_add(c, bdf, "transport", FINDING_OK, "", "found: %s", caps->maps_sources ?
		"the zPCI I/O region, one request a write" : "BARs, one block store a write");
	check_add(c, bdf, "open", FINDING_OK, "", "%s, stores of up to %u bytes, CHID %04x",
		caps->transport, caps->max_store, caps->info.pchid);
}

struct way {
	const char *name;
	char node[NODE_MAX]; /* "": the kernel has none */
	const char *none;    /* then it was built without this */
	const char *other;   /* needed besides */
	const char *module;  /* which brings that */
	bool usable;	     /* else *why and *remedy are said */
	char why[NODE_MAX + 64];
	char remedy[REMEDY_MAX];
};

/* @missing: what to do where there is no such node. */
static void look_at_node(const struct check *c, struct way *w, const char *node, const char *missing)
{
	int r = check_may_use(c, node);

	if (r == 1)
		return;
	w->usable = false;
	if (r == 0) {
		snprintf(w->why, sizeof(w->why), "user %s may not open %s", c->user, node);
		snprintf(w->remedy, sizeof(w->remedy), "%s", udev_remedy);
	} else {
		snprintf(w->why, sizeof(w->why), "no %s", node);
		snprintf(w->remedy, sizeof(w->remedy), "%s", missing);
	}
}

static void look_at_way(const struct check *c, struct way *w)
{
	char load[64];

	w->usable = w->node[0];
	if (!w->usable) {
		snprintf(w->why, sizeof(w->why), "the kernel has no nodes of this kind: it was built "
			"without %s", w->none);
		snprintf(w->remedy, sizeof(w->remedy), "none is needed where the other way works");
		return;
	}
	/* The kernel made one when the driver was bound, whatever modules are there. */
	look_at_node(c, w, w->node, "the kernel has it, so it did not get here: look at udev, or at "
				    "what this container is given of /dev");
	snprintf(load, sizeof(load), "modprobe %s", w->module);
	if (w->usable)
		look_at_node(c, w, w->other, load);
}

/* Which nodes the kernel has for it, by its own account. */
static void find_nodes(const struct check *c, const char *bdf, unsigned int group, struct way w[2])
{
	char name[PCI_NAME_LEN], path[NODE_MAX];

	if (pci_cdev(c->sys, bdf, name) == 0)
		snprintf(w[0].node, sizeof(w[0].node), "/dev/vfio/devices/%s", name);
	snprintf(path, sizeof(path), "/sys/class/vfio/%u", group);
	if (c->sys->access(path, F_OK) == 0)
		snprintf(w[1].node, sizeof(w[1].node), "/dev/vfio/%u", group);
}

/* One of the two is enough. */
static bool check_ways(struct check *c, const char *bdf, unsigned int group)
{
	struct way w[2] = {
		{ .name = "cdev", .none = "CONFIG_VFIO_DEVICE_CDEV", .other = "/dev/iommu",
			.module = "iommufd" },
		{ .name = "group", .none = "CONFIG_VFIO_GROUP", .other = "/dev/vfio/vfio",
			.module = "vfio_iommu_type1" },
	};
	bool any;

	find_nodes(c, bdf, group, w);
	look_at_way(c, &w[0]);
	look_at_way(c, &w[1]);
	any = w[0].usable || w[1].usable;
	for (int i = 0; i < 2; i++) {
		bool other = any || (!w[i].node[0] && w[1 - i].node[0]); /* that one is to be mended */

		if (w[i].usable)
			check_add(c, bdf, w[i].name, FINDING_OK, "", "%s and %s, as user %s",
				w[i].node, w[i].other, c->user);
		else
			check_add(c, bdf, w[i].name, other ? FINDING_NOTE : FINDING_BAD,
				w[i].remedy, "%s", w[i].why);
	}
	return any;
}

/* The truth, at the price of a reset. False: what its transport is stays a guess. */
static bool try_to_open(struct check *c, const char *bdf)
{
	const struct vfio_open_params params = { .bdf = bdf, .sys = c->sys };
	struct vfio_device *dev;
	struct zpci *z = NULL;
	int r = vfio_open(&params, &dev);

	if (r == -EBUSY) {
		check_add(c, bdf, "open", FINDING_NOTE, "stop smcd-userd to have it tried",
			"somebody has it open");
		return false;
	}
	if (r < 0) {
		check_add(c, bdf, "open", FINDING_BAD, "see the message above", "%s", strerror(-r));
		return false;
	}
	r = zpci_open(dev, &z);
	if (r == 0) {
		tell_transport(c, bdf, zpci_caps(z));
		zpci_close(z);
	} else if (r == -ENOENT) {
		check_add(c, bdf, "transport", FINDING_BAD, "load ism-vfio-pci (Linux 7.1 and later) "
			"and smcd-userctl bind again", "found: neither the zPCI I/O region nor BARs "
			"that take block stores");
	} else {
		check_add(c, bdf, "open", FINDING_BAD, "see the message above", "%s", strerror(-r));
	}
	return r == 0 || r == -ENOENT;
}

void check_function(struct check *c, const char *bdf)
{
	char driver[PCI_NAME_LEN] = "";
	unsigned int group;
	bool ours = check_driver(c, bdf, driver);

	if (!ours && pci_exists(c->sys, bdf) < 0)
		return;
	check_id(c, bdf);
	if (!check_group(c, bdf, &group) || !ours)
		return;
	if (!check_ways(c, bdf, group) || !c->open || !try_to_open(c, bdf))
		expect_transport(c, bdf, driver);
}
