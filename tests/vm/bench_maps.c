/* SPDX-License-Identifier: MIT */
/*
 * bench_maps.c - what mapping a DMB for the device adds to what making it costs
 *
 * A DMB that an application sees is a memfd of its own. Compared are, for DMBs of several sizes,
 *
 *	file	one is made, mapped here, and destroyed; no device
 *	apart	the same, and each one is mapped for the device and unmapped by itself
 *	slab	SLAB of them lie side by side in one range of addresses, which is mapped and unmapped
 *		as a whole: as few maps as can be without a file that several DMBs share
 *	held	one that stays is mapped and unmapped: what the map alone costs
 *
 *	bench_maps BDF		a device bound to vfio-pci
 *
 * Prints the median of REPEATS rounds in microseconds per DMB. Nothing is judged.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vfio/base/fd.h"
#include "vfio/open.h"

#define KIB	1024u
#define SLAB	16u
#define REPEATS 15u

static struct vfio_device *dev;
static int fd[SLAB];

_Noreturn static void die(const char *what, int err)
{
	fprintf(stderr, "bench_maps: %s: %s\n", what, strerror(err));
	exit(1);
}

static void map(void *va, size_t len, uint64_t *iova)
{
	int r = dev->ops->dma_map(dev, va, len, -1, 0, iova);

	if (r < 0)
		die("map", -r);
}

static void unmap(uint64_t iova, size_t len)
{
	int r = dev->ops->dma_unmap(dev, iova, len);

	if (r < 0)
		die("unmap", -r);
}

/* SLAB files next to each other. */
static uint8_t *make(size_t size)
{
	uint8_t *room = mmap(NULL, SLAB * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		die("mmap", ENOMEM);
	for (unsigned int i = 0; i < SLAB; i++) {
		fd[i] = fd_memfd("dmb", size);
		if (fd[i] < 0)
			die("memfd", -fd[i]);
		if (mmap(room + i * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd[i],
			0) == MAP_FAILED)
			die("mmap", ENOMEM);
	}
	return room;
}

static void destroy(uint8_t *room, size_t size)
{
	munmap(room, SLAB * size);
	for (unsigned int i = 0; i < SLAB; i++)
		fd_closep(&fd[i]);
}

static void by_file(size_t size)
{
	destroy(make(size), size);
}

static void by_apart(size_t size)
{
	uint8_t *room = make(size);
	uint64_t iova[SLAB];

	for (unsigned int i = 0; i < SLAB; i++)
		map(room + i * size, size, &iova[i]);
	for (unsigned int i = 0; i < SLAB; i++)
		unmap(iova[i], size);
	destroy(room, size);
}

static void by_slab(size_t size)
{
	uint8_t *room = make(size);
	uint64_t iova;

	map(room, SLAB * size, &iova);
	unmap(iova, SLAB * size);
	destroy(room, size);
}

static uint8_t *held;

static void by_held(size_t size)
{
	uint64_t iova;

	for (unsigned int i = 0; i < SLAB; i++) {
		map(held + i * size, size, &iova);
		unmap(iova, size);
	}
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(void (*way)(size_t size), size_t size)
{
	double v[REPEATS];

	way(size);
	for (unsigned int i = 0; i < REPEATS; i++) {
		uint64_t begin = clock_ns();

		way(size);
		v[i] = (double)(clock_ns() - begin) / SLAB / 1000;
	}
	qsort(v, REPEATS, sizeof(v[0]), compare);
	return v[REPEATS / 2];
}

int main(int argc, char **argv)
{
	struct vfio_open_params params = { .bdf = argc == 2 ? argv[1] : NULL, .way = VFIO_WAY_GROUP };
	int r;

	if (argc != 2) {
		fputs("usage: bench_maps BDF\n", stderr);
		return 2;
	}
	r = vfio_open(&params, &dev);
	if (r < 0)
		die(argv[1], -r);
	printf("us per DMB: %10s %10s %10s %10s\n", "file", "apart", "slab", "held");
	for (size_t size = 16 * KIB; size <= 1024 * KIB; size *= 4) {
		printf("%6zu KiB: %12.1f %10.1f %10.1f", size / KIB, median(by_file, size),
			median(by_apart, size), median(by_slab, size));
		held = make(size);
		printf(" %10.1f\n", median(by_held, size));
		destroy(held, size);
		fflush(stdout);
	}
	vfio_device_close(dev);
	return 0;
}
