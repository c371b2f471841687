/* SPDX-License-Identifier: MIT */
#include "ism/dev.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ism/sba.h"
#include "ism/window.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define CMD_AREA_MIN   256u /* the longest reply ends at 200 */
#define CMD_STORE_MIN  32u  /* the longest command body */
#define QUARANTINE_MS  10u
#define NS_PER_MS      UINT64_C(1000000)

/* Identity and geometry. 0 or -ENOTSUP. */
static int check_function(const struct ism_dev *dev)
{
	const struct zpci_caps *caps = zpci_caps(dev->port.z);
	bool by_id = caps->vendor == ISM_PCI_VENDOR && caps->device == ISM_PCI_DEVICE;

	if (!by_id && caps->info.pft != ISM_PFT) {
		log_err("%s: PCI function %04x:%04x of type %u is no ISM function; name one with "
			"id 1014:04ed",
			dev->port.name, caps->vendor, caps->device, caps->info.pft);
		return -ENOTSUP;
	}
	if (caps->max_store < CMD_STORE_MIN || caps->bar_size[ISM_PCIAS_CMD] < CMD_AREA_MIN ||
		!caps->bar_size[ISM_PCIAS_MOVE]) {
		log_err("%s: the function takes stores of %u bytes and has a command area of %llu; "
			"%u and %u are needed",
			dev->port.name, caps->max_store,
			(unsigned long long)caps->bar_size[ISM_PCIAS_CMD], CMD_STORE_MIN,
			CMD_AREA_MIN);
		return -ENOTSUP;
	}
	return 0;
}

/* SBA and IEQ: zero, as the function may rely on. */
static int register_pages(struct ism_dev *dev)
{
	int r;

	r = ism_memory_get(dev, 2 * ISM_PAGE_SIZE, &dev->shared);
	if (r < 0)
		return r;
	dev->sba = dev->shared.va;
	ism_ieq_init(&dev->ieq, dev->sba + ISM_PAGE_SIZE);
	r = ism_cmd_reg_sba(&dev->port, dev->shared.iova);
	if (r < 0)
		return r;
	dev->has_sba = true;
	r = ism_cmd_reg_ieq(&dev->port, dev->shared.iova + ISM_PAGE_SIZE);
	if (r < 0)
		return r;
	dev->has_ieq = true;
	return 0;
}

static bool our_pages(const struct ism_dev *dev, const struct ism_resp_query_info *info)
{
	return be64_get(info->sba) == dev->shared.iova &&
	       be64_get(info->ieq) == dev->shared.iova + ISM_PAGE_SIZE;
}

/* Only diagnostics: a function that refuses the question is still usable. */
static int query_info(struct ism_dev *dev)
{
	struct ism_resp_query_info info;
	int r;

	r = ism_cmd_query_info(&dev->port, &info);
	if (r == -EIO)
		return 0;
	if (r < 0)
		return r;
	dev->profile.version = be32_get(info.version);
	dev->profile.max_len = be32_get(info.max_len);
	dev->tells_pages = our_pages(dev, &info);
	if (be32_get(info.vlan_required)) {
		log_err("%s: the function demands a VLAN, which is not supported; use one without",
			dev->port.name);
		return -ENOTSUP;
	}
	return 0;
}

static int init_function(struct ism_dev *dev)
{
	int r;

	r = register_pages(dev);
	if (r == 0)
		r = query_info(dev);
	if (r == 0)
		r = ism_cmd_read_gid(&dev->port, &dev->gid);
	if (r < 0) {
		if (r == -EIO)
			log_err("%s: the function cannot be initialised (ret 0x%04x); reset it, or "
				"release it from its other user",
				dev->port.name, dev->port.last_ret);
		return r;
	}
	dev->profile.vlan_1fff = ism_cmd_add_vlan(&dev->port, ISM_RESERVED_VLAN) == 0;
	return dev->port.gone ? -ENODEV : 0;
}

void ism_dev_enable_irq(struct ism_dev *dev)
{
	int fd FD_CLEANUP = -1;
	int r;

	if (dev->irq_fd >= 0)
		return;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = fd < 0 ? -errno : zpci_set_msi(dev->port.z, fd);
	if (r == 0)
		dev->irq_fd = fd_steal(&fd);
	else
		log_info("%s: no interrupt (%d): the function can only be polled", dev->port.name,
			r);
}

