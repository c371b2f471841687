/* SPDX-License-Identifier: MIT */
/* check: each finding with its remedy, on machines made of files. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "ism_double.h"
#include "machine.h"
#include "smcd/ctl/check.h"
#include "smcd/ctl/tools.h"

#define ISM "0001:00:00.0"

static char *words[4];
static struct ctl ctl;
static char said[16384]; /* on standard output */

/* In the order of check_options. */
enum { OPT_USER, OPT_ROOT };

static int setup(void **state)
{
	machine_make();
	ctl = (struct ctl){ .json = true, .argv = words };
	ctl.opt[OPT_ROOT] = machine_root;
	ctl.opt[OPT_USER] = "nobody";
	machine_file("/proc/sys/kernel/io_uring_disabled", "0\n", 0444);
	return 0;
}

static int teardown(void **state)
{
	machine_remove();
	return 0;
}

static enum exit_status run(void)
{
	FILE *out = tmpfile();
	enum exit_status r;
	int saved;
	size_t n;

	assert_non_null(out);
	fflush(stdout);
	saved = dup(STDOUT_FILENO);
	dup2(fileno(out), STDOUT_FILENO);
	r = check_run(&ctl);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	rewind(out);
	n = fread(said, 1, sizeof(said) - 1, out);
	said[n] = '\0';
	fclose(out);
	return r;
}

static const char *member(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : "";
}

/* There is a finding about @about's @topic with this verdict, and it and its remedy say so. */
static void found(const char *about, const char *topic, const char *verdict, const char *finding,
	const char *remedy)
{
	struct json_object *root = json_tokener_parse(said), *list;
	bool any = false;

	assert_true(json_object_object_get_ex(root, "findings", &list));
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		if (strcmp(member(o, "about"), about) != 0 || strcmp(member(o, "topic"), topic) != 0)
			continue;
		any = true;
		assert_string_equal(member(o, "verdict"), verdict);
		if (!strstr(member(o, "finding"), finding) || !strstr(member(o, "remedy"), remedy))
			fail_msg("'%s' and '%s' are not in: %s", finding, remedy,
				json_object_to_json_string(o));
	}
	json_object_put(root);
	if (!any)
		fail_msg("nothing about %s's %s in %s", about, topic, said);
}

/* The kernel has groups. */
static void groups(void)
{
	machine_file("/sys/class/vfio/3/dev", "", 0444);
	machine_file("/sys/class/vfio/4/dev", "", 0444);
}

static void nodes(unsigned int mode)
{
	groups();
	machine_file("/dev/vfio/vfio", "", 0666);
	machine_file("/dev/vfio/3", "", mode);
}

static void cdevs(unsigned int mode)
{
	machine_file("/sys/bus/pci/devices/" ISM "/vfio-dev/vfio7/dev", "", 0444);
	machine_file("/dev/vfio/devices/vfio7", "", mode);
	machine_file("/dev/iommu", "", mode);
}

static void make_ism(const char *driver, int group)
{
	machine_function(ISM, "0x1014\n", "0x04ed\n", driver, group);
}

static void test_nothing(void **state)
{
	assert_int_equal(run(), FAILED);
	found("machine", "functions", "bad", "no ISM function", "ism-fabricd");
	machine_function("0000:00:02.0", "0x8086\n", "0x10d3\n", "e1000e", 5);
	assert_int_equal(run(), FAILED);
	found("machine", "functions", "bad", "no ISM function", "ism-fabricd");
	words[0] = (char *)(uintptr_t)"0007:00:00.0";
	ctl.argc = 1;
	assert_int_equal(run(), FAILED);
	found("0007:00:00.0", "function", "bad", "no such PCI function", "lspci");
	words[0] = (char *)(uintptr_t)"0000:00:02.0";
	assert_int_equal(run(), FAILED);
	found("0000:00:02.0", "identity", "bad", "8086:10d3", "1014:04ed");
	words[0] = (char *)(uintptr_t)"nonsense";
	assert_int_equal(run(), USAGE);
	ctl.argc = 0;
	ctl.opt[OPT_USER] = "no.such.user";
	assert_int_equal(run(), USAGE);
}

static void test_driver(void **state)
{
	make_ism("ism", 3);
	assert_int_equal(run(), FAILED);
	found(ISM, "driver", "bad", "ism", "smcd-userctl bind " ISM);
	found(ISM, "identity", "ok", "1014:04ed", "");
	found(ISM, "iommu", "ok", "group 3", "");
	machine_unlink("/sys/bus/pci/devices/" ISM "/driver");
	assert_int_equal(run(), FAILED);
	found(ISM, "driver", "bad", "none", "smcd-userctl bind " ISM);
}

