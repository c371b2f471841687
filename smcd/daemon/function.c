/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/function.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <utlist.h>

#include "smcd/daemon/channel.h"
#include "smcd/daemon/link.h"
#include "vfio/attached.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"
#include "vfio/open.h"
#include "vfio/user/client.h"

#define SLOTS_SIZE     (FUNCTION_CDC_SLOTS * CDC_SIZE)
#define BACKOFF_MIN_NS UINT64_C(1000000000)
#define BACKOFF_MAX_NS (8 * BACKOFF_MIN_NS)
/*
 * Longest waits for the fabric, while everybody waits with us. At the start there is nobody yet; an
 * attempt to reopen must not disturb those on other functions for long.
 */
#define REPLY_MS       2000u /* one reply */
#define START_NS       UINT64_C(2000000000) /* opening at the start */
#define REOPEN_NS      UINT64_C(250000000)  /* opening again */
#define PULSE_NS       UINT64_C(10000000000) /* between two signs of life */
#define PULSE_SOON_NS  UINT64_C(1000000000)
#define PROBES	       3

/* ---- what the device tells ------------------------------------------------------------------ */

static void on_dmb(void *ctx, struct ism_dmb *dmb, uint16_t mask)
{
	struct dmb_user *user = dmb->user;

	user->signal(user);
}

static void on_event(void *ctx, const struct ism_event *ev)
{
	link_event(ctx, ev);
}

static void on_overrun(void *ctx)
{
	link_check_all(ctx);
}

static const struct ism_handler handler = {
	.dmb = on_dmb,
	.event = on_event,
	.overrun = on_overrun,
};

int function_note(struct function *fn, int ret)
{
	if (ret == -ENODEV)
		fn->dying = true;
	else if (ret == -EIO)
		fn->suspect = true;
	return ret;
}

/* Does it still answer, as the same function? One fault may also hit the question. */
static void examine(struct function *fn)
{
	int i, ret = -EIO;

	for (i = 0; i < PROBES && ret == -EIO; i++)
		ret = ism_probe(fn->dev);
	fn->suspect = false;
	if (ret < 0)
		fn->dying = true;
}

static void on_pulse(struct loop_timer *timer)
{
	struct function *fn = CONTAINER(timer, struct function, pulse);

	if (!function_up(fn))
		return;
	examine(fn);
	links_probe(fn);
	loop_timer_set(fn->d->loop, timer,
		clock_ns() + (channels_waiting(fn) ? PULSE_SOON_NS : PULSE_NS));
}

void function_hurry(struct function *fn)
{
	uint64_t soon = fn->d->now_ns + PULSE_SOON_NS;

	if (fn->pulse.pos && fn->pulse.when_ns > soon)
		loop_timer_set(fn->d->loop, &fn->pulse, soon);
}

void function_count(struct function *fn, int n)
{
	fn->channels += (unsigned int)n;
}

static void on_irq(struct loop_source *src, short revents)
{
	struct function *fn = CONTAINER(src, struct function, irq);

	ism_irq_ack(fn->dev);
}

static void on_live(struct loop_source *src, short revents)
{
	struct function *fn = CONTAINER(src, struct function, live);

	examine(fn);
	if (!fn->dying && (revents & (POLLERR | POLLHUP)))
		loop_del(fn->d->loop, src); /* would fire for ever; commands will tell */
}

/* ---- coming and going ------------------------------------------------------------------------ */

/* A kernel has all the time it takes: how long a reset lasts is not for us to say. */
static int open_vfio(const struct function *fn, uint64_t patience_ns, struct vfio_device **ret)
{
	const struct vu_client_params vu = { .path = fn->cfg->vfio_user,
		.timeout_ms = (unsigned int)(patience_ns / 1000000),
		.give_up_ns = clock_ns() + patience_ns, .spin_us = fn->d->spin.max_ns / 1000 };
	const struct vfio_open_params kernel = { .bdf = fn->cfg->vfio.bdf,
		.way = fn->cfg->vfio.way };

	return fn->cfg->vfio_user ? vu_client_open(&vu, ret) : vfio_open(&kernel, ret);
}

