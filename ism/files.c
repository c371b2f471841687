/* SPDX-License-Identifier: MIT */
#include "ism/files.h"

#include <errno.h>
#include <sys/mman.h>

#include "vfio/base/fd.h"

static int make(size_t size, struct ism_memory *ret)
{
	struct ism_memory m = { .size = size, .fd = fd_memfd("ism-dmb", size), .ro = -1 };

	if (m.fd < 0)
		return -ENOMEM;
	/* For the device this may be the address, too. */
	if (fd_map_aligned(m.fd, size, &m.va) < 0) {
		fd_closep(&m.fd);
		return -ENOMEM;
	}
	*ret = m;
	return 0;
}

static void destroy(struct ism_memory *m)
{
	if (m->va)
		munmap(m->va, m->size);
	m->va = NULL;
	fd_closep(&m->ro);
	fd_closep(&m->fd);
}

int ism_files_get(struct ism_files *fs, size_t size, struct ism_memory *ret)
{
	if (fs->nspare == 0 || fs->spare[0].size != size)
		return make(size, ret);
	*ret = fs->spare[--fs->nspare];
	return 0;
}

void ism_files_put(struct ism_files *fs, struct ism_memory *m)
{
	if (m->va && fs->nover < ISM_OVER)
		fs->over[fs->nover++] = *m;
	else
		destroy(m);
	*m = (struct ism_memory){ .fd = -1, .ro = -1 };
}

/* The read-only description of @m; whoever wants it opens it himself if that fails. */
static void open_readonly(struct ism_files *fs, struct ism_memory *m)
{
	if (!fs->has_dir) {
		fs->dir = fd_self_dir();
		fs->has_dir = fs->dir >= 0;
	}
	m->ro = fs->has_dir ? fd_readonly_in(fs->dir, m->fd) : -1;
	if (m->ro < 0)
		m->ro = -1;
}

bool ism_files_prepare(struct ism_files *fs, size_t size, unsigned int upto)
{
	struct ism_memory *m;

	if (fs->nspare > 0 && fs->spare[0].size != size)
		ism_files_drop_spares(fs);
	m = &fs->spare[fs->nspare];
	if (fs->nspare >= ISM_SPARES || fs->nspare >= upto || make(size, m) < 0)
		return false;
	open_readonly(fs, m);
	fs->nspare++;
	return true;
}

void ism_files_drop_spares(struct ism_files *fs)
{
	while (fs->nspare > 0)
		destroy(&fs->spare[--fs->nspare]);
	if (fs->has_dir)
		fd_closep(&fs->dir);
	fs->has_dir = false;
}

bool ism_files_destroy_one(struct ism_files *fs)
{
	if (fs->nover == 0)
		return false;
	destroy(&fs->over[--fs->nover]);
	return true;
}

void ism_files_fini(struct ism_files *fs)
{
	ism_files_drop_spares(fs);
	while (ism_files_destroy_one(fs))
		;
}
