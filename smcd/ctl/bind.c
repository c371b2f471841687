/* SPDX-License-Identifier: MIT */
/*
 * smcd-userctl bind, unbind: giving a function to VFIO and back
 *
 * By driver_override: it names the one driver that may take the function, whatever the drivers' own
 * lists say, and ism-vfio-pci takes no function without it. Its name in sysfs has underscores.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "smcd/ctl/tools.h"
#include "vfio/base/log.h"
#include "vfio/pci.h"

#define DRIVER_ISM     "ism_vfio_pci"
#define DRIVER_GENERIC "vfio-pci"
#define PROBE	       "/sys/bus/pci/drivers_probe"
#define BLOCKERS_MAX   300

enum { OPT_DRIVER, OPT_FORCE, OPT_ROOT };

const struct option bind_options[] = {
	{ "driver", required_argument, NULL, OPT_DRIVER },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "root", required_argument, NULL, OPT_ROOT },
	{ 0 },
};

const struct option unbind_options[] = {
	{ "root", required_argument, NULL, OPT_ROOT },
	{ 0 },
};

struct binding {
	const struct sys_ops *sys;
	const char *bdf;
	char before[PCI_NAME_LEN];   /* its driver */
	char override[PCI_NAME_LEN]; /* its driver_override */
	char driver[PCI_NAME_LEN];   /* which it is to have */
};

static enum exit_status failed(const struct binding *b, const char *what, int err)
{
	fprintf(stderr, "smcd-userctl: %s: %s: %s%s\n", b->bdf, what, strerror(-err),
		err == -EACCES || err == -EPERM ? "; run this as root" : "");
	return FAILED;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* "" takes the wish back. */
static int set_override(const struct binding *b, const char *driver)
{
	char path[PATH_MAX], text[PCI_NAME_LEN + 1];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", b->bdf);
	snprintf(text, sizeof(text), "%s\n", driver);
	return pci_write_file(b->sys, path, text);
}

/* Waits until whoever has the function lets go of it. */
static int release(const struct binding *b)
{
	char path[PATH_MAX], driver[PCI_NAME_LEN];
	int r = pci_driver(b->sys, b->bdf, driver);

	if (r < 0 || !driver[0])
		return r;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind", b->bdf);
	return pci_write_file(b->sys, path, b->bdf);
}

/* A driver that does not want it is no error here: see which one has it afterwards. */
static int probe(const struct binding *b, char now[PCI_NAME_LEN])
{
	int r = pci_write_file(b->sys, PROBE, b->bdf);

	if (r < 0 && r != -EINVAL && r != -ENODEV)
		return r;
	return pci_driver(b->sys, b->bdf, now);
}

static bool driver_loaded(const struct sys_ops *sys, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s", name);
	return sys->access(path, F_OK) == 0;
}

static int read_state(struct binding *b)
{
	char path[PATH_MAX];
	int r = pci_driver(b->sys, b->bdf, b->before);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", b->bdf);
	r = pci_read_file(b->sys, path, b->override, sizeof(b->override));
	if (r == 0 && strcmp(b->override, "(null)") == 0)
		b->override[0] = '\0';
	return r;
}

/* As it was before. */
static void undo(const struct binding *b)
{
	char now[PCI_NAME_LEN] = "";
	int r = set_override(b, b->override);

	if (r == 0)
		r = pci_driver(b->sys, b->bdf, now);
	if (r == 0 && b->before[0] && strcmp(now, b->before) != 0) {
		r = release(b);
		if (r == 0)
			r = probe(b, now);
	}
	if (r < 0)
		failed(b, "cannot be put back", r);
	else
		fprintf(stderr, "smcd-userctl: %s: undone; its driver is %s\n", b->bdf,
			now[0] ? now : "none");
}

/* ---- bind ------------------------------------------------------------------------------------ */

static bool is_ism(const struct binding *b)
{
	uint16_t vendor, device;

	return pci_id(b->sys, b->bdf, &vendor, &device) == 0 && vendor == PCI_ISM_VENDOR &&
	       device == PCI_ISM_DEVICE;
}

static void copy_name(char out[PCI_NAME_LEN], const char *name)
{
	snprintf(out, PCI_NAME_LEN, "%s", name);
}

/* The driver's file is called with dashes, so that may be what was asked for. */
static bool choose_driver(struct binding *b, const char *wish)
{
	if (wish) {
		copy_name(b->driver, wish);
		if (strcmp(wish, "ism-vfio-pci") == 0)
			copy_name(b->driver, DRIVER_ISM);
		if (driver_loaded(b->sys, b->driver))
			return true;
		fprintf(stderr, "smcd-userctl: driver %s is not loaded: modprobe %s\n", b->driver,
			strcmp(b->driver, DRIVER_ISM) == 0 ? "ism-vfio-pci" : b->driver);
		return false;
	}
	copy_name(b->driver, DRIVER_ISM);
	if (is_ism(b) && driver_loaded(b->sys, DRIVER_ISM))
		return true;
	copy_name(b->driver, DRIVER_GENERIC);
	if (!driver_loaded(b->sys, DRIVER_GENERIC)) {
		fprintf(stderr, "smcd-userctl: no VFIO driver is loaded: modprobe ism-vfio-pci "
			"(Linux 7.1 and later), or vfio-pci on a kernel with the zPCI I/O "
			"region\n");
		return false;
	}
	if (is_ism(b))
		fprintf(stderr, "smcd-userctl: %s is taken; it serves ISM only on a kernel with the "
			"zPCI I/O region, else modprobe ism-vfio-pci and bind again\n",
			DRIVER_GENERIC);
	return true;
}

static bool check_before(struct binding *b, const char *wish, bool force)
{
	char text[BLOCKERS_MAX];
	unsigned int group;
	int r = read_state(b);

	if (r == -ENODEV) {
		fprintf(stderr, "smcd-userctl: %s: there is no such PCI function\n", b->bdf);
		return false;
	}
	if (r < 0) {
		failed(b, "sysfs", r);
		return false;
	}
	if (!force && !is_ism(b)) {
		fprintf(stderr, "smcd-userctl: %s is no ISM function (PCI 1014:04ed); --force binds "
			"it all the same\n", b->bdf);
		return false;
	}
	if (pci_group(b->sys, b->bdf, &group) < 0) {
		fprintf(stderr, "smcd-userctl: %s is in no IOMMU group: enable the machine's "
			"IOMMU (on x86: intel_iommu=on, and in the firmware)\n", b->bdf);
		return false;
	}
	if (pci_group_blockers(b->sys, group, b->bdf, text, sizeof(text)) > 0)
		fprintf(stderr, "smcd-userctl: %s: before it can be used, the other members of IOMMU "
			"group %u have to be unbound or bound to VFIO, too: %s\n", b->bdf, group,
			text);
	return choose_driver(b, wish);
}

static void report_bound(const struct binding *b)
{
	char cdev[PCI_NAME_LEN];
	unsigned int group;

	printf("%s: %s", b->bdf, b->driver);
	if (pci_group(b->sys, b->bdf, &group) == 0)
		printf(", IOMMU group %u (/dev/vfio/%u)", group, group);
	if (pci_cdev(b->sys, b->bdf, cdev) == 0)
		printf(", /dev/vfio/devices/%s", cdev);
	putchar('\n');
}

enum exit_status bind_function(const struct sys_ops *sys, const char *bdf, const char *driver,
	bool force)
{
	struct binding b = { .sys = sys, .bdf = bdf };
	char now[PCI_NAME_LEN] = "";
	int r;

	if (!check_before(&b, driver, force))
		return FAILED;
	if (strcmp(b.before, b.driver) == 0) {
		report_bound(&b);
		return OK;
	}
	r = set_override(&b, b.driver);
	if (r < 0)
		return failed(&b, "driver_override", r);
	r = release(&b);
	if (r == 0)
		r = probe(&b, now);
	if (r < 0 || strcmp(now, b.driver) != 0) {
		if (r < 0)
			failed(&b, "driver", r);
		else
			fprintf(stderr, "smcd-userctl: %s: %s did not take it; see the kernel's "
				"messages (dmesg)\n", bdf, b.driver);
		undo(&b);
		return FAILED;
	}
	report_bound(&b);
	return OK;
}

/* ---- unbind ---------------------------------------------------------------------------------- */

enum exit_status unbind_function(const struct sys_ops *sys, const char *bdf)
{
	struct binding b = { .sys = sys, .bdf = bdf };
	char now[PCI_NAME_LEN] = "";
	int r = read_state(&b);

