/* SPDX-License-Identifier: MIT */
#include "fake.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct fake_zpci {
	struct zpci z; /* first */
	struct fake *f;
};

static struct fake *fake_of(struct zpci *z)
{
	return ((struct fake_zpci *)z)->f;
}

void fake_put(uint8_t *p, uint64_t v, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		p[i] = (uint8_t)(v >> 8 * (len - 1 - i));
}

uint64_t fake_get(const uint8_t *p, unsigned int len)
{
	uint64_t v = 0;

	for (unsigned int i = 0; i < len; i++)
		v = v << 8 | p[i];
	return v;
}

static struct fake_op *note(struct fake *f, char kind, uint64_t offset)
{
	struct fake_op *op;

	assert_true(f->nlog < FAKE_LOG);
	op = &f->log[f->nlog++];
	*op = (struct fake_op){ .kind = kind, .offset = offset };
	return op;
}

uint8_t *fake_mem(struct fake *f, uint64_t iova, size_t len)
{
	for (size_t i = 0; i < f->nmaps; i++) {
		struct fake_map *m = &f->maps[i];

		if (iova >= m->iova && iova + len <= m->iova + m->len)
			return m->va + (iova - m->iova);
	}
	return NULL;
}

void fake_signal(struct fake *f, uint32_t idx, uint16_t mask)
{
	uint8_t *sba = fake_mem(f, f->sba, 4096);
	uint64_t one = 1;
	bool had_s;

	assert_non_null(sba);
	had_s = sba[0] & 0x80;
	sba[256 + 2 * idx] |= (uint8_t)(mask >> 8);
	sba[257 + 2 * idx] |= (uint8_t)mask;
	sba[4 + idx / 8] |= (uint8_t)(0x80 >> idx % 8);
	sba[0] |= 0x80;
	if (!had_s && f->msi >= 0)
		assert_int_equal(write(f->msi, &one, 8), 8);
}

void fake_event(struct fake *f, uint32_t type, uint32_t code, uint64_t tok, uint64_t info)
{
	uint8_t *ieq = fake_mem(f, f->ieq, 512);
	uint8_t *sba = fake_mem(f, f->sba, 4096);
	uint8_t *at;

	assert_non_null(ieq);
	at = ieq + 32 + 32 * (f->posts % 15);
	fake_put(at, type, 4);
	fake_put(at + 4, code, 4);
	fake_put(at + 8, tok, 8);
	fake_put(at + 16, f->posts + 1, 8);
	fake_put(at + 24, info, 8);
	fake_put(ieq, f->posts % 15 + 1, 8);
	f->posts++;
	sba[0] |= 0xc0;
}

static bool failing(long *countdown)
{
	if (*countdown < 0)
		return false;
	return (*countdown)-- == 0;
}

static int failure(const struct fake *f)
{
	return f->error ? f->error : -EIO;
}

static struct fake_dmb *by_token(struct fake *f, uint64_t token)
{
	for (size_t i = 0; i < FAKE_DMBS; i++)
		if (f->dmbs[i].used && f->dmbs[i].token == token)
			return &f->dmbs[i];
	return NULL;
}

/* The payload of the reply after its header; its length is the return value. */
static size_t execute(struct fake *f, unsigned int cmd, const uint8_t *b, uint8_t *out)
{
	struct fake_dmb *d;

	switch (cmd) {
	case 0x01:
		f->sba = fake_get(b, 8);
		return 0;
	case 0x02:
		f->ieq = fake_get(b, 8);
		return 0;
	case 0x03:
		fake_put(out, FAKE_GID, 8);
		return 8;
	case 0x08:
		fake_put(out, 2, 4);
		fake_put(out + 4, f->max_len, 4);
		fake_put(out + 56, f->vlan_required, 4);
		return 192;
	case 0x0a:
		d = &f->dmbs[fake_get(b + 12, 4)];
		assert_false(d->used);
		*d = (struct fake_dmb){ .used = true, .iova = fake_get(b, 8),
			.len = (uint32_t)fake_get(b + 8, 4), .rgid = fake_get(b + 24, 8),
			.token = f->next_token };
		f->next_token += UINT64_C(1) << 32;
		fake_put(out, d->token, 8);
		return 8;
	case 0x0b:
		d = by_token(f, fake_get(b, 8));
		assert_non_null(d);
		d->used = false;
		if (!f->no_events && d->rgid == FAKE_GID)
			fake_event(f, 0, 4, d->token, 0);
		return 0;
	case 0x0e:
		if (!f->no_events && fake_get(b, 8) == FAKE_GID)
			fake_event(f, 2, (uint32_t)fake_get(b + 12, 4), FAKE_GID,
				fake_get(b + 16, 8));
		return 0;
	default:
		return 0;
	}
}

