/* SPDX-License-Identifier: MIT */
#include "vfio/zpci.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vfio/base/log.h"
#include "vfio/transport.h"
#include "zpci-io.h"

/*
 * Whose door it is, asked before every store, so it must not cost a system call. A thread is named
 * by the address of this variable: no two threads share it while both live.
 */
static __thread char self;

/* No kernel knows it; emulators of system calls take any advice and may follow none. */
#define ADVICE_UNKNOWN 9999

/*
 * The kernel wipes the page in every child, however it came to be. Without a kernel that keeps what
 * it promises there is no mark: then each request asks for the process id.
 */
static char *make_mark(void)
{
	char *p = mmap(NULL, ZPCI_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		-1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (madvise(p, ZPCI_PAGE_SIZE, ADVICE_UNKNOWN) == 0 ||
		madvise(p, ZPCI_PAGE_SIZE, MADV_WIPEONFORK) < 0) {
		munmap(p, ZPCI_PAGE_SIZE);
		return NULL;
	}
	*p = 1;
	return p;
}

static int map_arena(void *ctx, void *va, size_t len, int fd, uint64_t *iova)
{
	struct zpci *z = ctx;

	return z->ops->dma_map(z, va, len, fd, 0, iova);
}

static int unmap_arena(void *ctx, uint64_t iova, size_t len)
{
	struct zpci *z = ctx;

	return z->ops->dma_unmap(z, iova, len);
}

static const struct arena_ops arena_ops = { .map = map_arena, .unmap = unmap_arena };

void zpci_init(struct zpci *z, const struct zpci_ops *ops)
{
	z->ops = ops;
	arenas_init(&z->arenas, &arena_ops, z);
	z->owner_thread = &self;
	z->owner_mark = make_mark();
	z->owner_pid = getpid();
}

bool zpci_in_owner(const struct zpci *z)
{
	return z->owner_mark ? *z->owner_mark : z->owner_pid == getpid();
}

/* Another thread, or a child that inherited the function, would be a second submitter. */
static int check_owner(const struct zpci *z)
{
	return z->owner_thread == &self && zpci_in_owner(z) ? 0 : -EPERM;
}

int zpci_open(struct vfio_device *dev, struct zpci **ret)
{
	struct vfio_region_desc io;
	int r = vfio_device_find_region(dev, ZPCI_IO_REGION_TYPE, ZPCI_IO_REGION_SUBTYPE,
		ZPCI_IO_REGION_SIZE, &io);

	if (r == 0)
		return zpci_open_region(dev, &io, ret);
	if (r != -ENOENT) {
		vfio_device_close(dev);
		return r;
	}
	r = zpci_open_bars(dev, ret);
	if (r == -ENOENT)
		log_err("vfio: the device has neither the zPCI I/O region nor BARs that take block "
			"stores; bind the ISM function to ism_vfio_pci (Linux 7.1 or later), or to "
			"vfio-pci on a kernel that has the region");
	return r;
}

struct zpci *zpci_close(struct zpci *z)
{
	if (z) {
		z->ops->close(z);
		arenas_fini(&z->arenas, zpci_in_owner(z));
		if (z->owner_mark)
			munmap(z->owner_mark, ZPCI_PAGE_SIZE);
		free(z);
	}
	return NULL;
}

const struct zpci_caps *zpci_caps(const struct zpci *z)
{
	return &z->caps;
}

const struct zpci_counters *zpci_counters(const struct zpci *z)
{
	return &z->counters;
}

/* The rules every transport relies on: see the header. */
static int check_access(const struct zpci *z, uint8_t pcias, uint64_t offset, uint32_t len,
	uint32_t max)
{
	uint64_t limit;

	if (len < 1 || len > max || pcias > ZPCI_PCIAS_MAX)
		return -EINVAL;
	if (offset % ZPCI_PAGE_SIZE + len > ZPCI_PAGE_SIZE)
		return -EINVAL;
	limit = z->caps.bar_size[pcias];
	if (limit > ZPCI_OFFSET_LIMIT)
		limit = ZPCI_OFFSET_LIMIT;
	return len <= limit && offset <= limit - len ? 0 : -EINVAL;
}

static int check_load(const struct zpci *z, uint8_t pcias, uint64_t offset, uint16_t len)
{
	int r = check_access(z, pcias, offset, len, 8);

	return r == 0 && offset % 8 + len > 8 ? -EINVAL : r;
}

int zpci_load(struct zpci *z, uint8_t pcias, uint64_t offset, void *out, uint16_t len)
{
	int r = check_owner(z);

	if (r == 0)
		r = check_load(z, pcias, offset, len);
	if (r < 0)
		return r;
	z->counters.pcilg++;
	r = z->ops->load(z, pcias, offset, out, len);
	if (r < 0)
		z->counters.region_errors++;
	return r;
}

int zpci_store_blocks(struct zpci *z, const struct zpci_store *v, size_t n, size_t *done)
{
	uint64_t here = z->counters.attached, here_bytes = z->counters.attached_bytes;
	size_t ok = 0;
	int r = check_owner(z);

	if (r < 0 || n < 1 || n > ZPCI_BATCH_MAX) {
		*done = 0;
		return r < 0 ? r : -EINVAL;
	}
	for (size_t i = 0; i < n; i++) {
		r = check_access(z, v[i].pcias, v[i].offset, v[i].len, z->caps.max_store);
		if (r < 0) {
			*done = i;
			return r;
		}
	}
	r = z->ops->store(z, v, n, &ok);
	for (size_t i = 0; i < ok; i++)
		z->counters.pcistb_bytes += v[i].len;
	here = z->counters.attached - here;
	z->counters.pcistb_bytes -= z->counters.attached_bytes - here_bytes;
	z->counters.pcistb += ok - here;
	z->counters.batches += here < n;
	if (r < 0) {
		z->counters.pcistb++;
		z->counters.region_errors++;
	}
	*done = ok;
	return r;
}

int zpci_store_block(struct zpci *z, uint8_t pcias, uint64_t offset, const void *data, uint16_t len)
{
	const struct zpci_store v = { .offset = offset, .data = data, .len = len, .pcias = pcias };
	size_t done;

	return zpci_store_blocks(z, &v, 1, &done);
}

static int check_step(const struct zpci *z, const struct zpci_step *v)
{
	return v->out ? check_load(z, v->s.pcias, v->s.offset, v->s.len) :
			check_access(z, v->s.pcias, v->s.offset, v->s.len, z->caps.max_store);
}

static void count_step(struct zpci *z, const struct zpci_step *v, bool ok)
{
	if (v->out)
		z->counters.pcilg++;
	else
		z->counters.pcistb++;
	if (!ok)
		z->counters.region_errors++;
	else if (!v->out)
		z->counters.pcistb_bytes += v->s.len;
}

static int check_range(const void *va, size_t len, uint64_t fd_offset)
{
	uintptr_t start = (uintptr_t)va;

	return !start || !len || (start | len | fd_offset) % ZPCI_PAGE_SIZE ||
			       len - 1 > UINTPTR_MAX - start ?
		       -EINVAL : 0;
}

int zpci_run(struct zpci *z, struct vfio_map *maps, size_t nmaps, const struct zpci_step *v, size_t n,
	size_t *done)
{
	size_t ok = 0;
	int r = check_owner(z);

	*done = 0;
	for (size_t i = 0; i < nmaps; i++)
		maps[i].done = false;
	if (r == 0 && (n < 1 || n > ZPCI_BATCH_MAX || nmaps > VFIO_MAPS_MAX || !z->caps.pipelined))
		r = -EINVAL;
	for (size_t i = 0; r == 0 && i < nmaps; i++)
		r = check_range(maps[i].va, maps[i].len, maps[i].fd_offset);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = check_step(z, &v[i]);
	if (r < 0)
		return r;
	r = z->ops->run(z, maps, nmaps, v, n, &ok);
	for (size_t i = 0; i < ok; i++)
		count_step(z, &v[i], true);
	if (r < 0 && (!nmaps || maps[nmaps - 1].done))
		count_step(z, &v[ok], false);
	z->counters.batches++;
	*done = ok;
	return r;
}

int zpci_dma_unmap_batch(struct zpci *z, struct vfio_range *v, size_t n)
{
	int r = check_owner(z);

	if (r == 0 && (n < 1 || n > ZPCI_BATCH_MAX || !z->caps.pipelined))
		r = -EINVAL;
	return r < 0 ? r : z->ops->dma_unmap_batch(z, v, n);
}

int zpci_dma_map(struct zpci *z, void *va, size_t len, int fd, uint64_t fd_offset, uint64_t *iova)
{
	int r = check_owner(z);

	if (r == 0)
		r = check_range(va, len, fd_offset);
	if (r < 0)
		return r;
	return z->ops->dma_map(z, va, len, fd, fd_offset, iova);
}

int zpci_dma_unmap(struct zpci *z, uint64_t iova, size_t len)
{
	int r = check_owner(z);

	return r < 0 ? r : z->ops->dma_unmap(z, iova, len);
}

int zpci_mem_get(struct zpci *z, size_t size, struct arena_block *ret)
{
	int r = check_owner(z);

	return r < 0 ? r : arena_get(&z->arenas, size, ret);
}

int zpci_mem_put(struct zpci *z, struct arena_block *block)
{
	int r = check_owner(z);

	return r < 0 ? r : arena_put(&z->arenas, block);
}

int zpci_set_msi(struct zpci *z, int eventfd)
{
	int r = check_owner(z);

	return r < 0 ? r : z->ops->set_msi(z, eventfd);
}

int zpci_reset(struct zpci *z)
{
	int r = check_owner(z);

	return r < 0 ? r : z->ops->reset(z);
}

int zpci_liveness_fd(struct zpci *z)
{
	return z->ops->liveness_fd(z);
}

int zpci_check(struct zpci *z)
{
	int r = check_owner(z);

	return r < 0 ? r : z->ops->check(z);
}

int zpci_side_channel(struct zpci *z, int fd)
{
	int r = check_owner(z);

	if (r < 0)
		return r;
	return z->ops->side_channel ? z->ops->side_channel(z, fd) : -EOPNOTSUPP;
}

int zpci_add_window(struct zpci *z, struct vfio_window *w)
{
	int r = check_owner(z);

	if (r < 0)
		return r;
	return z->ops->add_window ? z->ops->add_window(z, w) : -EOPNOTSUPP;
}

void zpci_del_window(struct zpci *z, struct vfio_window *w)
{
	z->ops->del_window(z, w);
}
