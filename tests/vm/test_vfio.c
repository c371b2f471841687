/* SPDX-License-Identifier: MIT */
/*
 * In a guest: this project's VFIO code on a real kernel, with a device that QEMU emulates (card.h)
 *
 * usage: test_vm_vfio group|cdev BDF [SHARED]
 * BDF is bound to vfio-pci and has its IOMMU group for itself. SHARED is, too, but a function of its
 * group has a driver of the kernel. The tests build on one another; after the last one BDF is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "card.h"
#include "vfio/base/fd.h"
#include "vfio/open.h"
#include "vfio/zpci.h"

#define MIB    (UINT64_C(1) << 20)
#define GIB    (UINT64_C(1) << 30)
#define NOBODY 65534

static const char *bdf, *shared;
static enum vfio_way way;
static struct vfio_dev_info info;
static struct card card;
static struct vfio_device *dev;
static int arena_fd = -1;
static uint8_t *arena;
static unsigned int fds_before;

static int log_fd = -1, saved_stderr;
static char logged[4096];

/* ---- helpers --------------------------------------------------------------------------------- */

static void log_catch(void)
{
	fflush(stderr);
	memset(logged, 0, sizeof(logged));
	assert_int_equal(ftruncate(log_fd, 0), 0);
	lseek(log_fd, 0, SEEK_SET);
	dup2(log_fd, STDERR_FILENO);
}

static void log_release(void)
{
	dup2(saved_stderr, STDERR_FILENO);
	assert_true(pread(log_fd, logged, sizeof(logged) - 1, 0) >= 0);
}

static void logs(const char *cause, const char *remedy)
{
	if (!strstr(logged, cause) || !strstr(logged, remedy))
		fail_msg("'%s' and '%s' are not in: %s", cause, remedy, logged);
}

static int try_open(const char *function, struct vfio_device **ret)
{
	const struct vfio_open_params params = { .bdf = function, .way = way };

	return vfio_open(&params, ret);
}

static void refused(const char *function, int error, const char *cause, const char *remedy)
{
	struct vfio_device *d = NULL;
	int r;

	log_catch();
	r = try_open(function, &d);
	log_release();
	assert_int_equal(r, error);
	assert_null(d);
	logs(cause, remedy);
}

static void open_card(void)
{
	assert_int_equal(try_open(bdf, &dev), 0);
	assert_int_equal(dev->ops->get_info(dev, &info), 0);
	card_open(&card, dev);
}

static void close_card(void)
{
	dev = vfio_device_close(dev);
	assert_null(dev);
}

static void sysfs_write(const char *text, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void sysfs_write(const char *text, const char *fmt, ...)
{
	char path[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	if (pci_write_file(&sys_host, path, text) < 0)
		fail_msg("cannot write '%s' to %s", text, path);
}

static void bind_vfio(void)
{
	char driver[PCI_NAME_LEN];

	assert_int_equal(pci_driver(&sys_host, bdf, driver), 0);
	if (driver[0])
		sysfs_write(bdf, "/sys/bus/pci/drivers/%s/unbind", driver);
	sysfs_write("vfio-pci", "/sys/bus/pci/devices/%s/driver_override", bdf);
	sysfs_write(bdf, "/sys/bus/pci/drivers_probe");
	assert_int_equal(pci_driver(&sys_host, bdf, driver), 0);
	assert_string_equal(driver, "vfio-pci");
}

static void wait_for(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, CARD_PATIENCE_MS), 1);
}

static int count_fd(void *ctx, const char *name)
{
	++*(unsigned int *)ctx;
	return 0;
}

static unsigned int count_fds(void)
{
	unsigned int n = 0;

	assert_int_equal(sys_host.list("/proc/self/fd", count_fd, &n), 0);
	return n;
}