static int open_device(struct function *fn, uint64_t patience_ns)
{
	struct ism_params params = { .handler = &handler, .ctx = fn, .name = fn->cfg->name,
		.map_dmbs = fn->cfg->vfio_user && fn->d->cfg->pcistb == CONFIG_PCISTB_AUTO };
	struct vfio_device *below, *vdev;
	struct zpci *z;
	int ret;

	ret = open_vfio(fn, patience_ns, &below);
	vdev = below;
	if (ret == 0 && params.map_dmbs)
		ret = vfio_attached_open(below, &vdev);
	if (ret < 0)
		return ret;
	ret = zpci_open(vdev, &z);
	if (ret < 0)
		return ret;
	ret = ism_open(z, &params, &fn->dev);
	if (ret == 0 && fn->cfg->vfio_user)
		vu_client_settle(below, REPLY_MS);
	return ret;
}

static int get_slots(struct function *fn)
{
	struct arena_block block;
	int ret = ism_memory_get(fn->dev, SLOTS_SIZE, &block);

	if (ret < 0)
		return ret;
	fn->slots = block.va;
	memset(fn->slot_free, 0xff, sizeof(fn->slot_free));
	return 0;
}

static int watch(struct function *fn)
{
	int ret;

	fn->irq = (struct loop_source){ .fd = ism_irq_fd(fn->dev), .events = POLLIN, .fn = on_irq };
	fn->live = (struct loop_source){ .fd = ism_liveness_fd(fn->dev), .events = POLLIN,
		.fn = on_live };
	ret = loop_add(fn->d->loop, &fn->irq);
	if (ret == 0 && fn->live.fd >= 0)
		ret = loop_add(fn->d->loop, &fn->live);
	return ret;
}

static void close_device(struct function *fn)
{
	fn->past = function_counters(fn);
	stock_forget(fn, 0);
	loop_timer_cancel(fn->d->loop, &fn->stock.idle);
	loop_timer_cancel(fn->d->loop, &fn->pulse);
	loop_del(fn->d->loop, &fn->irq);
	loop_del(fn->d->loop, &fn->live);
	fn->dev = ism_close(fn->dev);
	fn->dying = fn->suspect = false;
}

static void identify(struct function *fn)
{
	const struct config *cfg = fn->d->cfg;

	fn->gid = ism_gid(fn->dev);
	fn->chid = ism_chid(fn->dev);
	fn->order = cdc_order_of_chid(fn->chid);
	fn->local = (struct hs_local){
		.gid = { .gid = fn->gid, .chid = fn->chid },
		.ueid = cfg->ueids.eid,
		.nr_ueid = cfg->ueids.nr,
		.seid_valid = cfg->seid.valid,
	};
	memcpy(fn->local.seid, cfg->seid.eid, CLC_EID_LEN);
	memcpy(fn->local.host, cfg->name, CLC_HOST_LEN);
}

static int bring_up(struct function *fn, uint64_t patience_ns)
{
	int ret;

	ret = open_device(fn, patience_ns);
	if (ret < 0)
		return ret;
	ret = get_slots(fn);
	if (ret == 0)
		ret = watch(fn);
	if (ret < 0) {
		log_err("%s: cannot use the function: %s", fn->cfg->name, strerror(-ret));
		close_device(fn);
		return ret;
	}
	identify(fn);
	loop_timer_set(fn->d->loop, &fn->pulse, clock_ns() + PULSE_NS);
	fn->backoff_ns = BACKOFF_MIN_NS;
	log_info("%s: GID 0x%016" PRIx64 ", CHID 0x%04x, at %s", fn->cfg->name, fn->gid, fn->chid,
		config_place(fn->cfg));
	return 0;
}