static void test_no_iommu(void **state)
{
	make_ism("ism_vfio_pci", -1);
	assert_int_equal(run(), FAILED);
	found(ISM, "driver", "ok", "ism_vfio_pci", "");
	found(ISM, "iommu", "bad", "no IOMMU group", "intel_iommu=on");
}

static void test_not_viable(void **state)
{
	make_ism("ism_vfio_pci", 3);
	machine_function("0000:00:02.0", "0x8086\n", "0x10d3\n", "e1000e", 3);
	nodes(0666);
	assert_int_equal(run(), FAILED);
	found(ISM, "iommu", "bad", "0000:00:02.0 (e1000e)", "unbind");
}

static void test_ways(void **state)
{
	make_ism("ism_vfio_pci", 3);
	assert_int_equal(run(), FAILED); /* no way at all */
	found(ISM, "group", "bad", "without CONFIG_VFIO_GROUP", "other way");
	found(ISM, "cdev", "bad", "without CONFIG_VFIO_DEVICE_CDEV", "other way");
	groups();
	assert_int_equal(run(), FAILED);
	found(ISM, "group", "bad", "no /dev/vfio/3", "udev");
	found(ISM, "cdev", "note", "without CONFIG_VFIO_DEVICE_CDEV", "none is needed");
	/* Since 6.1 the device is listed all the same. */
	machine_file("/sys/bus/pci/devices/" ISM "/vfio-dev/vfio7/uevent", "", 0444);
	assert_int_equal(run(), FAILED);
	found(ISM, "cdev", "note", "without CONFIG_VFIO_DEVICE_CDEV", "none is needed");
	machine_file("/dev/vfio/3", "", 0666);
	assert_int_equal(run(), FAILED);
	found(ISM, "group", "bad", "no /dev/vfio/vfio", "modprobe vfio_iommu_type1");
	nodes(0600);
	assert_int_equal(run(), FAILED);
	found(ISM, "group", "bad", "nobody may not open /dev/vfio/3", "udev");
	machine_file("/sys/bus/pci/devices/" ISM "/vfio-dev/vfio7/dev", "", 0444);
	assert_int_equal(run(), FAILED);
	found(ISM, "cdev", "bad", "no /dev/vfio/devices/vfio7", "udev");
	cdevs(0600);
	assert_int_equal(run(), FAILED);
	found(ISM, "cdev", "bad", "nobody may not open /dev/vfio/devices/vfio7", "udev");
	cdevs(0666); /* one way is enough */
	assert_int_equal(run(), OK);
	found(ISM, "cdev", "ok", "/dev/vfio/devices/vfio7 and /dev/iommu", "");
	found(ISM, "group", "note", "nobody may not open /dev/vfio/3", "udev");
	nodes(0666);
	assert_int_equal(run(), OK);
	found(ISM, "group", "ok", "/dev/vfio/3 and /dev/vfio/vfio", "");
	machine_unlink("/dev/iommu");
	assert_int_equal(run(), OK);
	found(ISM, "cdev", "note", "no /dev/iommu", "modprobe iommufd");
	ctl.opt[OPT_USER] = "root"; /* may everything */
	nodes(0);
	assert_int_equal(run(), OK);
	found(ISM, "group", "ok", "as user root", "");
}

static void test_transport(void **state)
{
	make_ism("ism_vfio_pci", 3);
	nodes(0666);
	assert_int_equal(run(), OK);
	found(ISM, "transport", "ok", "to be expected of ism_vfio_pci: BARs", "");
	machine_unlink("/sys/bus/pci/devices/" ISM "/driver");
	machine_function("0002:00:00.0", "0x1014\n", "0x04ed\n", "vfio-pci", 4);
	groups();
	machine_file("/dev/vfio/4", "", 0666);
	assert_int_equal(run(), FAILED); /* because of the other */
	found("0002:00:00.0", "transport", "warn", "zPCI I/O region", "--open");
}

