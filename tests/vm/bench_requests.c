/* SPDX-License-Identifier: MIT */
/*
 * bench_requests.c - ways of getting region requests to a kernel
 *
 * A request to the zPCI I/O region, or a store through ism-vfio-pci, is one small write to a VFIO
 * device; the answer is its return value, and nothing may follow one that failed. So there is
 * nothing to overlap: a batch is a sequence whose last result is awaited. Compared are
 *
 *	pwrite		one system call each
 *	single		io_uring, one write and one io_uring_enter() each
 *	linked		io_uring, the batch as one chain of linked writes, one io_uring_enter()
 *	sqpoll		the same chain picked up by the kernel's polling thread; no system call here
 *
 * each in batches of 1, 8 and 64. What is written to:
 *
 *	bench_requests vfio:BDF OFFSET BYTES	BAR 0 of a device bound to vfio-pci
 *	bench_requests mem 0 BYTES		/proc/self/mem, which is like a VFIO device: it has
 *						a plain write operation, takes hold of a page, and
 *						does not promise not to block
 *	bench_requests FILE OFFSET BYTES	any other file
 *
 * Prints the median of REPEATS rounds in nanoseconds per write. Nothing is judged.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vfio/base/fd.h"
#include "vfio/open.h"

#define BATCH_MAX 64u
#define REPEATS	  15u
#define ROUND_NS  (UINT64_C(20) * 1000 * 1000)

static int target = -1;
static off_t offset;
static unsigned int bytes;
static uint8_t data[4096], sink[4096] __attribute__((aligned(4096)));
static struct io_uring ring;

_Noreturn static void die(const char *what, int err)
{
	fprintf(stderr, "bench_requests: %s: %s\n", what, strerror(err));
	exit(1);
}

/* ---- the ways: each writes @n times and returns when all are done ------------------------------ */

static void by_pwrite(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (pwrite(target, data, bytes, offset) != (ssize_t)bytes)
			die("pwrite", errno);
}

static void queue_write(unsigned int flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	if (!sqe)
		die("submission queue", ENOSPC);
	io_uring_prep_write(sqe, 0, data, bytes, (uint64_t)offset);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE | flags);
}

static void take(unsigned int n)
{
	struct io_uring_cqe *cqe;

	for (unsigned int i = 0; i < n; i++) {
		int r = io_uring_wait_cqe(&ring, &cqe);

		if (r < 0)
			die("io_uring_wait_cqe", -r);
		if (cqe->res != (int)bytes)
			die("write", cqe->res < 0 ? -cqe->res : EIO);
		io_uring_cqe_seen(&ring, cqe);
	}
}

static void by_single(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		queue_write(0);
		io_uring_submit_and_wait(&ring, 1);
		take(1);
	}
}

static void by_linked(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		queue_write(i + 1 < n ? IOSQE_IO_LINK : 0);
	io_uring_submit_and_wait(&ring, n);
	take(n);
}

/* Whoever uses the polling thread polls for the result as well. */
static void by_sqpoll(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		queue_write(i + 1 < n ? IOSQE_IO_LINK : 0);
	io_uring_submit(&ring);
	while (io_uring_cq_ready(&ring) < n)
		sched_yield();
	take(n);
}

static const struct way {
	const char *name;
	void (*write)(unsigned int n);
	bool uring;
	unsigned int setup;
} ways[] = {
	{ "pwrite", by_pwrite, false, 0 },
	{ "single", by_single, true, 0 },
	{ "linked", by_linked, true, 0 },
	{ "sqpoll", by_sqpoll, true, IORING_SETUP_SQPOLL },
};

/* ---- measuring ------------------------------------------------------------------------------- */

static double one_round(const struct way *w, unsigned int n)
{
	uint64_t begin = clock_ns(), now, writes = 0;

	do {
		w->write(n);
		writes += n;
		now = clock_ns();
	} while (now - begin < ROUND_NS);
	return (double)(now - begin) / (double)writes;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(const struct way *w, unsigned int n)
{
	double v[REPEATS];

	one_round(w, n); /* workers are made, tables filled */
	for (unsigned int i = 0; i < REPEATS; i++)
		v[i] = one_round(w, n);
	qsort(v, REPEATS, sizeof(v[0]), compare);
	return v[REPEATS / 2];
}

static void measure(const struct way *w)
{
	static const unsigned int batches[] = { 1, 8, 64 };
	struct io_uring_params p = { .flags = w->setup, .sq_thread_idle = 1000 };
	int r;

	if (w->uring) {
		r = io_uring_queue_init_params(BATCH_MAX, &ring, &p);
		if (r == 0)
			r = io_uring_register_files(&ring, &target, 1);
		if (r < 0) {
			printf("%-8s not available: %s\n", w->name, strerror(-r));
			return;
		}
	}
	printf("%-8s", w->name);
	for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++)
		printf(" %9.0f", median(w, batches[i]));
	printf("\n");
	fflush(stdout);
	if (w->uring)
		io_uring_queue_exit(&ring);
}

/* The device's descriptor is nobody's business but here: it is found among our own. */
static int find_descriptor(void *ctx, const char *name)
{
	char path[64], text[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%.20s", name);
	if (readlink(path, text, sizeof(text) - 1) < 0 || strcmp(text, "anon_inode:[vfio-device]") != 0)
		return 0;
	return atoi(name);
}

static void open_target(const char *name)
{
	struct vfio_open_params params = { .bdf = name + 5, .way = VFIO_WAY_GROUP };
	struct vfio_device *dev;
	struct vfio_region_desc bar = { 0 }, config = { 0 };
	uint8_t command[2] = { 6, 0 };
	int r;

	if (strncmp(name, "vfio:", 5) != 0) {
		if (strcmp(name, "mem") == 0) {
			name = "/proc/self/mem";
			offset += (off_t)(uintptr_t)sink;
		}
		target = open(name, O_WRONLY | O_CLOEXEC);
		if (target < 0)
			die(name, errno);
		return;
	}
	r = vfio_open(&params, &dev); /* until we end */
	if (r < 0)
		die(name, -r);
	r = dev->ops->get_region(dev, VFIO_DEV_REGION_BAR0, &bar);
	if (r == 0)
		r = dev->ops->get_region(dev, VFIO_DEV_REGION_CONFIG, &config);
	if (r < 0)
		die(name, -r);
	if (dev->ops->region_write(dev, &config, 4, command, sizeof(command)) != sizeof(command))
		die("configuration space", EIO);
	offset += (off_t)bar.offset;
	target = sys_host.list("/proc/self/fd", find_descriptor, NULL);
	if (target <= 0)
		die("descriptor of the device", ENOENT);
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fputs("usage: bench_requests vfio:BDF|mem|FILE OFFSET BYTES\n", stderr);
		return 2;
	}
	offset = (off_t)strtoll(argv[2], NULL, 0);
	bytes = (unsigned int)strtoul(argv[3], NULL, 0);
	if (bytes == 0 || bytes > sizeof(data))
		die(argv[3], EINVAL);
	memset(data, 'x', sizeof(data));
	open_target(argv[1]);
	printf("%s, %u bytes: ns per write in batches of 1, 8, 64\n", argv[1], bytes);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		measure(&ways[i]);
	return 0;
}