static void schedule_retry(struct function *fn)
{
	loop_timer_set(fn->d->loop, &fn->retry, clock_ns() + fn->backoff_ns);
	fn->backoff_ns = fn->backoff_ns * 2 > BACKOFF_MAX_NS ? BACKOFF_MAX_NS : fn->backoff_ns * 2;
}

static void on_retry(struct loop_timer *timer)
{
	struct function *fn = CONTAINER(timer, struct function, retry);

	if (bring_up(fn, REOPEN_NS) < 0)
		schedule_retry(fn);
}

void function_tend(struct function *fn)
{
	if (fn->suspect && function_up(fn))
		examine(fn);
	if (fn->link_failed)
		links_tend(fn);
	if (!fn->dying)
		return;
	log_err("%s: the ISM function at %s went away; its channels end, it is tried again every few "
		"seconds", fn->cfg->name, config_place(fn->cfg));
	channels_fail(fn, NULL, ENODEV);
	links_forget(fn);
	close_device(fn);
	fn->backoff_ns = BACKOFF_MIN_NS;
	schedule_retry(fn);
}

struct function *function_new(struct daemon *d, const struct config_function *cfg)
{
	struct function *fn = calloc(1, sizeof(*fn));

	if (!fn)
		return NULL;
	fn->d = d;
	fn->cfg = cfg;
	fn->irq.fd = fn->live.fd = -1;
	stock_init(fn);
	fn->retry.fn = on_retry;
	fn->pulse.fn = on_pulse;
	fn->backoff_ns = BACKOFF_MIN_NS;
	LL_APPEND(d->functions, fn);
	if (bring_up(fn, START_NS) < 0) {
		log_warn("%s: no ISM function at %s yet; it is tried again every few seconds",
			cfg->name, config_place(cfg));
		schedule_retry(fn);
	}
	return fn;
}

struct function *function_free(struct function *fn)
{
	if (!fn)
		return NULL;
	LL_DELETE(fn->d->functions, fn);
	links_forget(fn);
	loop_timer_cancel(fn->d->loop, &fn->retry);
	if (fn->dev)
		close_device(fn);
	free(fn);
	return NULL;
}

/* ---- polling --------------------------------------------------------------------------------- */

unsigned int function_poll(struct function *fn)
{
	if (!function_up(fn))
		return 0;
	ism_put_off(fn->dev, fn->d->handshakes > 0);
	return ism_poll(fn->dev);
}

bool function_tidy(struct function *fn)
{
	return function_up(fn) && ism_tidy(fn->dev);
}

bool function_arm(struct function *fn)
{
	return function_up(fn) && ism_irq_arm(fn->dev);
}

void function_disarm(struct function *fn)
{
	if (function_up(fn))
		ism_irq_disarm(fn->dev);
}

int function_move(void *ctx, const struct ism_move *v, size_t n, size_t *done)
{
	struct function *fn = ctx;

	if (!function_up(fn))
		return -ENODEV;
	return function_note(fn, ism_move_data(fn->dev, v, n, done));
}

struct zpci_counters function_counters(const struct function *fn)
{
	struct zpci_counters sum = fn->past;
	const struct zpci_counters *c;

	if (!fn->dev)
		return sum;
	c = zpci_counters(ism_zpci(fn->dev));
	sum.pcistb += c->pcistb;
	sum.pcilg += c->pcilg;
	sum.pcistb_bytes += c->pcistb_bytes;
	sum.region_errors += c->region_errors;
	sum.batches += c->batches;
	sum.attached += c->attached;
	sum.attached_bytes += c->attached_bytes;
	sum.bounced += c->bounced;
	sum.bounced_bytes += c->bounced_bytes;
	return sum;
}

/* ---- peers' DMBs ----------------------------------------------------------------------------- */

/* That somebody does not want it is no news; that it does not work is. */
static void report_map(const struct function *fn, const char *what, int ret)
{
	if (ret < 0 && ret != -EOPNOTSUPP && ret != -ENOENT)
		log_warn("%s: PCISTBs go through the fabric: %s: %s", fn->cfg->name, what,
			strerror(-ret));
}

