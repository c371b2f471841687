/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/kit.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "smcd/daemon/function.h"
#include "smcd/ipc/chan.h"
#include "vfio/base/fd.h"

static void drop(struct kit *k)
{
	if (k->map)
		munmap(k->map, CHAN_CTL_SIZE);
	fd_closep(&k->fd);
	fd_closep(&k->sock[0]);
	fd_closep(&k->sock[1]);
}

static int make_pair(int type, struct kit *k)
{
	return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, k->sock) < 0 ? -errno : 0;
}

static int make_ctl(struct kit *k)
{
	struct function_source src;
	int r = function_source_get(CHAN_CTL_SIZE, 0, &src);

	if (r < 0)
		return r;
	k->fd = src.fd;
	k->map = src.map;
	return 0;
}

static int make(enum kit_kind kind, struct kit *ret)
{
	struct kit k = { .fd = -1, .sock = { -1, -1 } };
	int r = -EINVAL;

	switch (kind) {
	case KIT_CTL:
		r = make_ctl(&k);
		break;
	case KIT_SOCK:
		r = make_pair(SOCK_SEQPACKET, &k);
		break;
	case KIT_PAIR:
		r = make_pair(SOCK_STREAM, &k);
		break;
	case KIT_KINDS:
		break;
	}
	if (r < 0)
		drop(&k);
	else
		*ret = k;
	return r;
}

static void empty(struct kit_shelf *s)
{
	while (s->n > 0)
		drop(&s->v[--s->n]);
	s->want = 0;
}

static void on_idle(struct loop_timer *timer)
{
	struct kits *ks = CONTAINER(timer, struct kits, idle);
	struct daemon *d = CONTAINER(ks, struct daemon, kits);
	uint64_t now = clock_ns(), next = UINT64_MAX;

	for (unsigned int i = 0; i < KIT_KINDS; i++) {
		struct kit_shelf *s = &ks->shelf[i];

		if (now - s->taken_ns >= KIT_IDLE_NS)
			empty(s);
		else if ((s->n > 0 || s->want > 0) && s->taken_ns < next)
			next = s->taken_ns;
	}
	/* Without a timer nothing would be given back. */
	if (next != UINT64_MAX && loop_timer_set(d->loop, timer, next + KIT_IDLE_NS) < 0)
		kits_fini(d);
}

void kits_init(struct daemon *d)
{
	d->kits = (struct kits){ .idle.fn = on_idle };
}

void kits_fini(struct daemon *d)
{
	loop_timer_cancel(d->loop, &d->kits.idle);
	for (unsigned int i = 0; i < KIT_KINDS; i++)
		empty(&d->kits.shelf[i]);
}

static void learn(struct daemon *d, struct kit_shelf *s)
{
	uint64_t now = d->now_ns;

	s->want = s->taken_ns && now - s->taken_ns < KIT_SOON_NS ? KIT_MAX : 0;
	s->taken_ns = now;
	if (s->want > 0 && !d->kits.idle.pos &&
		loop_timer_set(d->loop, &d->kits.idle, now + KIT_IDLE_NS) < 0)
		s->want = 0;
}

int kit_get(struct daemon *d, enum kit_kind kind, struct kit *ret)
{
	struct kit_shelf *s = &d->kits.shelf[kind];

	learn(d, s);
	if (s->n == 0)
		return make(kind, ret);
	*ret = s->v[--s->n];
	return 0;
}

bool kits_fill(struct daemon *d)
{
	for (unsigned int i = 0; i < KIT_KINDS; i++) {
		struct kit_shelf *s = &d->kits.shelf[i];

		if (s->n >= s->want)
			continue;
		if (make((enum kit_kind)i, &s->v[s->n]) == 0) {
			s->n++;
			return true;
		}
		s->want = 0; /* nobody waits for it: an error is for whoever asks next */
	}
	return false;
}