/* Runs @fn in a child; it returns NULL, or what went wrong. */
static void in_child(const char *(*fn)(void))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		const char *wrong = fn();

		if (wrong)
			dprintf(STDOUT_FILENO, "in the child: %s\n", wrong);
		_exit(wrong ? 1 : 0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- the device as it is --------------------------------------------------------------------- */

static void test_described(void **state)
{
	open_card();
	assert_int_equal(info.num_irqs, 5);
	assert_true(info.num_regions >= VFIO_DEV_REGION_FIXED);
	assert_in_range(card.config.size, 256, 4096);
	assert_string_equal(dev->ops->name, "vfio");
	if (info.has_zpci) {
		/* What QEMU says of a function: no real one has these limits. */
		assert_true(info.start_dma >= 4 * GIB);
		assert_true(info.end_dma > info.start_dma + 64 * MIB);
		assert_int_equal(info.pft, 0);
		assert_int_equal(info.pchid, 0);
		assert_int_not_equal(info.fh, 0);
		assert_int_equal(info.max_store, 128);
	}
#ifdef __s390x__
	assert_true(info.has_zpci);
#endif
	close_card();
}

/* The driver's own look at it: neither the region nor ism-vfio-pci's BARs, so no ISM function. */
static void test_no_ism(void **state)
{
	struct zpci *z = NULL;
	int r;

	assert_int_equal(try_open(bdf, &dev), 0);
	log_catch();
	r = zpci_open(dev, &z);
	dev = NULL;
	log_release();
	assert_int_equal(r, -ENOENT);
	assert_null(z);
	logs("", "ism_vfio_pci");
}

static void test_one_owner(void **state)
{
	open_card();
	refused(bdf, -EBUSY, "another process has", "stop it");
	close_card();
	open_card();
	close_card();
}

static void test_shared_group(void **state)
{
	if (!shared)
		skip();
	refused(shared, -EPERM, "other members in use", "virtio-pci");
}

/* ---- memory and interrupts ------------------------------------------------------------------- */

static void map_arena(uint64_t *iova)
{
	assert_int_equal(dev->ops->dma_map(dev, arena, CARD_ARENA, arena_fd, 0, iova), 0);
	assert_int_equal(*iova % CARD_ARENA, 0);
	assert_true(*iova > 0);
	if (info.has_zpci)
		assert_in_range(*iova, info.start_dma, info.end_dma - CARD_ARENA + 1);
}

static void test_dma(void **state)
{
	uint64_t first, second;

	open_card();
	map_arena(&first);
	card.ops->dma(&card, arena, first, -1);
	/* The same memory once more, at another address; then at that one alone. */
	map_arena(&second);
	assert_true(second != first);
	card.ops->dma(&card, arena, second, -1);
	assert_int_equal(dev->ops->dma_unmap(dev, first, CARD_ARENA), 0);
	card.ops->dma(&card, arena, second, -1);
	assert_int_equal(dev->ops->dma_unmap(dev, second, CARD_ARENA), 0);
	map_arena(&second);
	assert_int_equal(second, first);
	card.ops->dma(&card, arena, second, -1);
	close_card();
}

static void test_irq(void **state)
{
	int irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	eventfd_t n;
	uint64_t iova;

	open_card();
	map_arena(&iova);
	assert_int_equal(dev->ops->set_msi(dev, irq), 0);
	card.ops->dma(&card, arena, iova, irq);
	card.ops->dma(&card, arena, iova, irq);
	assert_int_equal(dev->ops->set_msi(dev, other), 0);
	card.ops->dma(&card, arena, iova, other);
	assert_int_equal(dev->ops->set_msi(dev, -1), 0);
	assert_int_equal(eventfd_read(irq, &n), -1);
	close_card();
	close(irq);
	close(other);
}

/*
 * A reset forgets what the device knew, and nothing that the kernel knows. QEMU's zPCI is not so: it
 * forgets its copy of the tables with the function, and sees only what is mapped afterwards.
 */
static void test_reset(void **state)
{
	int irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t iova, later;

	open_card();
	map_arena(&iova);
	assert_int_equal(dev->ops->set_msi(dev, irq), 0);
	assert_int_equal(dev->ops->reset(dev), 0);
	assert_int_equal(dev->ops->set_msi(dev, irq), 0);
	card_open(&card, dev);
	map_arena(&later);
	card.ops->dma(&card, arena, later, irq);
	if (!info.has_zpci)
		card.ops->dma(&card, arena, iova, irq);
	close_card();
	close(irq);
}

/* ---- an ordinary user ------------------------------------------------------------------------ */

static const char *as_nobody(void)
{
	const struct rlimit limit = { 256 * 1024, 256 * 1024 };

	if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		return "cannot become nobody";
	return NULL;
}

static const char *child_without_rights(void)
{
	const char *wrong = as_nobody();

	if (!wrong && try_open(bdf, &dev) != -EACCES)
		wrong = "opened a node that is root's";
	return wrong;
}

static const char *child_with_limit(void)
{
	const char *wrong = as_nobody();
	int fd = wrong ? -1 : fd_memfd("large", MIB);
	uint64_t iova, small;
	void *mem;
	int r;

	if (wrong)
		return wrong;
	mem = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || mem == MAP_FAILED)
		return "no memory";
	if (try_open(bdf, &dev) < 0)
		return "cannot open";
	r = dev->ops->dma_map(dev, mem, MIB, fd, 0, &iova);
	if (r != -ENOMEM)
		return "a map above the limit is not refused";
	if (dev->ops->dma_map(dev, mem, 128 * 1024, fd, 0, &small) < 0)
		return "a map within the limit is refused";
	vfio_device_close(dev);
	return NULL;
}

