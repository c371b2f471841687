/* SPDX-License-Identifier: MIT */
#include "ism/window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <utlist.h>

#include "ism/copy.h"
#include "ism/dev.h"
#include "vfio/attached.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define WAKE_BATCH 16
/* What a look at the clock makes a store longer. What takes more is somebody else's, and no store's. */
#define OVER_MAX   100u

struct ism_window {
	struct vfio_window w; /* first */
	uint64_t token;
	uint8_t *dmb;
	uint32_t len;
	uint32_t idx; /* in the owner's SBA, and its bell */
	const struct attach_gate *gate;
	uint32_t slot;
	uint64_t key;
	struct ism_bell *bell;
	uint64_t over_ns; /* that the last store took more than it was charged */
	struct ism_window *prev, *next;
};

/* ---- bells ----------------------------------------------------------------------------------- */

void ism_bell_put(struct ism_bell *b)
{
	if (!b || --b->refs)
		return;
	munmap(b->page, ATTACH_BELL_SIZE);
	ism_hands_fini(&b->hands);
	fd_closep(&b->sock);
	free(b);
}

/* Takes the sockets, also on failure. */
static struct ism_bell *bell_new(uint64_t gid, int page_fd, int sock, int hand)
{
	struct ism_bell *b = calloc(1, sizeof(*b));
	void *p = MAP_FAILED;

	if (b)
		p = mmap(NULL, ATTACH_BELL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
	if (p == MAP_FAILED) {
		free(b);
		fd_closep(&sock);
		fd_closep(&hand);
		return NULL;
	}
	*b = (struct ism_bell){ .gid = gid, .page = p, .sock = sock, .hands.sock = hand, .refs = 1 };
	return b;
}

struct ism_bell *ism_bell_of(struct ism_bell *list, uint64_t gid)
{
	struct ism_bell *b;

	LL_SEARCH_SCALAR(list, b, gid, gid);
	return b;
}

static void bell_drop(struct ism_bell **list, struct ism_bell *b)
{
	LL_DELETE(*list, b);
	ism_bell_put(b);
}

static void ring(struct ism_bell *b, uint32_t idx, uint8_t signal_idx)
{
	const uint32_t n = idx - ISM_DMB_IDX_MIN;
	const char wake = 0;

	atomic_fetch_or_explicit(&b->page->mask[idx],
		(uint16_t)(ISM_MASK_FIRST >> signal_idx | ISM_MASK_FIRST << (16 - signal_idx)),
		memory_order_release);
	/*
	 * Release: whoever acquires the bit sees the data of the move. Sequentially consistent, as all
	 * of these: the owner takes "rung" and then looks at the bits, while we set the bit and then
	 * look at "rung"; it raises "asleep" and then looks at "rung", while we set that and then look
	 * at "asleep". One of the two sees the other, both times.
	 */
	atomic_fetch_or(&b->page->bits[n / 64], UINT64_C(1) << (63 - n % 64));
	if (!atomic_load(&b->page->rung))
		atomic_store(&b->page->rung, 1);
	/* A full socket has enough in it to wake the owner. */
	if (atomic_load(&b->page->asleep) && atomic_exchange(&b->page->asleep, 0))
		fd_send(b->sock, &wake, sizeof(wake), NULL, 0, MSG_DONTWAIT);
}

struct ism_bell *ism_bell_next(struct ism_dev *dev, uint64_t round, uint64_t bits[ISM_SBA_WORDS])
{
	struct ism_bell *b;