	if (r < 0)
		return failed(&b, r == -ENODEV ? "no such PCI function" : "sysfs", r);
	if (b.before[0] && !pci_driver_is_vfio(b.before)) {
		fprintf(stderr, "smcd-userctl: %s is bound to %s, not to a driver of VFIO\n", bdf,
			b.before);
		return FAILED;
	}
	r = set_override(&b, "");
	if (r < 0)
		return failed(&b, "driver_override", r);
	r = release(&b);
	if (r == 0)
		r = probe(&b, now);
	if (r < 0) {
		failed(&b, "driver", r);
		undo(&b);
		return FAILED;
	}
	printf("%s: %s\n", bdf, now[0] ? now : "no driver");
	return OK;
}

/* ---- commands -------------------------------------------------------------------------------- */

/* The one word, a PCI address; NULL after a message. */
static const char *address(const struct ctl *ctl, const char *command)
{
	if (ctl->argc == 1 && pci_bdf_ok(ctl->argv[0]))
		return ctl->argv[0];
	if (ctl->argc == 1)
		fprintf(stderr, "smcd-userctl: '%s' is no PCI address; they look like "
			"0001:00:00.0\n", ctl->argv[0]);
	else
		fprintf(stderr, "smcd-userctl: %s needs one PCI address\n", command);
	return NULL;
}

static void prepare(const struct ctl *ctl)
{
	log_init("smcd-userctl", LOG_LEVEL_ERR);
	if (ctl->opt[OPT_ROOT])
		sys_host_root(ctl->opt[OPT_ROOT]);
}

enum exit_status bind_run(const struct ctl *ctl)
{
	const char *bdf = address(ctl, "bind");

	if (!bdf)
		return USAGE;
	prepare(ctl);
	return bind_function(&sys_host, bdf, ctl->opt[OPT_DRIVER], ctl->opt[OPT_FORCE]);
}

enum exit_status unbind_run(const struct ctl *ctl)
{
	const char *bdf = address(ctl, "unbind");

	if (!bdf)
		return USAGE;
	prepare(ctl);
	return unbind_function(&sys_host, bdf);
}
