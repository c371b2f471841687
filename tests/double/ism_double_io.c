/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ism_double_priv.h"
#include "vfio/zpci.h"

#define PAGE 4096u

static struct ism_double *the_double;

/* --- memory of this process, as the kernel sees it --- */

static bool readable(const void *p, size_t len)
{
	uint8_t sink[PAGE];

	while (len) {
		size_t n = len < sizeof(sink) ? len : sizeof(sink);

		if (write(the_double->probe[1], p, n) != (ssize_t)n) {
			while (read(the_double->probe[0], sink, sizeof(sink)) > 0)
				;
			return false;
		}
		if (read(the_double->probe[0], sink, n) != (ssize_t)n)
			return false;
		p = (const uint8_t *)p + n;
		len -= n;
	}
	return true;
}

/* Writes the byte back that is there. */
static bool writable(void *p)
{
	uint8_t byte;

	if (write(the_double->probe[1], p, 1) != 1)
		return false;
	if (read(the_double->probe[0], p, 1) == 1)
		return true;
	return read(the_double->probe[0], &byte, 1) == 2; /* empties the pipe; false */
}

/*
 * As the region's kernel code pins: present and readable is enough, and then it is written through
 * an alias that does not care for the protection.
 */
static void *exec_resolve(void *ctx, uint64_t gaddr, size_t len, int write)
{
	void *p = (void *)(uintptr_t)gaddr;

	if (!readable(p, 1))
		return NULL;
	if (write && !writable(p)) {
		the_double->read_only = (void *)(uintptr_t)(gaddr & ~(uint64_t)(PAGE - 1));
		mprotect(the_double->read_only, PAGE, PROT_READ | PROT_WRITE);
	}
	return p;
}

static int exec_load(void *ctx, uint8_t pcias, uint64_t offset, uint16_t len, uint64_t *value)
{
	struct ism_port *p = ctx;

	return function_load(p->fn, pcias, offset, len, value);
}

static int exec_store(void *ctx, uint8_t pcias, uint64_t offset, const void *data, uint16_t len)
{
	struct ism_port *p = ctx;

	return function_store(p->fn, pcias, offset, data, len);
}

static const struct region_exec_ops exec_ops = { exec_resolve, exec_load, exec_store };

void ism_double_io_init(struct ism_double *d, struct ism_port *p)
{
	the_double = d;
	region_exec_init(&p->exec, &exec_ops, p,
		(uint16_t)fabric_knob(d->fabric, KNOB_max_store));
}

/* --- where things are --- */

unsigned int ism_double_shift(const struct ism_double *d)
{
	return d->params.kind == ISM_DOUBLE_BARS ? 48 : 40;
}

uint64_t ism_double_region_size(const struct ism_double *d, const struct ism_port *p,
	uint32_t index)
{
	switch (index) {
	case VFIO_DEV_REGION_BAR0:
		return ZPCI_OFFSET_LIMIT;
	case VFIO_DEV_REGION_BAR2:
		return fabric_knob(d->fabric, KNOB_bar2_size);
	case VFIO_DEV_REGION_CONFIG:
		return PCI_CONFIG_SIZE;
	}
	return d->params.kind == ISM_DOUBLE_REGION && index >= VFIO_DEV_REGION_FIXED ?
		       ZPCI_IO_REGION_SIZE :
		       0;
}

/* --- BARs of ism-vfio-pci --- */

/* A program exception, or a condition code (also where the function is gone). */
static ssize_t instruction(int r)
{
	return r == -EINVAL ? -ENXIO : r < 0 ? -EIO : 0;
}

static ssize_t bar_write(struct ism_double *d, struct ism_port *p, uint8_t bar, uint64_t at,
	const void *buf, size_t count)
{
	ssize_t r;

	d->count.bar_writes++;
	if (count > fabric_knob(d->fabric, KNOB_max_store) || at % PAGE + count > PAGE)
		return -EINVAL;
	if (!readable(buf, count))
		return -EFAULT;
	r = instruction(function_store(p->fn, bar, at, buf, count));
	return r < 0 ? r : (ssize_t)count;
}