	LL_FOREACH (dev->windows.bells, b) {
		if (b->round != round && atomic_load_explicit(&b->page->rung, memory_order_relaxed))
			break;
	}
	if (!b)
		return NULL;
	b->round = round;
	b->refs++;
	/* Before the bits, see ring(). */
	atomic_exchange(&b->page->rung, 0);
	for (unsigned int k = 0; k < ISM_SBA_WORDS; k++)
		bits[k] = atomic_load_explicit(&b->page->bits[k], memory_order_relaxed) ?
				  atomic_exchange(&b->page->bits[k], 0) :
				  0;
	return b;
}

uint16_t ism_bell_take_mask(struct ism_bell *b, uint32_t idx)
{
	return atomic_exchange_explicit(&b->page->mask[idx], (uint16_t)0, memory_order_acq_rel);
}

bool ism_bells_arm(struct ism_dev *dev)
{
	bool rung = false;
	struct ism_bell *b;

	LL_FOREACH (dev->windows.bells, b) {
		if (!atomic_load_explicit(&b->page->asleep, memory_order_relaxed))
			atomic_store(&b->page->asleep, 1);
	}
	/* Orders "asleep" before the look at "rung", see ring(). */
	atomic_thread_fence(memory_order_seq_cst);
	LL_FOREACH (dev->windows.bells, b)
		rung |= atomic_load(&b->page->rung) != 0;
	return rung;
}

void ism_bells_disarm(struct ism_dev *dev)
{
	struct ism_bell *b;

	/* A wake-up that is on its way is one too many, and that is all. */
	LL_FOREACH (dev->windows.bells, b) {
		if (atomic_load_explicit(&b->page->asleep, memory_order_relaxed))
			atomic_store_explicit(&b->page->asleep, 0, memory_order_relaxed);
	}
}

bool ism_bells_ack(struct ism_dev *dev)
{
	struct epoll_event ev[WAKE_BATCH];
	int n = epoll_wait(dev->windows.wake_fd, ev, WAKE_BATCH, 0);
	bool msi = false;
	char buf[64];

	for (int i = 0; i < n; i++) {
		if (ev[i].data.fd == dev->irq_fd)
			msi = true;
		else if (recv(ev[i].data.fd, buf, sizeof(buf), MSG_DONTWAIT) == 0)
			/* Fabric and ringers are gone: it would be readable for ever. */
			epoll_ctl(dev->windows.wake_fd, EPOLL_CTL_DEL, ev[i].data.fd, NULL);
	}
	return msi;
}

/* ---- windows --------------------------------------------------------------------------------- */

static bool window_open(const struct vfio_window *vw)
{
	const struct ism_window *w = (const struct ism_window *)vw;

	/* Acquire: a store that comes after the look is not done before it. */
	return !atomic_load_explicit(&w->gate->shut, memory_order_acquire) &&
	       atomic_load_explicit(&w->gate->slot[w->slot].key, memory_order_acquire) == w->key;
}

/* What a store of @len bytes takes at least, in ns; 0 outside of the costed mode. */
static uint64_t cost(const struct ism_window *w, uint16_t len)
{
	uint64_t ns = atomic_load_explicit(&w->gate->store_ns, memory_order_relaxed);
	uint64_t ps = atomic_load_explicit(&w->gate->store_ps_byte, memory_order_relaxed);

	if (!ns && !ps)
		return 0;
	if (ns > ATTACH_COST_MAX || ps > ATTACH_COST_MAX)
		return ATTACH_COST_MAX;
	ns += len * ps / 1000;
	return ns < ATTACH_COST_MAX ? ns : ATTACH_COST_MAX;
}

/* The processor is busy with a store for @ns since @begin; on average not for longer either. */
static void charge(struct ism_window *w, uint64_t ns, uint64_t begin)
{
	uint64_t took;

	ns = ns > w->over_ns ? ns - w->over_ns : 0;
	do
		took = clock_ns() - begin;
	while (took < ns);
	w->over_ns = took - ns < OVER_MAX ? took - ns : 0;
}

static bool window_store(struct vfio_window *vw, uint32_t offset, const void *data, uint16_t len)
{
	struct ism_window *w = (struct ism_window *)vw;
	uint32_t at = offset & (uint32_t)ISM_MOVE_OFF_MASK;
	uint32_t idx = offset >> ISM_MOVE_IDX_SHIFT;
	uint64_t ns = cost(w, len), begin = ns ? clock_ns() : 0;

	if (!window_open(vw) || idx > ISM_MOVE_IDX_MAX || at > w->len || len > w->len - at)
		return false;
	ism_copy(w->dmb + at, data, len);
	if (offset & ISM_MOVE_SF)
		ring(w->bell, w->idx, (uint8_t)idx);
	if (ns)
		charge(w, ns, begin);
	return true;
}

static void window_free(struct ism_dev *dev, struct ism_window *w)
{
	zpci_del_window(dev->port.z, &w->w);
	DL_DELETE(dev->windows.open, w);
	munmap(w->dmb, w->len);
	ism_bell_put(w->bell);
	slab_put(&dev->windows.slab, w);
}

/* The owner's bell, asked for once. */
int ism_ring_of(struct ism_dev *dev, uint64_t gid, struct ism_bell **ret)
{
	struct attach_msg m = { .op = ATTACH_BELL, .token = gid };
	struct ism_bell *b = ism_bell_of(dev->windows.rings, gid);
	int fds[ATTACH_MAX_FDS];
	int r;

	if (!dev->windows.gate)
		return -EOPNOTSUPP;
	if (!b) {
		r = ism_attach_call(dev, &m, NULL, 0, fds, ATTACH_BELL_FDS);
		if (r < 0)
			return r;
		r = fd_check_sealed(fds[0], ATTACH_BELL_SIZE);
		b = r == 0 ? bell_new(gid, fds[0], fd_steal(&fds[1]), fd_steal(&fds[2])) : NULL;
		for (unsigned int i = 0; i < ATTACH_BELL_FDS; i++)
			fd_closep(&fds[i]);
		if (!b)
			return r < 0 ? -EPROTO : -ENOMEM;
		LL_PREPEND(dev->windows.rings, b);
	}
	*ret = b;
	return 0;
}

/* What the fabric answered to MAP, judged. */
static bool sound(const struct attach_msg *m, uint32_t size, int fd)
{
	return m->key && m->slot < ATTACH_SLOTS && m->len >= size && m->len <= ISM_MOVE_OFF_MASK + 1 &&
	       m->idx >= ISM_DMB_IDX_MIN && m->idx < ISM_NR_DMBS &&
	       fd_check_sealed(fd, m->len) == 0;
}

static int add_window(struct ism_dev *dev, const struct attach_msg *m, int fd, struct ism_bell *bell)
{
	struct ism_window *w = slab_get(&dev->windows.slab);
	void *p = MAP_FAILED;
	int r = -ENOMEM;

	if (w)
		p = mmap(NULL, m->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED) {
		*w = (struct ism_window){
			.w = { .key = (uint32_t)(m->token >> ATTACHED_SHIFT),
				.open = window_open, .store = window_store },
			.token = m->token, .dmb = p, .len = m->len, .idx = m->idx,
			.gate = dev->windows.gate, .slot = m->slot, .key = m->key, .bell = bell };
		r = zpci_add_window(dev->port.z, &w->w);
	}
	if (r < 0) {
		if (p != MAP_FAILED)
			munmap(p, m->len);
		slab_put(&dev->windows.slab, w);
		return r;
	}
	bell->refs++;
	DL_APPEND(dev->windows.open, w);
	return 0;
}

static bool has_window(const struct ism_dev *dev, uint64_t token)
{
	const struct ism_window *w;

	DL_FOREACH (dev->windows.open, w) {
		if (w->token == token)
			return true;
	}
	return false;
}

/* Tokens of other fabrics may use bits that the table of windows does not tell apart. */
static bool windows_for(const struct ism_dev *dev, uint64_t token)
{
	return dev->windows.gate && !(token & ((UINT64_C(1) << ATTACHED_SHIFT) - 1));
}

/* What the gate says of @m->token, in @m. */
static bool find_slot(const struct attach_gate *g, struct attach_msg *m)
{
	for (uint32_t i = 0; i < ATTACH_PROBES; i++) {
		m->slot = attach_slot_of(m->token, i);
		/* Acquire: a token that is still there after this key is the key's. */
		m->key = atomic_load_explicit(&g->slot[m->slot].key, memory_order_acquire);
		if (m->key && atomic_load_explicit(&g->slot[m->slot].token,
			memory_order_relaxed) == m->token)
			return true;
	}
	return false;
}

int ism_window_open(struct ism_dev *dev, uint64_t gid, const struct attach_hand *hand, int fd)
{
	struct attach_msg m = { .token = hand->token, .idx = hand->idx, .len = hand->len };
	struct ism_bell *bell;
	int r;

	if (!windows_for(dev, m.token))
		return -EOPNOTSUPP;
	if (!find_slot(dev->windows.gate, &m))
		return -ENOENT;
	r = ism_ring_of(dev, gid, &bell);
	return r < 0 ? r : add_window(dev, &m, fd, bell);
}

int ism_map_dmb(struct ism_dev *dev, uint64_t gid, uint64_t token, uint32_t size)
{
	struct attach_msg m = { .op = ATTACH_MAP, .token = token };
	int fds[ATTACH_MAX_FDS];
	struct ism_bell *bell;
	int r;

	if (!windows_for(dev, token))
		return -EOPNOTSUPP;
	if (has_window(dev, token))
		return 0; /* its owner handed it to us */
	r = ism_ring_of(dev, gid, &bell);
	if (r < 0)
		return r;
	r = ism_attach_call(dev, &m, NULL, 0, fds, 1);
	if (r < 0)
		return r;
	r = sound(&m, size, fds[0]) ? add_window(dev, &m, fds[0], bell) : -EPROTO;
	fd_closep(&fds[0]);
	return r;
}

void ism_unmap_dmb(struct ism_dev *dev, uint64_t token)
{
	struct ism_window *w, *tmp;

	DL_FOREACH_SAFE (dev->windows.open, w, tmp) {
		if (w->token == token)
			window_free(dev, w);
	}
}

/* ---- consent --------------------------------------------------------------------------------- */

static int watch_bell(struct ism_dev *dev, struct ism_bell *b)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = b->sock };

	return epoll_ctl(dev->windows.wake_fd, EPOLL_CTL_ADD, b->sock, &ev) < 0 ? -errno : 0;
}

