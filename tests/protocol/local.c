/* SPDX-License-Identifier: MIT */
#include "tests/protocol/local.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vfio/base/endian.h"

#define MAPS 256

struct local {
	struct zpci z;
	struct function *fn;
	int msi;
	struct {
		uint8_t *va;
		size_t len;
	} map[MAPS];
};

static struct local *local_of(struct zpci *z)
{
	return (struct local *)z;
}

/* ---- what the function asks of its host ------------------------------------------------------ */

/* IOVA is VA here. */
static void *resolve(void *ctx, uint64_t iova, size_t len, bool write)
{
	struct local *l = ctx;

	for (int i = 0; i < MAPS; i++) {
		uint64_t at = iova - (uintptr_t)l->map[i].va;

		if (l->map[i].va && at < l->map[i].len && len <= l->map[i].len - at)
			return l->map[i].va + at;
	}
	return NULL;
}

static void irq(void *ctx)
{
	struct local *l = ctx;
	uint64_t one = 1;

	if (l->msi >= 0)
		assert_int_equal(write(l->msi, &one, sizeof(one)), sizeof(one));
}

static void unplugged(void *ctx)
{
}

static const struct function_host host = {
	.resolve = resolve, .irq = irq, .unplugged = unplugged
};

/* ---- what the driver asks of the door -------------------------------------------------------- */

static int op_load(struct zpci *z, uint8_t pcias, uint64_t offset, void *out, uint16_t len)
{
	uint8_t bytes[8];
	uint64_t value;
	int r = function_load(local_of(z)->fn, pcias, offset, len, &value);

	if (r < 0)
		return r;
	store_be64(bytes, value); /* right-justified */
	memcpy(out, bytes + 8 - len, len);
	return 0;
}

static int op_store(struct zpci *z, const struct zpci_store *v, size_t n, size_t *done)
{
	int r = 0;

	for (*done = 0; *done < n; (*done)++, v++) {
		r = function_store(local_of(z)->fn, v->pcias, v->offset, v->data, v->len);
		if (r < 0)
			break;
	}
	return r;
}

static int op_map(struct zpci *z, void *va, size_t len, int fd, uint64_t fd_offset, uint64_t *iova)
{
	struct local *l = local_of(z);

	for (int i = 0; i < MAPS; i++) {
		if (l->map[i].va)
			continue;
		l->map[i].va = va;
		l->map[i].len = len;
		*iova = (uintptr_t)va;
		return 0;
	}
	return -ENOSPC;
}

static int op_unmap(struct zpci *z, uint64_t iova, size_t len)
{
	struct local *l = local_of(z);

	for (int i = 0; i < MAPS; i++) {
		if ((uintptr_t)l->map[i].va == iova && l->map[i].len == len) {
			function_dma_unmapped(l->fn, iova, len);
			l->map[i].va = NULL;
			return 0;
		}
	}
	return -ENOENT;
}

static int op_msi(struct zpci *z, int eventfd)
{
	struct local *l = local_of(z);

	l->msi = eventfd;
	function_set_msi(l->fn, eventfd >= 0);
	return 0;
}

static int op_reset(struct zpci *z)
{
	return function_reset(local_of(z)->fn);
}

static int op_liveness(struct zpci *z)
{
	return -1;
}

static int op_check(struct zpci *z)
{
	return local_of(z)->fn->host ? 0 : -ENODEV;
}

static void op_close(struct zpci *z)
{
	function_detach(local_of(z)->fn);
}

static const struct zpci_ops ops = {
	.load = op_load,
	.store = op_store,
	.dma_map = op_map,
	.dma_unmap = op_unmap,
	.set_msi = op_msi,
	.reset = op_reset,
	.liveness_fd = op_liveness,
	.check = op_check,
	.close = op_close,
};

struct zpci *local_open(struct function *fn)
{
	struct local *l = calloc(1, sizeof(*l));

	assert_non_null(l);
	zpci_init(&l->z, &ops);
	l->fn = fn;
	l->msi = -1;
	l->z.caps = (struct zpci_caps){
		.max_store = 4096,
		.bar_size = { [ISM_PCIAS_MOVE] = UINT64_C(1) << 48, [ISM_PCIAS_CMD] = 4096 },
		.vendor = ISM_PCI_VENDOR,
		.device = ISM_PCI_DEVICE,
		.info = { .pft = ISM_PFT, .pchid = fn->fabric->chid },
		.transport = "local",
	};
	assert_int_equal(function_attach(fn, &host, l), 0);
	return &l->z;
}
