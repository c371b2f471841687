/* SPDX-License-Identifier: MIT */
/*
 * vfio-maps.c - in a guest: DMA maps by the page, through the kernel's VFIO and a virtual IOMMU
 *
 * Attaches a VFIO group, maps PAGES single pages with a hole behind each one, tells where the first
 * is (its IOVA, as an argument to a command), unmaps everything with one call. The device itself is
 * not opened: a BAR without a place in the guest would not let it be enabled, and attaching its
 * group is enough for the IOMMU.
 *
 * usage: vfio-maps GROUP COMMAND...     runs COMMAND... IOVA while the maps exist
 * Exit status: 0: the command succeeded and the first page has been written by the device since.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE  4096u
#define PAGES 3000u
#define IOVA  UINT64_C(0x100000000)

static int die(const char *what)
{
	perror(what);
	return 1;
}

static int attach(const char *group_nr)
{
	char path[64];
	int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	int group;

	snprintf(path, sizeof(path), "/dev/vfio/%s", group_nr);
	group = open(path, O_RDWR | O_CLOEXEC);
	if (container < 0 || group < 0)
		return -1;
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
		ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -1;
	return container; /* the group stays open until exit */
}

static int map_pages(int container, unsigned char *mem)
{
	for (uint64_t i = 0; i < PAGES; i++) {
		struct vfio_iommu_type1_dma_map m = {
			.argsz = sizeof(m),
			.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
			.vaddr = (uintptr_t)mem + i * PAGE,
			.iova = IOVA + i * 2 * PAGE,
			.size = PAGE,
		};

		if (ioctl(container, VFIO_IOMMU_MAP_DMA, &m))
			return -1;
	}
	return 0;
}

static int run(char **argv)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return status;
}

int main(int argc, char **argv)
{
	struct vfio_iommu_type1_dma_unmap u = {
		.argsz = sizeof(u), .iova = IOVA, .size = (uint64_t)PAGES * 2 * PAGE };
	static const unsigned char zero[PAGE];
	char *args[8] = { NULL }, iova[24];
	unsigned char *mem;
	int container, written, i;

	if (argc < 3 || argc > 6)
		return 2;
	mem = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (mem == MAP_FAILED)
		return die("mmap");
	container = attach(argv[1]);
	if (container < 0)
		return die("attach");
	if (map_pages(container, mem))
		return die("map");
	for (i = 2; i < argc; i++)
		args[i - 2] = argv[i];
	snprintf(iova, sizeof(iova), "0x%llx", (unsigned long long)IOVA);
	args[i - 2] = iova;
	if (run(args))
		return 1;
	written = memcmp(mem, zero, PAGE);
	if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u) || u.size != (uint64_t)PAGES * PAGE)
		return die("unmap");
	return written ? 0 : 1;
}