int ism_consent(struct ism_dev *dev, uint64_t gid)
{
	struct attach_msg m = { .op = ATTACH_CONSENT, .token = gid };
	int page FD_CLEANUP = -1, theirs FD_CLEANUP = -1, hand FD_CLEANUP = -1;
	struct ism_bell *b, *old = ism_bell_of(dev->windows.bells, gid);
	int sv[2], hv[2], fds[ATTACH_MAX_FDS], r;

	if (dev->windows.wake_fd < 0)
		return -EOPNOTSUPP;
	page = fd_memfd("ism-bell", ATTACH_BELL_SIZE);
	if (page < 0)
		return page;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	theirs = sv[1];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, hv) < 0) {
		r = -errno;
		fd_closep(&sv[0]);
		return r;
	}
	hand = hv[1];
	b = bell_new(gid, page, sv[0], hv[0]);
	if (!b)
		return -ENOMEM;
	r = watch_bell(dev, b);
	if (r == 0) {
		const int give[ATTACH_BELL_FDS] = { page, theirs, hand };

		r = ism_attach_call(dev, &m, give, ATTACH_BELL_FDS, fds, 0);
	}
	if (r < 0) {
		ism_bell_put(b);
		return r;
	}
	if (old)
		bell_drop(&dev->windows.bells, old);
	LL_PREPEND(dev->windows.bells, b);
	return 0;
}

