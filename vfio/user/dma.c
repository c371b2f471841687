/* SPDX-License-Identifier: MIT */
#include "vfio/user/dma.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "vfio/base/fd.h"

struct dma_file {
	dev_t dev;
	ino_t ino;
	void *base; /* NULL: not yet mapped, @fd is kept */
	uint64_t size;
	bool writable;
	bool listed; /* not yet replaced by a newer mapping of the same file */
	uint32_t refs;
	int fd; /* -1: not kept */
};

struct dma_map {
	uint64_t first;
	uint64_t last;
	struct dma_file *file; /* NULL: no memory */
	uint64_t offset;
	uint32_t flags;
};

/* Overlapping ranges are equal; consistent because the maps of a table are disjoint. */
static int map_cmp(const void *pa, const void *pb)
{
	const struct dma_map *a = pa, *b = pb;

	if (a->last < b->first)
		return -1;
	return a->first > b->last;
}

static struct dma_map *map_in(const struct dma_table *t, uint64_t first, uint64_t last)
{
	const struct dma_map key = { .first = first, .last = last };
	void *node = tfind(&key, &t->maps, map_cmp);

	return node ? *(struct dma_map **)node : NULL;
}

static int file_cmp(const void *pa, const void *pb)
{
	const struct dma_file *a = pa, *b = pb;

	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return 0;
}

static void file_unlist(struct dma_table *t, struct dma_file *f)
{
	if (f->listed)
		tdelete(f, &t->files, file_cmp);
	f->listed = false;
}

static void file_put(struct dma_table *t, struct dma_file *f)
{
	if (!f || --f->refs)
		return;
	file_unlist(t, f);
	if (f->base)
		munmap(f->base, f->size);
	fd_closep(&f->fd);
	t->space -= f->size;
	t->n_files--;
	free(f);
}

/* Is @fd memory that holds @req and cannot be taken away? */
static int file_check(const struct dma_table *t, const struct vu_dma_map *req, int fd,
	struct stat *st, int *seals)
{
	if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode) || st->st_size < 0)
		return -EINVAL;
	if (req->offset > (uint64_t)st->st_size || req->size > (uint64_t)st->st_size - req->offset)
		return -EINVAL;
	*seals = fcntl(fd, F_GET_SEALS);
	if (!t->allow_unsealed && (*seals < 0 || !(*seals & F_SEAL_SHRINK)))
		return -EPERM;
	return 0;
}

/* Whether @fd may stay: those that are left are wanted for more important things. */
static bool may_keep(const struct dma_table *t, int fd)
{
	return fd < t->keep_below;
}

/* 0 or -errno. */
static int file_map(struct dma_file *f, int fd)
{
	int prot = f->writable ? PROT_READ | PROT_WRITE : PROT_READ;
	void *p = mmap(NULL, f->size, prot, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return errno == EPERM ? -EACCES : -ENOMEM; /* EPERM: sealed against writing */
	f->base = p;
	return 0;
}

/* Nothing that the client can do to the file later changes whether and how it can be mapped. */
static bool can_wait(const struct dma_file *f, int seals)
{
	const int fixed = F_SEAL_SHRINK | F_SEAL_SEAL, against = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;

	return f->fd >= 0 && seals >= 0 && (seals & fixed) == fixed && !(seals & against);
}

/* The whole of *fd for @req, which is taken over where it is kept. */
static int file_new(struct dma_table *t, const struct vu_dma_map *req, const struct stat *st, int seals,
	int *fd, struct dma_file **ret)
{
	bool write = req->flags & VU_DMA_F_WRITE;
	uint64_t size = (uint64_t)st->st_size;
	struct dma_file *f;
	int r;

	if (t->n_files >= DMA_MAX_FILES || size > DMA_MAX_SPACE - t->space)
		return -ENOSPC;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->dev = st->st_dev;
	f->ino = st->st_ino;
	f->size = size;
	f->writable = write;
	f->refs = 1;
	f->fd = write && req->offset == 0 && req->size == size && may_keep(t, *fd) ? *fd : -1;
	r = can_wait(f, seals) ? 0 : file_map(f, *fd);
	if (r < 0) {
		free(f);
		return r;
	}
	if (f->fd >= 0)
		*fd = -1;
	t->space += size;
	t->n_files++;
	*ret = f;
	return 0;
}

/* The mapping of *fd that serves @req, with a reference for the caller. */
static int file_get(struct dma_table *t, const struct vu_dma_map *req, int *fd,
	struct dma_file **ret)
{
	bool write = req->flags & VU_DMA_F_WRITE;
	struct dma_file key = { 0 }, *f = NULL;
	struct stat st;
	int seals, r;
	void *node;

	r = file_check(t, req, *fd, &st, &seals);
	if (r)
		return r;
	/* Checked even when a writable mapping exists: it was another descriptor's right. */
	if (write && (fcntl(*fd, F_GETFL) & O_ACCMODE) != O_RDWR)
		return -EACCES;
	key.dev = st.st_dev;
	key.ino = st.st_ino;
	node = tfind(&key, &t->files, file_cmp);
	if (node) {
		f = *(struct dma_file **)node;
		if (req->offset + req->size <= f->size && (f->writable || !write)) {
			f->refs++;
			*ret = f;
			return 0;
		}
	}
	r = file_new(t, req, &st, seals, fd, ret);
	if (r)
		return r;
	if (f)
		file_unlist(t, f);
	/* Without memory for the list it serves this one map. */
	(*ret)->listed = tsearch(*ret, &t->files, file_cmp) != NULL;
	return 0;
}

void dma_init(struct dma_table *t, uint32_t max_maps)
{
	struct rlimit rl;

	*t = (struct dma_table){ .max_maps = max_maps };
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0)
		t->keep_below = rl.rlim_cur / 2 < INT_MAX ? (int)(rl.rlim_cur / 2) : INT_MAX;
}