static void test_user(void **state)
{
	char group[64], cdev[PCI_NAME_LEN];
	const char *nodes[2] = { "/dev/iommu", cdev };
	char path[sizeof(cdev) + 32];
	unsigned int nr;

	log_catch();
	in_child(child_without_rights);
	log_release();
	logs("may not be opened by uid 65534", "group smcd-user");

	assert_int_equal(pci_group(&sys_host, bdf, &nr), 0);
	snprintf(group, sizeof(group), "/dev/vfio/%u", nr);
	if (way == VFIO_WAY_GROUP) {
		nodes[0] = "/dev/vfio/vfio";
		nodes[1] = group;
	} else {
		assert_int_equal(pci_cdev(&sys_host, bdf, cdev), 0);
		snprintf(path, sizeof(path), "/dev/vfio/devices/%s", cdev);
		nodes[1] = path;
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(chown(nodes[i], NOBODY, NOBODY), 0);
	log_catch();
	in_child(child_with_limit);
	log_release();
	logs("RLIMIT_MEMLOCK is 256 KiB", "LimitMEMLOCK=");
}

/* ---- when it goes wrong ---------------------------------------------------------------------- */

/* The kernel learns of an error in its own time, too, and has the function locked meanwhile. */
static void wait_for_kernel(const struct timespec *pause)
{
	struct vfio_device *d = NULL;
	int r;

	nanosleep(pause, NULL);
	log_catch();
	for (int i = 0; (r = try_open(bdf, &d)) == -EAGAIN && i < CARD_PATIENCE_MS / 200; i++)
		nanosleep(pause, NULL);
	log_release();
	vfio_device_close(d);
	assert_int_equal(r, -ENODEV);
}

/*
 * x86: the IOMMU drops such a write and the device goes on. s390x: the function is in error state;
 * the kernel hands it out no more until an administrator has recovered it.
 */
static void test_stray(void **state)
{
	const struct timespec pause = { .tv_nsec = 200 * 1000 * 1000 };
	uint64_t iova, nowhere;

	open_card();
	map_arena(&iova);
	nowhere = iova + 16 * MIB;
	card.ops->stray(&card, arena, iova, nowhere);
	if (card.ops->forgives) {
		nanosleep(&pause, NULL);
		card.ops->dma(&card, arena, iova, -1);
		close_card();
		return;
	}
	/* The device does it in its own time, which a busy host may make long. */
	for (int i = 0; card_read(&card, &card.bar, card.common, 4) != UINT32_MAX; i++) {
		assert_true(i < CARD_PATIENCE_MS / 200);
		nanosleep(&pause, NULL);
	}
	close_card();
	wait_for_kernel(&pause);
	refused(bdf, -ENODEV, "in error state", "recover");
	sysfs_write("1", "/sys/bus/pci/devices/%s/recover", bdf);
	/* It is a new device to the kernel, which gives it to its own driver. */
	refused(bdf, -EADDRINUSE, "bound to virtio-pci", "smcd-userctl bind");
	bind_vfio();
	open_card();
	map_arena(&iova);
	card.ops->dma(&card, arena, iova, -1);
	close_card();
}

static pid_t unbind_begin(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int fd = open("/sys/bus/pci/drivers/vfio-pci/unbind", O_WRONLY | O_CLOEXEC);
		size_t len = strlen(bdf);

		close_range(3, fd - 1, 0);
		close_range(fd + 1, ~0u, 0);
		_exit(write(fd, bdf, len) == (ssize_t)len ? 0 : 1);
	}
	assert_true(pid > 0);
	return pid;
}