/* What opening finds, on functions of a kernel's double; the nodes are files of the machine. */
static void open_double(enum ism_double_kind kind, const char *driver, const struct ism_double_host *host)
{
	const struct ism_double_params params = { .kind = kind, .functions = 1 };
	struct check c = { .sys = &ism_double_sys, .root = machine_root, .open = true,
		.user = "root", .findings = json_object_new_array() };
	struct json_object *root = json_object_new_object();
	struct fabric *f;
	int err = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	assert_int_equal(ism_double_start(&params, &f), 0);
	*ism_double_host() = *host;
	ism_double_host()->driver = driver;
	machine_file("/dev/vfio/vfio", "", 0666);
	machine_file("/dev/vfio/10", "", 0666);
	dup2(null, STDERR_FILENO);
	check_function(&c, ISM);
	dup2(err, STDERR_FILENO);
	close(err);
	close(null);
	assert_int_equal(ism_double_stop(), 0);
	json_object_object_add(root, "findings", c.findings);
	snprintf(said, sizeof(said), "%s", json_object_to_json_string(root));
	json_object_put(root);
}

static void test_open(void **state)
{
	static const struct ism_double_host plain, taken = { .taken = true },
		not_viable = { .mate = "e1000e" };

	/* Whatever the drivers' names promise. */
	open_double(ISM_DOUBLE_REGION, "vfio-pci", &plain);
	found(ISM, "transport", "ok", "found: the zPCI I/O region", "");
	found(ISM, "open", "ok", "stores of up to 4096", "");
	open_double(ISM_DOUBLE_REGION, "ism_vfio_pci", &plain);
	found(ISM, "transport", "ok", "found: the zPCI I/O region", "");
	open_double(ISM_DOUBLE_BARS, "some_vfio", &plain);
	found(ISM, "transport", "ok", "found: BARs", "");
	open_double(ISM_DOUBLE_PLAIN, "ism_vfio_pci", &plain);
	found(ISM, "transport", "bad", "neither", "smcd-userctl bind");
	open_double(ISM_DOUBLE_BARS, NULL, &taken);
	found(ISM, "open", "note", "somebody has it open", "stop");
	found(ISM, "transport", "ok", "to be expected", "");
	open_double(ISM_DOUBLE_BARS, NULL, &not_viable);
	found(ISM, "open", "bad", "not permitted", "message above");
	found(ISM, "iommu", "bad", "0009:00:00.0 (e1000e)", "unbind");
}

static void hugepages(const char *release, const char *now, const char *verdict, const char *text,
	const char *remedy)
{
	machine_file("/proc/sys/kernel/osrelease", release, 0644);
	machine_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", now, 0644);
	assert_int_equal(run(), OK);
	found("machine", "hugepages", verdict, text, remedy);
}

static void test_machine(void **state)
{
	make_ism("ism_vfio_pci", 3);
	nodes(0666);
	assert_int_equal(run(), OK);
	found("machine", "io_uring", "ok", "allowed", "");
	found("machine", "hugepages", "note", "none for shared memory", "");
	machine_file("/proc/sys/kernel/io_uring_disabled", "2\n", 0444);
	assert_int_equal(run(), OK);
	found("machine", "io_uring", "note", "epoll", "io_uring_disabled=0");
	machine_file("/proc/sys/kernel/io_uring_disabled", "1\n", 0644);
	assert_int_equal(run(), OK);
	found("machine", "io_uring", "note", "one group", "io_uring_group");
	hugepages("6.1.0-56-amd64\n", "always within_size advise [never] deny force\n", "note",
		"takes Linux 6.14", "");
	hugepages("6.13.12\n", "always [within_size] advise never deny force\n", "note",
		"takes Linux 6.14", "");
	hugepages("6.12.95\n", "[always] within_size advise never deny force\n", "note",
		"each buffer takes 2 MiB", "echo never");
	hugepages("6.14.0\n", "always within_size [advise] never deny force\n", "note",
		"not for buffers: advise", "echo within_size");
	hugepages("6.18.1\n", "always [within_size] advise never deny force\n", "ok",
		"for buffers: within_size", "");
	hugepages("7.0.0\n", "[always] within_size advise never deny force\n", "ok",
		"for buffers: always", "");
}

static void test_text(void **state)
{
	make_ism("ism", 3);
	ctl.json = false;
	assert_int_equal(run(), FAILED);
	assert_non_null(strstr(said, "bad   " ISM ": driver: ism, not one of VFIO\n"
		"      smcd-userctl bind " ISM));
	assert_non_null(strstr(said, "ok    machine: io_uring: allowed\n"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_nothing),
		T(test_driver),
		T(test_no_iommu),
		T(test_not_viable),
		T(test_ways),
		T(test_transport),
		T(test_open),
		T(test_machine),
		T(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