static void command(struct fake *f)
{
	unsigned int cmd = (unsigned int)fake_get(f->area, 4);
	size_t len = 8;

	memset(f->reply, 0, sizeof(f->reply));
	assert_true(cmd < 32);
	if (!f->ret[cmd])
		len += execute(f, cmd, f->area + 8, f->reply + 8);
	if (f->reply_len[cmd])
		len = f->reply_len[cmd];
	fake_put(f->reply, cmd, 4);
	fake_put(f->reply + 4, f->ret[cmd], 2);
	fake_put(f->reply + 6, len, 2);
}

static int move(struct fake *f, uint64_t addr, const void *data, size_t len)
{
	struct fake_dmb *d = by_token(f, addr & ~UINT64_C(0xfffffff));
	uint32_t offset = addr & 0x7fffff;
	uint32_t idx = (addr >> 24) & 15;
	uint8_t *mem, *sba;

	if (f->no_moves || !d || offset + len > d->len)
		return -EIO;
	if (f->strict && (offset % 8 || len % 8))
		return -EIO;
	mem = fake_mem(f, d->iova + offset, len);
	assert_non_null(mem); /* the device must never be let into memory that is gone */
	memcpy(mem, data, len);
	sba = fake_mem(f, f->sba, 4096);
	if (!(addr & 0x800000) || f->no_signal || (f->signal_needs_msi && f->msi < 0) ||
		(f->mute_while_s && (sba[0] & 0x80)))
		return 0;
	fake_signal(f, (uint32_t)(d - f->dmbs), (uint16_t)(0x1000 >> idx));
	return 0;
}

static int one_store(struct fake *f, const struct zpci_store *v)
{
	struct fake_op *op = note(f, 'S', v->offset);

	op->pcias = v->pcias;
	op->len = v->len;
	memcpy(op->data, v->data, v->len < sizeof(op->data) ? v->len : sizeof(op->data));
	if (failing(&f->fail_store))
		return failure(f);
	if (v->pcias == 0)
		return move(f, v->offset, v->data, v->len);
	assert_int_equal(v->pcias, 2);
	assert_true(v->offset + v->len <= sizeof(f->area));
	memcpy(f->area + v->offset, v->data, v->len);
	if (v->offset == 0 && v->len == 8)
		command(f);
	return 0;
}

static int fake_store(struct zpci *z, const struct zpci_store *v, size_t n, size_t *done)
{
	*done = 0;
	for (size_t i = 0; i < n; i++) {
		int r = one_store(fake_of(z), &v[i]);

		if (r < 0)
			return r;
		*done = i + 1;
	}
	return 0;
}

static int fake_load(struct zpci *z, uint8_t pcias, uint64_t offset, void *out, uint16_t len)
{
	struct fake *f = fake_of(z);
	struct fake_op *op = note(f, 'L', offset);

	op->pcias = pcias;
	op->len = len;
	assert_int_equal(pcias, 2);
	assert_int_equal(len, 8);
	assert_int_equal(offset % 8, 0);
	if (failing(&f->fail_load))
		return failure(f);
	memcpy(out, f->reply + offset, len);
	return 0;
}