static size_t piece(uint64_t at, size_t left)
{
	size_t n = 8;

	while (at % n || n > left)
		n /= 2;
	return n;
}

static ssize_t bar_read(struct ism_double *d, struct ism_port *p, uint8_t bar, uint64_t at,
	uint8_t *buf, size_t count)
{
	d->count.bar_reads++;
	for (size_t done = 0; done < count;) {
		size_t n = piece(at + done, count - done);
		uint64_t value;
		ssize_t r = instruction(function_load(p->fn, bar, at + done, n, &value));

		if (r < 0)
			return r;
		for (size_t i = n; i-- > 0; value >>= 8) {
			if (!writable(buf + done + i))
				return -EFAULT;
			buf[done + i] = (uint8_t)value;
		}
		done += n;
	}
	return (ssize_t)count;
}

/* --- configuration space: writes are cut into pieces of at most four bytes --- */

static ssize_t config_read(struct ism_port *p, uint64_t at, uint8_t *buf, size_t count)
{
	int r = pci_config_read(&p->fn->config, at, buf, count);

	return r < 0 ? r : (ssize_t)count;
}

static ssize_t config_write(struct ism_port *p, uint64_t at, const uint8_t *buf, size_t count)
{
	for (size_t n, done = 0; done < count; done += n) {
		int r;

		n = piece(at + done, count - done > 4 ? 4 : count - done);
		r = pci_config_write(&p->fn->config, at + done, buf + done, n);
		if (r < 0)
			return r;
	}
	return (ssize_t)count;
}

/* --- accesses to the device's file --- */

/* What is left of @count at @at of a region, which has to begin inside it. */
static bool clamp(struct ism_double *d, struct ism_port *p, uint32_t index, uint64_t at,
	size_t *count)
{
	uint64_t size = ism_double_region_size(d, p, index);

	if (at >= size)
		return false;
	if (*count > size - at)
		*count = (size_t)(size - at);
	return true;
}

static ssize_t finish(struct ism_double *d, ssize_t r)
{
	if (d->read_only) {
		mprotect(d->read_only, PAGE, PROT_READ);
		d->read_only = NULL;
	}
	return r;
}

ssize_t ism_double_read(struct ism_double *d, struct ism_port *p, uint64_t pos, void *buf,
	size_t count)
{
	unsigned int shift = ism_double_shift(d);
	uint64_t at = pos & ((UINT64_C(1) << shift) - 1);
	uint32_t index = (uint32_t)(pos >> shift);

	if (count == 0)
		return 0;
	if (d->params.kind == ISM_DOUBLE_REGION && index == d->params.region_index) {
		d->count.region_reads++;
		return finish(d, region_exec_read(&p->exec, at, buf, count));
	}
	if (!clamp(d, p, index, at, &count))
		return -EINVAL;
	if (index == VFIO_DEV_REGION_CONFIG)
		return config_read(p, at, buf, count);
	return d->params.kind == ISM_DOUBLE_BARS ? bar_read(d, p, (uint8_t)index, at, buf, count) :
						   -ENODEV;
}

ssize_t ism_double_write(struct ism_double *d, struct ism_port *p, uint64_t pos, const void *buf,
	size_t count)
{
	unsigned int shift = ism_double_shift(d);
	uint64_t at = pos & ((UINT64_C(1) << shift) - 1);
	uint32_t index = (uint32_t)(pos >> shift);

	if (count == 0)
		return 0;
	if (d->params.kind == ISM_DOUBLE_REGION && index == d->params.region_index) {
		d->count.region_writes++;
		d->count.odd_region_writes += at != ZPCI_IO_REQ_OFFSET || count != 32;
		return finish(d, region_exec_write(&p->exec, at, buf, count));
	}
	if (!clamp(d, p, index, at, &count))
		return -EINVAL;
	if (index == VFIO_DEV_REGION_CONFIG)
		return config_write(p, at, buf, count);
	return d->params.kind == ISM_DOUBLE_BARS ? bar_write(d, p, (uint8_t)index, at, buf, count) :
						   -ENODEV;
}