void dma_fini(struct dma_table *t)
{
	dma_remove(t, 0, UINT64_MAX);
}

static bool req_valid(const struct vu_dma_map *req)
{
	const uint64_t mask = DMA_PAGE_SIZE - 1;

	if (!req->flags || (req->flags & ~(VU_DMA_F_READ | VU_DMA_F_WRITE)))
		return false;
	if (!req->size || ((req->addr | req->size | req->offset) & mask))
		return false;
	return req->size - 1 <= UINT64_MAX - req->addr;
}

int dma_add(struct dma_table *t, const struct vu_dma_map *req, int *fd)
{
	struct dma_map *m;
	int r = 0;

	if (!req_valid(req))
		return -EINVAL;
	if (dma_any(t, req->addr, req->addr + req->size - 1))
		return -EEXIST;
	if (t->n_maps >= t->max_maps)
		return -ENOSPC;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->first = req->addr;
	m->last = req->addr + req->size - 1;
	m->offset = req->offset;
	m->flags = req->flags;
	if (*fd >= 0)
		r = file_get(t, req, fd, &m->file);
	if (!r && !tsearch(m, &t->maps, map_cmp))
		r = -ENOMEM;
	if (r) {
		file_put(t, m->file);
		free(m);
		return r;
	}
	t->n_maps++;
	trim_grown(&t->trim, t->n_maps);
	return 0;
}

bool dma_any(const struct dma_table *t, uint64_t first, uint64_t last)
{
	return map_in(t, first, last) != NULL;
}

bool dma_cuts(const struct dma_table *t, uint64_t first, uint64_t last)
{
	/* Only the maps that hold the first and the last byte can reach out of the range. */
	const struct dma_map *a = map_in(t, first, first);
	const struct dma_map *b = map_in(t, last, last);

	return (a && a->first < first) || (b && b->last > last);
}

void dma_remove(struct dma_table *t, uint64_t first, uint64_t last)
{
	struct dma_map *m;

	while ((m = map_in(t, first, last))) {
		tdelete(m, &t->maps, map_cmp);
		t->n_maps--;
		file_put(t, m->file);
		free(m);
		trim_shrunk(&t->trim, t->n_maps);
	}
}

void *dma_find(const struct dma_table *t, uint64_t iova, size_t len, bool write)
{
	const struct dma_map *m;

	if (!len)
		return NULL;
	m = map_in(t, iova, iova);
	if (!m || !m->file || len - 1 > m->last - iova)
		return NULL;
	if (!(m->flags & (write ? VU_DMA_F_WRITE : VU_DMA_F_READ)))
		return NULL;
	if (!m->file->base && file_map(m->file, m->file->fd) < 0)
		return NULL;
	return (char *)m->file->base + m->offset + (iova - m->first);
}

int dma_file_at(const struct dma_table *t, uint64_t iova, size_t len)
{
	const struct dma_map *m = len ? map_in(t, iova, iova) : NULL;

	if (!m || !m->file || m->first != iova || len - 1 != m->last - iova || m->offset != 0 ||
		m->file->size != len || !(m->flags & VU_DMA_F_WRITE))
		return -1;
	return m->file->fd;
}