void ism_forget_peer(struct ism_dev *dev, uint64_t gid)
{
	struct ism_bell *b = ism_bell_of(dev->windows.rings, gid);

	if (b)
		bell_drop(&dev->windows.rings, b);
	b = ism_bell_of(dev->windows.bells, gid);
	if (b)
		ism_hands_drop(&b->hands);
}

/* ---- life ------------------------------------------------------------------------------------ */

void ism_windows_init(struct ism_windows *w)
{
	*w = (struct ism_windows){ .wake_fd = -1, .slab = SLAB_OF(struct ism_window) };
}

static int open_wake(struct ism_dev *dev)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = dev->irq_fd };
	int fd FD_CLEANUP = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0 || (dev->irq_fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, dev->irq_fd, &ev) < 0))
		return -errno;
	return fd_steal(&fd);
}

void ism_windows_open(struct ism_dev *dev)
{
	struct attach_msg m = { .op = ATTACH_GATE };
	int fds[ATTACH_MAX_FDS];
	void *p = MAP_FAILED;
	int r = ism_attach_call(dev, &m, NULL, 0, fds, 1);

	if (r < 0) {
		if (r != -EOPNOTSUPP)
			log_warn("%s: no gate from the fabric (%s): every store goes to the function",
				dev->port.name, strerror(-r));
		return;
	}
	if (fd_check_sealed(fds[0], ATTACH_GATE_SIZE) == 0)
		p = mmap(NULL, ATTACH_GATE_SIZE, PROT_READ, MAP_SHARED, fds[0], 0);
	fd_closep(&fds[0]);
	if (p == MAP_FAILED)
		return;
	r = open_wake(dev);
	if (r < 0) {
		munmap(p, ATTACH_GATE_SIZE);
		return;
	}
	dev->windows.wake_fd = r;
	dev->windows.gate = p;
}

void ism_windows_close(struct ism_dev *dev)
{
	struct ism_windows *ws = &dev->windows;
	struct ism_window *w, *tmp;

	DL_FOREACH_SAFE (ws->open, w, tmp)
		window_free(dev, w);
	while (ws->rings)
		bell_drop(&ws->rings, ws->rings);
	while (ws->bells)
		bell_drop(&ws->bells, ws->bells);
	if (ws->gate)
		munmap((void *)(uintptr_t)ws->gate, ATTACH_GATE_SIZE);
	ws->gate = NULL;
	fd_closep(&ws->wake_fd);
}
