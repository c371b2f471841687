/* SPDX-License-Identifier: MIT */
/*
 * ism-fabricd as a process, driven by the project's own vfio-user client. argv[1] is the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "ism/proto.h"
#include "vfio/base/fd.h"
#include "vfio/device.h"
#include "vfio/user/client.h"
#include "vfio/user/proto.h"
#include "vfio/zpci.h"

#define MEM_SIZE 0x10000u
#define SBA_AT	 0x0000u
#define IEQ_AT	 0x1000u
#define BUF_AT	 0x2000u
#define DMB_AT	 0x4000u
#define DMB_SIZE 0x4000u
#define PATIENT	 20000 /* ms; only a broken test ever waits so long */

static const char *program;

struct daemon {
	char base[64];
	char dir[80];
	pid_t pid;
};

struct driver {
	struct zpci *z;
	uint8_t *mem;
	int fd;
	uint64_t iova;
	uint64_t gid;
};

static void execv_wrapped(const char *const args[])
{
	const char *sh[16] = { "sh", "-c", "exec $MESON_EXE_WRAPPER \"$@\"", "sh" };
	size_t n = 4;

	while (*args && n < 15)
		sh[n++] = *args++;
	execv("/bin/sh", (char *const *)(uintptr_t)sh);
}

/* Runs the program with @args; its output goes to *out. */
static pid_t spawn(const char *const args[], int *out)
{
	int p[2];
	pid_t pid;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		int null = open("/dev/null", O_WRONLY);

		dup2(p[1], STDOUT_FILENO);
		if (!getenv("VERBOSE"))
			dup2(null, STDERR_FILENO);
		/* a cross build runs its programs through an emulator */
		if (getenv("MESON_EXE_WRAPPER"))
			execv_wrapped(args);
		execv(program, (char *const *)(uintptr_t)args);
		_exit(127);
	}
	close(p[1]);
	*out = p[0];
	return pid;
}

