/* SPDX-License-Identifier: MIT */
/*
 * selftest.c - what this function does where its documentation is silent
 *
 * A DMB that only we may write serves as the other end. Not having one is no defect; not arriving
 * there at any offset and length is, because commands and SMC-D's own messages need that. Events of
 * others that arrive meanwhile are held for the first poll.
 */
#include "ism/dev.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "ism/sba.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define WAIT_NS	  UINT64_C(100000000)
#define SELF_CODE 0x534d4344u /* SMC-D's own event codes are below 0x100 */

/* Offsets in the DMB, apart from each other. */
#define AT_ALIGNED 256u
#define AT_ODD	   515u
#define AT_FULL	   4096u
#define AT_SIGNAL  1024u

/* Lets the device's process run; one processor may be all there is. */
static void pause_briefly(void)
{
	const struct timespec ts = { .tv_nsec = 20000 };

	nanosleep(&ts, NULL);
}

/* Moves @len bytes of a pattern and compares: 1 arrived, 0 refused or not there, -ENODEV. */
static int arrives(struct ism_dev *dev, const struct ism_dmb *dmb, uint32_t offset, uint32_t len,
	bool sf)
{
	uint8_t pattern[ISM_PAGE_SIZE];
	const struct ism_move m = {
		.token = dmb->token, .offset = offset, .len = len, .data = pattern, .sf = sf };
	size_t done;
	int r;

	for (uint32_t i = 0; i < len; i++)
		pattern[i] = (uint8_t)(0xa5 ^ i);
	r = ism_move_data(dev, &m, 1, &done);
	if (r < 0)
		return r == -ENODEV ? r : 0;
	/* A move is synchronous; orders the comparison after the device's stores. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return memcmp((const uint8_t *)dmb->va + offset, pattern, len) == 0;
}

/* As arrives(), and then waits for the DMB's bit. Takes bit and mask. */
static int signals(struct ism_dev *dev, const struct ism_dmb *dmb, uint16_t *mask)
{
	uint64_t end = clock_ns() + WAIT_NS;
	int r;

	r = arrives(dev, dmb, AT_SIGNAL, 8, true);
	if (r < 1)
		return r;
	while (!ism_sba_test(dev->sba, dmb->idx)) {
		if (clock_ns() > end)
			return 0;
		pause_briefly();
	}
	*mask = ism_sba_take_mask(dev->sba, dmb->idx);
	ism_sba_forget(dev->sba, dmb->idx);
	return 1;
}

static void hold(struct ism_dev *dev, const struct ism_event *ev)
{
	if (dev->nheld < ISM_IEQ_SLOTS)
		dev->held[dev->nheld++] = *ev;
	else
		dev->held_lost = true;
}

/* Waits for the event of @type, @code and @tok. */
static bool event_arrives(struct ism_dev *dev, uint32_t type, uint32_t code, uint64_t tok)
{
	uint64_t end = clock_ns() + WAIT_NS;
	struct ism_event ev[ISM_IEQ_SLOTS];
	bool found = false, lost;

	for (;;) {
		unsigned int n = ism_dev_take_events(dev, ev, &lost);

		dev->held_lost |= lost;
		for (unsigned int i = 0; i < n; i++) {
			if (ev[i].type == type && ev[i].code == code && ev[i].tok == tok)
				found = true;
			else
				hold(dev, &ev[i]);
		}
		if (found || clock_ns() > end)
			return found;
		pause_briefly();
	}
}

static int test_moves(struct ism_dev *dev, const struct ism_dmb *dmb)
{
	struct ism_profile *p = &dev->profile;
	int r;

	r = arrives(dev, dmb, AT_ALIGNED, 32, false);
	p->loop_dmb = r == 1;
	if (r < 1) /* it may be registered but not written: nothing to learn here */
		return r;
	r = arrives(dev, dmb, AT_ODD, 1, false);
	p->unaligned_move = r == 1;
	if (r == 0) {
		log_err("%s: a one-byte move at an odd offset did not arrive; the function lacks "
			"relaxed alignment and cannot carry SMC-D",
			dev->port.name);
		return -ENOTSUP;
	}
	if (r < 0)
		return r;
	r = arrives(dev, dmb, AT_FULL, zpci_caps(dev->port.z)->max_store, false);
	p->full_move = r == 1;
	if (r == 0)
		log_warn("%s: a move of the announced %u bytes did not arrive", dev->port.name,
			zpci_caps(dev->port.z)->max_store);
	return r < 0 ? r : 0;
}

static int test_signals(struct ism_dev *dev, const struct ism_dmb *dmb)
{
	struct ism_profile *p = &dev->profile;
	uint16_t mask;
	int r;

	r = signals(dev, dmb, &p->mask_idx0);
	p->signal_without_msi = r == 1;
	if (r == 0) {
		ism_dev_enable_irq(dev);
		r = signals(dev, dmb, &p->mask_idx0);
	}
	if (r == 0)
		log_warn("%s: a signalled move did not show up; peers may go unnoticed",
			dev->port.name);
	if (r == 1 && ism_sba_s(dev->sba)) {
		r = signals(dev, dmb, &mask);
		p->signal_with_s = r == 1;
	}
	return r < 0 ? r : 0;
}

static int test_dmb(struct ism_dev *dev)
{
	struct ism_dmb *dmb;
	uint64_t token;
	int r, u;

	r = ism_register_private_dmb(dev, dev->gid, ISM_DMB_MIN_SIZE, NULL, &dmb);
	if (r < 0)
		return r == -ENODEV ? r : 0;
	r = test_moves(dev, dmb);
	if (r == 0 && dev->profile.loop_dmb)
		r = test_signals(dev, dmb);
	token = dmb->token;
	u = ism_unregister_dmb(dev, dmb);
	if (r == 0 && u == 0)
		dev->profile.unreg_event = event_arrives(dev, ISM_EVENT_BUF,
			ISM_EV_DMB_UNREGISTERED, token);
	return r < 0 ? r : u == -ENODEV ? u : 0;
}

static const char *yes(bool v)
{
	return v ? "yes" : "no";
}

int ism_selftest(struct ism_dev *dev)
{
	struct ism_profile *p = &dev->profile;
	bool reaches_self;
	int r;

	reaches_self = ism_cmd_query_rgid(&dev->port, dev->gid, false, 0) == 0;
	r = test_dmb(dev);
	if (r < 0)
		return r;
	r = ism_cmd_signal_ieq(&dev->port, dev->gid, SELF_CODE, 0);
	if (r == 0)
		p->self_event = event_arrives(dev, ISM_EVENT_SWR, SELF_CODE, dev->gid);
	if (dev->port.gone)
		return -ENODEV;
	log_info("%s: GID %016llx CHID %04x version %u max_len %u v2 %s; self: reach %s dmb %s "
		 "unaligned %s full %s signal %s with-s %s mask %04x event %s unreg-event %s",
		dev->port.name, (unsigned long long)dev->gid, ism_chid(dev), p->version, p->max_len,
		yes(p->vlan_1fff), yes(reaches_self), yes(p->loop_dmb), yes(p->unaligned_move),
		yes(p->full_move), yes(p->signal_without_msi), yes(p->signal_with_s), p->mask_idx0,
		yes(p->self_event), yes(p->unreg_event));
	return 0;
}