void function_welcome(struct function *fn, uint64_t gid)
{
	if (function_up(fn))
		report_map(fn, "consent", ism_consent(fn->dev, gid));
}

void function_map(struct function *fn, uint64_t gid, uint64_t token, uint32_t size)
{
	if (function_up(fn))
		report_map(fn, "map", ism_map_dmb(fn->dev, gid, token, size));
}

void function_unmap(struct function *fn, uint64_t token)
{
	if (fn->dev)
		ism_unmap_dmb(fn->dev, token);
}

void function_forget(struct function *fn, uint64_t gid)
{
	if (!fn->dev)
		return;
	stock_forget(fn, gid);
	ism_forget_peer(fn->dev, gid);
}

/* ---- memory ---------------------------------------------------------------------------------- */

int function_dmb_get(struct function *fn, uint64_t rgid, uint32_t size, struct dmb_user *user,
	struct ism_dmb **ret)
{
	if (!function_up(fn))
		return -ENODEV;
	return function_note(fn, ism_register_dmb(fn->dev, rgid, size, user, ret));
}

int function_dmb_get_private(struct function *fn, uint64_t rgid, uint32_t size,
	struct dmb_user *user, struct ism_dmb **ret)
{
	if (!function_up(fn))
		return -ENODEV;
	return function_note(fn, ism_register_private_dmb(fn->dev, rgid, size, user, ret));
}

void function_dmb_put(struct function *fn, struct ism_dmb *dmb)
{
	function_note(fn, ism_unregister_dmb(fn->dev, dmb));
}

void function_dmb_retire(struct function *fn, struct ism_dmb *dmb)
{
	ism_retire_dmb(fn->dev, dmb);
}

int function_memory_get(struct function *fn, size_t size, struct arena_block *ret)
{
	if (!function_up(fn))
		return -ENODEV;
	return function_note(fn, ism_memory_get(fn->dev, size, ret));
}

void function_memory_put(struct function *fn, struct arena_block *block)
{
	function_note(fn, ism_memory_put(fn->dev, block));
}

int function_source_get(size_t head, size_t size, struct function_source *ret)
{
	struct function_source src = { .fd = -1, .head = head, .size = size };

	src.fd = fd_memfd("smcd-user-send", head + size);
	if (src.fd < 0)
		return src.fd;
	src.map = mmap(NULL, head + size, PROT_READ | PROT_WRITE, MAP_SHARED, src.fd, 0);
	if (src.map == MAP_FAILED) {
		fd_closep(&src.fd);
		return -ENOMEM;
	}
	*ret = src;
	return 0;
}

int function_source_map(struct function *fn, struct function_source *src)
{
	int err;

	if (!function_up(fn))
		return -ENODEV;
	err = function_note(fn, ism_map_source(fn->dev, src->map + src->head, src->size, src->fd,
					src->head, &src->iova));
	src->mapped = err == 0;
	return err;
}

void function_source_revoke(struct function *fn, struct function_source *src)
{
	if (src->mapped && fn && function_up(fn))
		function_note(fn, ism_unmap_source(fn->dev, src->iova, src->size));
	src->mapped = false;
}

void function_source_free(struct function_source *src)
{
	if (!src->map)
		return;
	munmap(src->map, src->head + src->size);
	src->map = NULL;
	fd_closep(&src->fd);
}

uint8_t *function_slot_get(struct function *fn)
{
	unsigned int i;

	for (i = 0; i < FUNCTION_CDC_SLOTS / 32; i++) {
		unsigned int bit = (unsigned int)__builtin_ffs((int)fn->slot_free[i]);

		if (bit == 0)
			continue;
		fn->slot_free[i] &= ~(1u << (bit - 1));
		return fn->slots + (i * 32 + bit - 1) * CDC_SIZE;
	}
	return NULL;
}

void function_slot_put(struct function *fn, uint8_t *slot)
{
	size_t i = (size_t)(slot - fn->slots) / CDC_SIZE;

	fn->slot_free[i / 32] |= 1u << (i % 32);
}