static int finish(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/* Everything the program printed, up to @size - 1 bytes. */
static void slurp(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	close(fd);
}

static int command(struct daemon *d, const char *line, char *out, size_t size)
{
	const char *args[] = { program, "--dir", d->dir, "--command", line, NULL };
	int fd;
	pid_t pid = spawn(args, &fd);

	slurp(fd, out, size);
	return finish(pid);
}

static void say(struct daemon *d, const char *line)
{
	char out[4096];

	assert_int_equal(command(d, line, out, sizeof(out)), 0);
}

static void start(struct daemon *d)
{
	const char *args[] = { program, "--functions", "2", "--dir", d->dir, NULL };
	char line[160], want[160];
	size_t len = 0;
	int fd;

	d->pid = spawn(args, &fd);
	while (len < sizeof(line) - 1 && read(fd, line + len, 1) == 1 && line[len] != '\n')
		len++;
	line[len] = '\0';
	close(fd);
	snprintf(want, sizeof(want), "ism-fabricd: ready: 2 functions, CHID 0x1d15, %s", d->dir);
	assert_string_equal(line, want);
}

static int setup(void **state)
{
	static struct daemon the_daemon;
	struct daemon *d = &the_daemon;

	snprintf(d->base, sizeof(d->base), "/tmp/test-fabricd.XXXXXX");
	if (!mkdtemp(d->base))
		return -1;
	snprintf(d->dir, sizeof(d->dir), "%.63s/f", d->base);
	start(d);
	*state = d;
	return 0;
}

/* The fabric ends with status 0 and leaves its directory empty. */
static int teardown(void **state)
{
	struct daemon *d = *state;
	int r = -1;

	kill(d->pid, SIGTERM);
	if (finish(d->pid) == 0 && rmdir(d->dir) == 0 && rmdir(d->base) == 0)
		r = 0;
	return r;
}

static int open_device(struct daemon *d, unsigned int nr, struct vfio_device **dev)
{
	char path[108];
	struct vu_client_params params = { .path = path, .timeout_ms = PATIENT };

	snprintf(path, sizeof(path), "%s/ism%u.sock", d->dir, nr);
	return vu_client_open(&params, dev);
}

static uint16_t cmd(struct driver *v, const void *req, uint16_t len, uint8_t *reply, uint16_t cap)
{
	uint8_t *buf = v->mem + BUF_AT;
	uint16_t at;

	memcpy(buf, req, len);
	if (len > 8)
		assert_int_equal(
			zpci_store_block(v->z, 2, 8, buf + 8, (uint16_t)(len - 8)), 0);
	assert_int_equal(zpci_store_block(v->z, 2, 0, buf, 8), 0);
	assert_int_equal(zpci_load(v->z, 2, 0, reply, 8), 0);
	for (at = 8; at < cap && !load_be16(reply + 4); at = (uint16_t)(at + 8))
		assert_int_equal(zpci_load(v->z, 2, at, reply + at, 8), 0);
	return load_be16(reply + 4);
}

static void driver_start(struct daemon *d, unsigned int nr, struct driver *v)
{
	struct ism_req_reg_sba sba = { .hdr = { be32_of(ISM_REG_SBA), 0, be16_of(16) } };
	struct ism_req_reg_ieq ieq = { .hdr = { be32_of(ISM_REG_IEQ), 0, be16_of(24) } };
	struct ism_req_simple gid = { .hdr = { be32_of(ISM_READ_GID), 0, be16_of(8) } };
	struct vfio_device *dev;
	uint8_t reply[16];

	assert_int_equal(open_device(d, nr, &dev), 0);
	assert_int_equal(zpci_open(dev, &v->z), 0);
	v->fd = fd_memfd("test", MEM_SIZE);
	v->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	assert_ptr_not_equal(v->mem, MAP_FAILED);
	assert_int_equal(zpci_dma_map(v->z, v->mem, MEM_SIZE, v->fd, 0, &v->iova), 0);
	sba.sba = be64_of(v->iova + SBA_AT);
	ieq.ieq = be64_of(v->iova + IEQ_AT);
	ieq.len = be64_of(512);
	assert_int_equal(cmd(v, &sba, 16, reply, 8), 0);
	assert_int_equal(cmd(v, &ieq, 24, reply, 8), 0);
	assert_int_equal(cmd(v, &gid, 8, reply, 16), 0);
	v->gid = load_be64(reply + 8);
	assert_int_equal(v->gid, UINT64_C(0x1d15000000000001) + nr);
}

static void driver_end(struct driver *v)
{
	v->z = zpci_close(v->z);
	munmap(v->mem, MEM_SIZE);
	close(v->fd);
}

static uint64_t driver_dmb(struct driver *v, uint64_t rgid)
{
	struct ism_req_reg_dmb req = {
		.hdr = { be32_of(ISM_REG_DMB), 0, be16_of(40) },
		.dmb = be64_of(v->iova + DMB_AT),
		.dmb_len = be32_of(DMB_SIZE),
		.sba_idx = be32_of(32),
		.rgid = be64_of(rgid),
	};
	uint8_t reply[16];

	assert_int_equal(cmd(v, &req, 40, reply, 16), 0);
	return load_be64(reply + 8);
}

static void test_region_path(void **state)
{
	struct daemon *d = *state;
	struct driver a, b;
	uint64_t token, count;
	int irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	char *out = malloc(65536);

	driver_start(d, 0, &a);
	driver_start(d, 1, &b);
	assert_int_equal(zpci_caps(a.z)->info.pft, 5);
	assert_int_equal(zpci_caps(a.z)->info.pchid, 0x1d15);
	assert_int_equal(zpci_caps(a.z)->max_store, 4096);
	assert_int_equal(zpci_caps(a.z)->vendor, 0x1014);
	assert_int_equal(zpci_caps(a.z)->device, 0x04ed);

	assert_int_equal(zpci_set_msi(a.z, irq), 0);
	token = driver_dmb(&a, b.gid);
	memcpy(b.mem + BUF_AT, "hello over the fabric", 22);
	assert_int_equal(zpci_store_block(b.z, 0, token | 3, b.mem + BUF_AT, 22), 0);
	assert_memory_equal(a.mem + DMB_AT + 3, "hello over the fabric", 22);
	assert_int_equal(a.mem[SBA_AT], 0);
	assert_int_equal(zpci_store_block(b.z, 0, token | ISM_MOVE_SF, b.mem + BUF_AT, 1), 0);
	assert_int_equal(a.mem[SBA_AT], ISM_SBA_S);
	assert_int_equal(a.mem[SBA_AT + 8], 0x80);
	assert_int_equal(read(irq, &count, sizeof(count)), sizeof(count));
	assert_int_equal(zpci_store_block(b.z, 0, (token | DMB_SIZE), b.mem + BUF_AT, 1), -EIO);

	assert_int_equal(command(d, "show", out, 65536), 0);
	assert_non_null(strstr(out, "\"connected\":true"));
	assert_non_null(strstr(out, "\"len\":16384"));
	assert_non_null(strstr(out, "\"moves\":2"));
	free(out);
	driver_end(&b);
	driver_end(&a);
	close(irq);
}

/* What QEMU's client does: BARs directly, one message per instruction. */
static void test_bar_path(void **state)
{
	struct daemon *d = *state;
	struct vfio_region_desc bar0, bar2, config;
	uint8_t gid[8] = { 0, 0, 0, 3, 0, 0, 0, 8 }, buf[256];
	struct vfio_device *dev;

	assert_int_equal(open_device(d, 0, &dev), 0);
	assert_int_equal(dev->ops->get_region(dev, 0, &bar0), 0);
	assert_int_equal(dev->ops->get_region(dev, 2, &bar2), 0);
	assert_int_equal(dev->ops->get_region(dev, 7, &config), 0);
	assert_true(bar0.size == UINT64_C(1) << 48);
	assert_int_equal(bar2.size, 4096);
	assert_int_equal(dev->ops->region_read(dev, &config, 0, buf, 256), 256);
	assert_int_equal(buf[0] | buf[1] << 8, 0x1014);
	assert_int_equal(dev->ops->region_write(dev, &bar2, 0, gid, 8), 8);
	assert_int_equal(dev->ops->region_read(dev, &bar2, 8, buf, 8), 8);
	assert_true(load_be64(buf) == UINT64_C(0x1d15000000000001));
	assert_int_equal(dev->ops->region_read(dev, &bar2, 0, buf, 16), -EINVAL);
	assert_int_equal(dev->ops->region_read(dev, &bar2, 4, buf, 8), -EINVAL);
	assert_int_equal(dev->ops->region_write(dev, &bar2, 4092, gid, 4), -EIO);
	assert_int_equal(dev->ops->region_write(dev, &bar0, 4090, buf, 8), -EINVAL);
	assert_int_equal(dev->ops->region_write(dev, &bar0, 0, buf, 8), -EIO);
	vfio_device_close(dev);
}

static int event_code(struct driver *v, unsigned int slot)
{
	const uint8_t *e = v->mem + IEQ_AT + 32 + 32 * slot;

	return load_be64(v->mem + IEQ_AT) > slot ? (int)load_be32(e + 4) : -1;
}

/* The fabric notices a closed connection on its own time. */
static void await_event(struct driver *v, unsigned int slot, int code)
{
	int i;

	for (i = 0; i < PATIENT && event_code(v, slot) < 0; i++)
		usleep(1000);
	assert_int_equal(event_code(v, slot), code);
}

static void test_client_death(void **state)
{
	struct daemon *d = *state;
	struct driver a, b;
	uint64_t token;
	int ready[2];
	char c;
	pid_t child;

	driver_start(d, 0, &a);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	if (!child) {
		driver_start(d, 1, &b);
		driver_dmb(&b, a.gid);
		if (write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	token = driver_dmb(&a, a.gid + 1);
	assert_true(token);
	assert_int_equal(read(ready[0], &c, 1), 1);
	kill(child, SIGKILL);
	finish(child);
	await_event(&a, 0, ISM_EV_USER_DISABLED);
	await_event(&a, 1, ISM_EV_GID_DISABLED);
	driver_start(d, 1, &b);
	driver_end(&b);
	driver_end(&a);
	close(ready[0]);
	close(ready[1]);
}

static void test_second_client_refused(void **state)
{
	struct daemon *d = *state;
	struct vfio_device *dev;
	struct driver a;

	driver_start(d, 0, &a);
	assert_true(open_device(d, 0, &dev) < 0);
	driver_dmb(&a, a.gid); /* the first one is unharmed */
	driver_end(&a);
}

static void test_reconnect_at_once(void **state)
{
	struct daemon *d = *state;
	struct driver a;
	int i;

	for (i = 0; i < 100; i++) {
		driver_start(d, 0, &a);
		driver_dmb(&a, a.gid);
		driver_end(&a);
	}
}

static void test_faults(void **state)
{
	struct daemon *d = *state;
	struct vfio_device *dev;
	struct driver a;
	uint64_t before;
	uint8_t v[8];
	char out[4096];

	driver_start(d, 0, &a);
	say(d, "fault 0 fail-load 1");
	assert_int_equal(zpci_load(a.z, 2, 0, v, 8), -EIO);
	assert_int_equal(zpci_load(a.z, 2, 0, v, 8), 0);
	say(d, "fault 0 slow 60");
	before = clock_ns();
	assert_int_equal(zpci_load(a.z, 2, 0, v, 8), 0);
	assert_true(clock_ns() - before >= UINT64_C(60000000));
	say(d, "clear 0");
	say(d, "knob load_width8 1");
	assert_int_equal(zpci_load(a.z, 2, 0, v, 4), -EIO);
	say(d, "fault 0 unplug");
	assert_int_equal(zpci_load(a.z, 2, 0, v, 8), -ENODEV);
	assert_true(open_device(d, 0, &dev) < 0);
	say(d, "clear 0");
	driver_end(&a);
	driver_start(d, 0, &a);
	driver_end(&a);

	assert_int_equal(command(d, "fault 2 error", out, sizeof(out)), 1);
	assert_int_equal(command(d, "fault x error", out, sizeof(out)), 1);
	assert_int_equal(command(d, "knob echo_cmd 2", out, sizeof(out)), 1);
	assert_int_equal(command(d, "", out, sizeof(out)), 1);
	assert_int_equal(command(d, "a b c d e f g", out, sizeof(out)), 1);
	assert_int_equal(command(d, "help", out, sizeof(out)), 0);
	assert_non_null(strstr(out, "fail-command"));
}

static int connect_control(struct daemon *d)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/control.sock", d->dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void test_hostile_control(void **state)
{
	struct daemon *d = *state;
	char junk[1000], out[4096];
	int fd[40], long_line;
	size_t i;

	/* forty that say nothing or half a line do not keep the forty-first out */
	for (i = 0; i < 40; i++) {
		fd[i] = connect_control(d);
		if (i % 2)
			assert_int_equal(send(fd[i], "sho", 3, MSG_NOSIGNAL), 3);
	}
	assert_int_equal(command(d, "help", out, sizeof(out)), 0);
	for (i = 0; i < 40; i++)
		close(fd[i]);
	memset(junk, 'x', sizeof(junk));
	long_line = connect_control(d);
	assert_true(send(long_line, junk, sizeof(junk), MSG_NOSIGNAL) > 0);
	memset(out, 0, sizeof(out));
	assert_true(recv(long_line, out, sizeof(out) - 1, 0) > 0);
	assert_string_equal(out, "error line too long\n");
	close(long_line);
}

static void test_second_fabric_refused(void **state)
{
	struct daemon *d = *state;
	const char *args[] = { program, "--functions", "1", "--dir", d->dir, NULL };
	char out[64];
	struct driver a;
	int fd;
	pid_t pid = spawn(args, &fd);

	slurp(fd, out, sizeof(out));
	assert_int_equal(finish(pid), 1);
	assert_string_equal(out, "");
	driver_start(d, 0, &a);
	driver_end(&a);
}

static void test_stale_sockets_replaced(void **state)
{
	struct daemon *d = *state;
	struct driver a;
	struct stat st;
	char path[108];

	kill(d->pid, SIGKILL);
	assert_int_equal(finish(d->pid), 256 + SIGKILL);
	snprintf(path, sizeof(path), "%s/ism1.sock", d->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	start(d);
	driver_start(d, 1, &a);
	driver_end(&a);
}

static void test_usage(void **state)
{
	static const char *const bad[][3] = {
		{ "--functions", "0", NULL },	  { "--functions", "256", NULL },
		{ "--functions", "2x", NULL },	  { "--max-store", "4097", NULL },
		{ "--knob", "nonsense=1", NULL }, { "--knob", "echo_cmd", NULL },
		{ "--chid", "0x10000", NULL },	  { "surplus", NULL, NULL },
		{ "--nonsense", NULL, NULL },	  { NULL, NULL, NULL },
	};
	char out[16384];
	size_t i;
	int fd;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *args[] = { program, bad[i][0], bad[i][1], NULL };
		pid_t pid = spawn(args, &fd);

		slurp(fd, out, sizeof(out));
		assert_int_equal(finish(pid), 2);
		assert_string_equal(out, "");
	}
	for (i = 0; i < 3; i++) {
		const char *args[] = { program,
			i == 0 ? "--help" : i == 1 ? "--version" : "--list-knobs", NULL };
		pid_t pid = spawn(args, &fd);

		slurp(fd, out, sizeof(out));
		assert_int_equal(finish(pid), 0);
		assert_non_null(strstr(out, i == 2 ? "idx_limit" : "ism-fabricd"));
	}
}

/* A table of few DMA maps, as an IOMMU may have: the one too many is refused, the rest goes on. */
static void test_dma_map_limit(void **state)
{
	struct daemon *d = *state;
	struct vfio_device *dev;
	uint64_t iova[3];
	uint8_t *mem;
	int fd;

	say(d, "knob dma_maps 2");
	assert_int_equal(open_device(d, 0, &dev), 0);
	fd = fd_memfd("test", 3 * 4096);
	mem = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(mem, MAP_FAILED);
	assert_int_equal(dev->ops->dma_map(dev, mem, 4096, fd, 0, &iova[0]), 0);
	assert_int_equal(dev->ops->dma_map(dev, mem + 4096, 4096, fd, 4096, &iova[1]), 0);
	assert_int_equal(dev->ops->dma_map(dev, mem + 8192, 4096, fd, 8192, &iova[2]), -ENOSPC);
	assert_int_equal(dev->ops->dma_unmap(dev, iova[0], 4096), 0);
	assert_int_equal(dev->ops->dma_map(dev, mem + 8192, 4096, fd, 8192, &iova[2]), 0);
	vfio_device_close(dev);
	munmap(mem, 3 * 4096);
	close(fd);
}

/* The count of interrupts at index 3, asked by hand: our client never looks. */
static unsigned int err_irqs(struct daemon *d)
{
	struct {
		struct vu_hdr hdr;
		struct vu_irq_info info;
	} m = { { .id = 2, .command = VU_DEVICE_GET_IRQ_INFO, .size = sizeof(m) },
		{ .argsz = sizeof(m.info), .index = 3 } };
	struct {
		struct vu_hdr hdr;
		struct vu_version version;
	} v = { .hdr = { .id = 1, .command = VU_VERSION, .size = sizeof(v) } };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/ism1.sock", d->dir);
	assert_int_equal(connect(s, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(write(s, &v, sizeof(v)), sizeof(v));
	assert_int_equal(recv(s, &v, sizeof(v), MSG_WAITALL), sizeof(v));
	assert_int_equal(write(s, &m, sizeof(m)), sizeof(m));
	assert_int_equal(recv(s, &m, sizeof(m), MSG_WAITALL), sizeof(m));
	close(s);
	return m.info.count;
}

static void test_err_irq(void **state)
{
	struct daemon *d = *state;

	assert_int_equal(err_irqs(d), 0);
	say(d, "knob err_irq 1");
	assert_int_equal(err_irqs(d), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(test_region_path),
		T(test_bar_path),
		T(test_client_death),
		T(test_second_client_refused),
		T(test_reconnect_at_once),
		T(test_faults),
		T(test_hostile_control),
		T(test_second_fabric_refused),
		T(test_stale_sockets_replaced),
		T(test_dma_map_limit),
		T(test_err_irq),
		cmocka_unit_test(test_usage),
	};

	if (argc != 2)
		return 2;
	program = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
