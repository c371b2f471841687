/* SPDX-License-Identifier: MIT */
/* bind and unbind: what is refused before anything is written, and that a failed step is undone. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "machine.h"
#include "smcd/ctl/tools.h"

#define ISM "0001:00:00.0"

static char said[2048]; /* on standard error */
static int saved_stderr;
static FILE *captured;

static int setup(void **state)
{
	machine_make();
	sys_host_root(machine_root);
	return 0;
}

static int teardown(void **state)
{
	machine_remove();
	return 0;
}

static void capture(void)
{
	captured = tmpfile();
	assert_non_null(captured);
	fflush(stderr);
	saved_stderr = dup(STDERR_FILENO);
	dup2(fileno(captured), STDERR_FILENO);
}

static void release(void)
{
	size_t n;

	fflush(stderr);
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	rewind(captured);
	n = fread(said, 1, sizeof(said) - 1, captured);
	said[n] = '\0';
	fclose(captured);
}

static enum exit_status do_bind(const char *bdf, const char *driver, bool force)
{
	enum exit_status r;

	capture();
	r = bind_function(&machine_sys, bdf, driver, force);
	release();
	return r;
}

static enum exit_status do_unbind(const char *bdf)
{
	enum exit_status r;

	capture();
	r = unbind_function(&machine_sys, bdf);
	release();
	return r;
}

static void says(const char *what)
{
	if (!strstr(said, what))
		fail_msg("'%s' is not in: %s", what, said);
}

static void make_ism(const char *driver, int group)
{
	machine_function(ISM, "0x1014\n", "0x04ed\n", driver, group);
}

static void remove_driver(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/sys/bus/pci/drivers/%s/unbind", machine_root, name);
	assert_int_equal(unlink(path), 0);
	*strrchr(path, '/') = '\0';
	assert_int_equal(rmdir(path), 0);
}

static void test_there_and_back(void **state)
{
	make_ism("ism", 3);
	assert_int_equal(do_bind(ISM, NULL, false), OK);
	assert_string_equal(machine_driver(ISM), "ism_vfio_pci");
	assert_int_equal(machine_writes, 3);
	assert_int_equal(do_bind(ISM, NULL, false), OK); /* it is already */
	assert_int_equal(machine_writes, 3);
	assert_int_equal(do_unbind(ISM), OK);
	assert_string_equal(machine_driver(ISM), "ism");
	assert_int_equal(do_unbind(ISM), FAILED);
	says("bound to ism");
}

static void test_without_driver(void **state)
{
	make_ism("", 3);
	assert_int_equal(do_bind(ISM, NULL, false), OK);
	assert_string_equal(machine_driver(ISM), "ism_vfio_pci");
	machine_refuses = "ism"; /* not loaded, say */
	assert_int_equal(do_unbind(ISM), OK);
	assert_string_equal(machine_driver(ISM), "");
}

static void test_choice(void **state)
{
	make_ism("ism", 3);
	assert_int_equal(do_bind(ISM, "ism-vfio-pci", false), OK);
	assert_string_equal(machine_driver(ISM), "ism_vfio_pci");
	assert_int_equal(do_bind(ISM, "vfio-pci", false), OK);
	assert_string_equal(machine_driver(ISM), "vfio-pci");
	assert_int_equal(do_unbind(ISM), OK);
	remove_driver("ism_vfio_pci");
	assert_int_equal(do_bind(ISM, "ism_vfio_pci", false), FAILED);
	says("modprobe ism-vfio-pci");
	assert_int_equal(do_bind(ISM, NULL, false), OK);
	says("zPCI I/O region");
	assert_string_equal(machine_driver(ISM), "vfio-pci");
	assert_int_equal(do_unbind(ISM), OK);
	remove_driver("vfio-pci");
	assert_int_equal(do_bind(ISM, NULL, false), FAILED);
	says("modprobe ism-vfio-pci");
}

/* Nothing is written. */
static void test_refused(void **state)
{
	machine_function("0000:00:02.0", "0x8086\n", "0x10d3\n", "e1000e", 5);
	make_ism("ism", -1);
	assert_int_equal(do_bind("0007:00:00.0", NULL, false), FAILED);
	says("no such PCI function");
	assert_int_equal(do_bind("0000:00:02.0", NULL, false), FAILED);
	says("no ISM function");
	assert_int_equal(do_bind(ISM, NULL, false), FAILED);
	says("IOMMU group");
	assert_int_equal(do_unbind("0000:00:02.0"), FAILED);
	assert_int_equal(do_unbind("0007:00:00.0"), FAILED);
	says("no such PCI function");
	assert_int_equal(machine_writes, 0);
	assert_int_equal(do_bind("0000:00:02.0", NULL, true), OK);
	assert_string_equal(machine_driver("0000:00:02.0"), "vfio-pci");
}

static void test_group(void **state)
{
	machine_function("0000:00:02.0", "0x8086\n", "0x10d3\n", "e1000e", 3);
	make_ism("ism", 3);
	assert_int_equal(do_bind(ISM, NULL, false), OK);
	says("0000:00:02.0 (e1000e)");
}

/* The driver does not take it, or a write fails: as it was before. */
static void test_undo(void **state)
{
	make_ism("ism", 3);
	machine_refuses = "ism_vfio_pci";
	assert_int_equal(do_bind(ISM, NULL, false), FAILED);
	says("did not take it");
	says("undone; its driver is ism");
	assert_string_equal(machine_driver(ISM), "ism");
	machine_refuses = NULL;
	for (int i = 1; i <= 3; i++) {
		machine_writes = 0;
		machine_fail_write = i;
		machine_fail_errno = i == 1 ? EACCES : EIO;
		assert_int_equal(do_bind(ISM, NULL, false), FAILED);
		says(i == 1 ? "run this as root" : "undone; its driver is ism");
		assert_string_equal(machine_driver(ISM), "ism");
	}
	machine_fail_write = 0;
	assert_int_equal(do_bind(ISM, NULL, false), OK);
	for (int i = 1; i <= 3; i++) {
		machine_writes = 0;
		machine_fail_write = i;
		assert_int_equal(do_unbind(ISM), FAILED);
		assert_string_equal(machine_driver(ISM), "ism_vfio_pci");
	}
	machine_fail_write = 0;
	assert_int_equal(do_unbind(ISM), OK);
	assert_string_equal(machine_driver(ISM), "ism");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_there_and_back),
		T(test_without_driver),
		T(test_choice),
		T(test_refused),
		T(test_group),
		T(test_undo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