static void dead_now(uint64_t iova)
{
	uint8_t b[4];

	assert_int_equal(dev->ops->check(dev), -ENODEV);
	assert_int_equal(dev->ops->region_read(dev, &card.bar, 0, b, 4), -ENODEV);
	assert_int_equal(dev->ops->dma_unmap(dev, iova, CARD_ARENA), -ENODEV);
	assert_int_equal(dev->ops->reset(dev), -ENODEV);
}

/* Whoever unbinds waits for us, is told of by the kernel at once, and goes on when we have closed. */
static void test_unbind(void **state)
{
	uint64_t iova;
	int status;
	pid_t pid;

	open_card();
	map_arena(&iova);
	assert_int_equal(dev->ops->check(dev), 0);
	pid = unbind_begin();
	wait_for(dev->ops->liveness_fd(dev));
	log_catch();
	dead_now(iova);
	log_release();
	logs("wants the function back", bdf);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	close_card();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	refused(bdf, -ENODEV, "no driver has the function", "smcd-userctl bind");
	bind_vfio();
	open_card();
	map_arena(&iova);
	card.ops->dma(&card, arena, iova, -1);
	close_card();
}

/* The host takes the device out of the machine. */
static void test_unplug(void **state)
{
	const struct timespec pause = { .tv_nsec = 100 * 1000 * 1000 };
	char path[128];
	uint64_t iova;

	open_card();
	map_arena(&iova);
	puts("\nHOST: device_del card0");
	fflush(stdout);
	wait_for(dev->ops->liveness_fd(dev));
	dead_now(iova);
	close_card();
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", bdf);
	for (int i = 0; access(path, F_OK) == 0; i++) {
		assert_true(i < CARD_PATIENCE_MS / 100);
		nanosleep(&pause, NULL);
	}
	refused(bdf, -ENODEV, "no such PCI function", "lspci");
}

static void test_nothing_left(void **state)
{
	assert_int_equal(count_fds(), fds_before);
}

/* ---------------------------------------------------------------------------------------------- */

static int setup(void **state)
{
	log_fd = memfd_create("log", MFD_CLOEXEC);
	saved_stderr = dup(STDERR_FILENO);
	arena_fd = fd_memfd("arena", CARD_ARENA);
	if (log_fd < 0 || saved_stderr < 0 || arena_fd < 0)
		return -1;
	arena = mmap(NULL, CARD_ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, arena_fd, 0);
	fds_before = count_fds();
	return arena == MAP_FAILED ? -1 : 0;
}

/* What a test that failed has left open must not make the next ones fail. */
static int clean(void **state)
{
	dup2(saved_stderr, STDERR_FILENO);
	dev = vfio_device_close(dev);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_described, clean),
		cmocka_unit_test_teardown(test_no_ism, clean),
		cmocka_unit_test_teardown(test_one_owner, clean),
		cmocka_unit_test_teardown(test_shared_group, clean),
		cmocka_unit_test_teardown(test_dma, clean),
		cmocka_unit_test_teardown(test_irq, clean),
		cmocka_unit_test_teardown(test_reset, clean),
		cmocka_unit_test_teardown(test_user, clean),
		cmocka_unit_test_teardown(test_stray, clean),
		cmocka_unit_test_teardown(test_unbind, clean),
		cmocka_unit_test_teardown(test_unplug, clean),
		cmocka_unit_test_teardown(test_nothing_left, clean),
	};

	if (argc < 3 || argc > 4)
		return 2;
	way = strcmp(argv[1], "cdev") == 0 ? VFIO_WAY_CDEV : VFIO_WAY_GROUP;
	bdf = argv[2];
	shared = argv[3];
	return cmocka_run_group_tests(tests, setup, NULL);
}