static int fake_map(struct zpci *z, void *va, size_t len, int fd, uint64_t fd_offset,
	uint64_t *iova)
{
	struct fake *f = fake_of(z);
	uint64_t align = 4096;

	(void)fd;
	(void)fd_offset;
	if (f->map_error)
		return f->map_error;
	while (align < len)
		align *= 2;
	f->next_iova = (f->next_iova + align - 1) & ~(align - 1);
	*iova = f->next_iova;
	f->next_iova += len;
	assert_true(f->nmaps < FAKE_MAPS);
	f->maps[f->nmaps++] = (struct fake_map){ .iova = *iova, .va = va, .len = len };
	note(f, 'M', *iova);
	return 0;
}

static int fake_unmap(struct zpci *z, uint64_t iova, size_t len)
{
	struct fake *f = fake_of(z);

	if (f->unmap_error)
		return f->unmap_error;
	for (size_t i = 0; i < f->nmaps; i++) {
		if (f->maps[i].iova != iova)
			continue;
		assert_int_equal(f->maps[i].len, len);
		/* Still accessible: the driver must not have destroyed it before. */
		*(volatile uint8_t *)f->maps[i].va = 0x77;
		f->maps[i] = f->maps[--f->nmaps];
		note(f, 'U', iova);
		return 0;
	}
	fail_msg("unmap of an unknown IOVA");
	return -EINVAL;
}

static int fake_set_msi(struct zpci *z, int fd)
{
	struct fake *f = fake_of(z);

	if (f->msi_error)
		return f->msi_error;
	f->msi = fd;
	note(f, fd >= 0 ? 'I' : 'i', 0);
	return 0;
}

static int fake_reset(struct zpci *z)
{
	return -EOPNOTSUPP;
}

static int fake_liveness(struct zpci *z)
{
	return -1;
}

static int fake_check(struct zpci *z)
{
	return fake_of(z)->check_error;
}

static void fake_close(struct zpci *z)
{
	struct fake *f = fake_of(z);

	/* Until now the device could write to all of these. */
	for (size_t i = 0; i < f->nmaps; i++)
		*(volatile uint8_t *)f->maps[i].va = 0x77;
	f->nmaps = 0;
	f->z = NULL;
	note(f, 'C', 0);
}

static const struct zpci_ops fake_ops = {
	.load = fake_load,
	.store = fake_store,
	.dma_map = fake_map,
	.dma_unmap = fake_unmap,
	.set_msi = fake_set_msi,
	.reset = fake_reset,
	.liveness_fd = fake_liveness,
	.check = fake_check,
	.close = fake_close,
};

void fake_init(struct fake *f)
{
	memset(f, 0, sizeof(*f));
	f->next_iova = UINT64_C(0x100000000);
	f->next_token = UINT64_C(0x123400000000);
	f->max_len = 0x100000;
	f->msi = -1;
	f->fail_store = -1;
	f->fail_load = -1;
}

struct zpci *fake_open(struct fake *f)
{
	struct fake_zpci *fz = calloc(1, sizeof(*fz));

	assert_non_null(fz);
	zpci_init(&fz->z, &fake_ops);
	fz->f = f;
	fz->z.caps = (struct zpci_caps){
		.max_store = 4096,
		.bar_size = { [0] = UINT64_C(1) << 48, [2] = 4096 },
		.vendor = 0x1014,
		.device = 0x04ed,
		.info = { .pft = 5, .pchid = 0x1d15 },
		.transport = "fake",
	};
	f->z = &fz->z;
	return f->z;
}

size_t fake_count(const struct fake *f, char kind)
{
	size_t n = 0;

	for (size_t i = 0; i < f->nlog; i++)
		n += f->log[i].kind == kind;
	return n;
}

const struct fake_op *fake_nth(const struct fake *f, char kind, size_t n)
{
	for (size_t i = 0; i < f->nlog; i++)
		if (f->log[i].kind == kind && n-- == 0)
			return &f->log[i];
	fail_msg("no such operation");
	return NULL;
}