int ism_open(struct zpci *z, const struct ism_params *params, struct ism_dev **ret)
{
	struct ism_dev *dev = calloc(1, sizeof(*dev));
	int r;

	if (!dev) {
		zpci_close(z);
		return -ENOMEM;
	}
	dev->port.z = z;
	dev->port.name = params->name ? params->name : "ism";
	dev->handler = params->handler;
	dev->entries = SLAB_OF(struct ism_dmb_entry);
	dev->ctx = params->ctx;
	dev->quarantine_ns = NS_PER_MS *
		(params->quarantine_ms ? params->quarantine_ms : QUARANTINE_MS);
	dev->next_idx = ISM_DMB_IDX_MIN;
	dev->irq_fd = -1;
	dev->side_fd = -1;
	ism_windows_init(&dev->windows);
	r = check_function(dev);
	if (r == 0)
		r = init_function(dev);
	if (r == 0 && !params->skip_selftest)
		r = ism_selftest(dev);
	if (r < 0) {
		ism_close(dev);
		return r;
	}
	ism_dev_enable_irq(dev);
	ism_attach_open(dev);
	if (params->map_dmbs)
		ism_windows_open(dev);
	*ret = dev;
	return 0;
}

struct ism_dev *ism_close(struct ism_dev *dev)
{
	if (!dev)
		return NULL;
	ism_windows_close(dev);
	ism_dmb_unregister_all(dev);
	if (dev->has_ieq)
		ism_cmd_unreg_ieq(&dev->port);
	if (dev->has_sba)
		ism_cmd_unreg_sba(&dev->port);
	if (dev->irq_fd >= 0)
		zpci_set_msi(dev->port.z, -1);
	/* Ends the device's access, whatever it refused before; memory goes only afterwards. */
	zpci_close(dev->port.z);
	ism_dmb_drop_all(dev);
	fd_closep(&dev->irq_fd);
	fd_closep(&dev->side_fd);
	free(dev);
	return NULL;
}

uint64_t ism_gid(const struct ism_dev *dev)
{
	return dev->gid;
}

uint16_t ism_chid(const struct ism_dev *dev)
{
	return zpci_caps(dev->port.z)->info.pchid;
}

const struct ism_profile *ism_profile(const struct ism_dev *dev)
{
	return &dev->profile;
}

const struct ism_counters *ism_counters(const struct ism_dev *dev)
{
	return &dev->port.counters;
}

struct zpci *ism_zpci(struct ism_dev *dev)
{
	return dev->port.z;
}

uint16_t ism_last_ret(const struct ism_dev *dev)
{
	return dev->port.last_ret;
}

int ism_query_remote_gid(struct ism_dev *dev, uint64_t rgid, bool vlan_valid, uint16_t vlan)
{
	return ism_cmd_query_rgid(&dev->port, rgid, vlan_valid, vlan);
}

int ism_signal_event(struct ism_dev *dev, uint64_t rgid, uint32_t code, uint64_t info)
{
	return ism_cmd_signal_ieq(&dev->port, rgid, code, info);
}

int ism_add_vlan(struct ism_dev *dev, uint16_t vlan)
{
	return ism_cmd_add_vlan(&dev->port, vlan);
}

int ism_del_vlan(struct ism_dev *dev, uint16_t vlan)
{
	return ism_cmd_del_vlan(&dev->port, vlan);
}

/* The door's own errors tell the caller more than -EIO would: limits, full tables. */
static int source_error(struct ism_dev *dev, int r)
{
	return r == -ENODEV || r == -ETIMEDOUT ? ism_port_error(&dev->port, r) : r;
}

int ism_map_source(struct ism_dev *dev, void *va, size_t len, int fd, uint64_t fd_offset,
	uint64_t *iova)
{
	if (dev->port.gone)
		return -ENODEV;
	if (!zpci_caps(dev->port.z)->maps_sources) {
		*iova = 0;
		return 0;
	}
	return source_error(dev, zpci_dma_map(dev->port.z, va, len, fd, fd_offset, iova));
}

int ism_unmap_source(struct ism_dev *dev, uint64_t iova, size_t len)
{
	if (dev->port.gone)
		return -ENODEV;
	if (!zpci_caps(dev->port.z)->maps_sources)
		return 0;
	return source_error(dev, zpci_dma_unmap(dev->port.z, iova, len));
}

unsigned int ism_dev_take_events(struct ism_dev *dev, struct ism_event out[ISM_IEQ_SLOTS],
	bool *lost)
{
	bool e = ism_sba_e(dev->sba);
	unsigned int n;

	if (e)
		ism_sba_clear_e(dev->sba);
	n = ism_ieq_poll(&dev->ieq, e, out, lost);
	dev->port.counters.events += n;
	dev->port.counters.event_overruns += *lost;
	return n;
}

static unsigned int deliver_events(struct ism_dev *dev, const struct ism_event *ev, unsigned int n,
	bool lost)
{
	/* Losses first: whoever re-reads the peers' state then sees the events in their light. */
	if (lost && dev->handler->overrun)
		dev->handler->overrun(dev->ctx);
	for (unsigned int i = 0; i < n && dev->handler->event; i++)
		dev->handler->event(dev->ctx, &ev[i]);
	return n + lost;
}

static unsigned int deliver_held(struct ism_dev *dev)
{
	unsigned int n = dev->nheld;
	bool lost = dev->held_lost;

	dev->nheld = 0;
	dev->held_lost = false;
	return deliver_events(dev, dev->held, n, lost);
}

/*
 * Bits of one word, of the SBA or of a peer's bell. The table is asked anew for each: a handler may
 * have unregistered the next.
 */
static unsigned int deliver_word(struct ism_dev *dev, struct ism_bell *bell, unsigned int k,
	uint64_t bits)
{
	unsigned int n = 0;

	while (bits) {
		unsigned int bit = (unsigned int)__builtin_clzll(bits);
		uint32_t idx = ISM_DMB_IDX_MIN + 64 * k + bit;
		struct ism_dmb_entry *e = dev->dmbs[idx];
		uint16_t mask = bell ? ism_bell_take_mask(bell, idx) :
				       ism_sba_take_mask(dev->sba, idx);

		bits &= ~(UINT64_C(1) << (63 - bit));
		if (!e || e->state != ISM_DMB_LIVE) /* a late store */
			continue;
		if (bell && e->dmb.rgid != bell->gid) /* not its to signal */
			continue;
		n++;
		if (dev->handler->dmb)
			dev->handler->dmb(dev->ctx, &e->dmb, mask);
	}
	dev->port.counters.signals += n;
	return n;
}

/* A handler may replace or drop any bell, so the next one is looked for from the start. */
static unsigned int deliver_bells(struct ism_dev *dev)
{
	uint64_t bits[ISM_SBA_WORDS];
	uint64_t round = ++dev->windows.round;
	struct ism_bell *b;
	unsigned int n = 0;

	while ((b = ism_bell_next(dev, round, bits)) != NULL) {
		for (unsigned int k = 0; k < ISM_SBA_WORDS; k++) {
			if (bits[k])
				n += deliver_word(dev, b, k, bits[k]);
		}
		ism_bell_put(b);
	}
	return n;
}

unsigned int ism_poll(struct ism_dev *dev)
{
	struct ism_event ev[ISM_IEQ_SLOTS];
	unsigned int n = 0, events;
	bool lost;

	/* Left set, s keeps the function from raising interrupts; not every one signals then. */
	if (!dev->profile.signal_with_s && ism_sba_s(dev->sba))
		ism_sba_clear_s(dev->sba);
	for (unsigned int k = 0; k < ISM_SBA_WORDS; k++) {
		uint64_t bits = ism_sba_take(dev->sba, k);

		if (bits)
			n += deliver_word(dev, NULL, k, bits);
	}
	n += deliver_bells(dev);
	if (dev->nheld || dev->held_lost)
		n += deliver_held(dev);
	events = ism_dev_take_events(dev, ev, &lost);
	if (events || lost)
		n += deliver_events(dev, ev, events, lost);
	ism_dmb_reap(dev);
	return n;
}

bool ism_tidy(struct ism_dev *dev)
{
	return ism_files_destroy_one(&dev->files);
}

void ism_put_off(struct ism_dev *dev, bool off)
{
	dev->put_off = off;
}

int ism_irq_fd(const struct ism_dev *dev)
{
	return dev->windows.wake_fd >= 0 ? dev->windows.wake_fd : dev->irq_fd;
}

bool ism_irq_arm(struct ism_dev *dev)
{
	bool rung;

	/* Nothing is left over while we sleep. */
	while (ism_files_destroy_one(&dev->files))
		;
	rung = ism_bells_arm(dev);
	ism_sba_clear_s(dev->sba);
	return rung || ism_sba_any(dev->sba) || ism_sba_e(dev->sba) || ism_ieq_pending(&dev->ieq) ||
	       dev->nheld || dev->held_lost;
}

void ism_irq_disarm(struct ism_dev *dev)
{
	ism_bells_disarm(dev);
}

void ism_irq_ack(struct ism_dev *dev)
{
	uint64_t count;

	if (dev->windows.wake_fd >= 0 && !ism_bells_ack(dev))
		return;
	if (dev->irq_fd >= 0 && read(dev->irq_fd, &count, sizeof(count)) == sizeof(count))
		dev->port.counters.irqs += count;
}

int ism_liveness_fd(const struct ism_dev *dev)
{
	return zpci_liveness_fd(dev->port.z);
}

int ism_probe(struct ism_dev *dev)
{
	struct ism_resp_query_info info;
	uint64_t gid;
	int r;

	if (dev->port.gone)
		return -ENODEV;
	r = zpci_check(dev->port.z);
	if (r < 0)
		return ism_port_error(&dev->port, r);
	r = ism_cmd_read_gid(&dev->port, &gid);
	if (r == 0 && gid != dev->gid)
		return -ESTALE;
	if (r < 0 || !dev->tells_pages)
		return r;
	r = ism_cmd_query_info(&dev->port, &info);
	return r == 0 && !our_pages(dev, &info) ? -ESTALE : r;
}
