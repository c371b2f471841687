/* SPDX-License-Identifier: MIT */
/*
 * Two whole daemons on one fabric in this process, and applications that send them anything: bytes
 * with descriptors where a message is expected, messages at the wrong time, and, once they have a
 * channel, any word in its control page. Whatever they do, the daemons go on, and when all of them
 * have left, no channel, no charge and no descriptor of theirs is left.
 *
 * The daemons reach their functions through a door of our own (tests/protocol/local.h): the linker
 * puts it where they open a vfio-user socket.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuzz.h"
#include "smcd/daemon/channel.h"
#include "smcd/daemon/client.h"
#include "smcd/daemon/daemon.h"
#include "smcd/daemon/function.h"
#include "tests/fuzz/fabric.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"
#include "vfio/user/client.h"

#define APPS	  8u
#define STEPS_MAX 120
#define QUIET_NS  UINT64_C(20000000000) /* until everything must have been given back */

struct app {
	struct daemon *d;
	int sock; /* -1: none */
	bool listens;
	uint64_t id; /* of its last channel */
	struct chan_ctl *ctl; /* with a channel */
	uint8_t *ring;
	void *send[CHAN_SEND_SLOTS];
	size_t send_size[CHAN_SEND_SLOTS];
	uint32_t tx_n, rx_n;
	const uint8_t *dmb;
	size_t dmb_size;
	uint32_t order;
};

static bool built;
static struct config cfg[2];
static struct daemon daemons[2];
static struct app apps[APPS];
static char dir[] = "/tmp/smcd-fuzz-XXXXXX";

/* ---- the door -------------------------------------------------------------------------------- */

int __wrap_vu_client_open(const struct vu_client_params *params, struct vfio_device **ret);
void __wrap_vu_client_settle(struct vfio_device *dev, unsigned int timeout_ms);
int __wrap_zpci_open(struct vfio_device *dev, struct zpci **ret);

/* The socket's path is "0" or "1"; the device is nothing but that. */
int __wrap_vu_client_open(const struct vu_client_params *params, struct vfio_device **ret)
{
	*ret = (struct vfio_device *)(uintptr_t)(1 + strtoul(params->path, NULL, 10));
	return 0;
}

void __wrap_vu_client_settle(struct vfio_device *dev, unsigned int timeout_ms)
{
}

int __wrap_zpci_open(struct vfio_device *dev, struct zpci **ret)
{
	*ret = fabric_door((unsigned int)(uintptr_t)dev - 1);
	return 0;
}

/* ---- the daemons ----------------------------------------------------------------------------- */

static void turn(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct daemon *d = &daemons[i];

		d->now_ns = clock_ns();
		daemon_work(d);
		CHECK(loop_turn(d->loop, 0) >= 0);
		channels_reap(d);
	}
}

static void set(struct config *c, const char *section, const char *arg, const char *key,
	const char *value)
{
	const struct config_at at = { .file = "fuzz" };
	char why[CONFIG_WHY];

	CHECK(config_set(c, &at, section, arg, key, value, why) == 0);
}

static void clean_up(void)
{
	static const char *const names[] = { "0", "0.lock", "1", "1.lock" };
	char path[64];
	unsigned int i;

	for (i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

static void build(void)
{
	char text[64];
	unsigned int i;

	log_init("fuzz", (enum log_level)0); /* what is refused here is refused on purpose */
	fabric_build();
	CHECK(mkdtemp(dir));
	atexit(clean_up);
	for (i = 0; i < 2; i++) {
		CHECK(config_init(&cfg[i]) == 0);
		snprintf(text, sizeof(text), "%s/%u", dir, i);
		set(&cfg[i], "daemon", NULL, "socket", text);
		set(&cfg[i], "daemon", NULL, "name", i ? "b" : "a");
		set(&cfg[i], "daemon", NULL, "loop", "epoll");
		set(&cfg[i], "function", "ism0", "vfio-user", i ? "1" : "0");
		set(&cfg[i], "smc", NULL, "ueid", "FUZZ");
		set(&cfg[i], "smc", NULL, "pcistb", "region");
		set(&cfg[i], "limits", NULL, "linger_s", "0");
		set(&cfg[i], "limits", NULL, "channels_per_user", "12");
		snprintf(text, sizeof(text), "%#llx", (unsigned long long)(FABRIC_GID + 1 - i));
		set(&cfg[i], "peer", i ? "a" : "b", "gid", text);
		CHECK(daemon_init(&daemons[i], &cfg[i]) == 0);
	}
	for (i = 0; i < APPS; i++)
		apps[i].sock = -1;
	built = true;
}

/* ---- applications ---------------------------------------------------------------------------- */

static void drop_dmb(struct app *a)
{
	if (a->dmb)
		munmap((void *)(uintptr_t)a->dmb, a->dmb_size);
	a->ctl = NULL;
	a->dmb = NULL;
}

static void drop_send(struct app *a, unsigned int slot)
{
	if (a->send[slot])
		munmap(a->send[slot], a->send_size[slot]);
	a->send[slot] = NULL;
}

static void leave(struct app *a)
{
	drop_dmb(a);
	for (unsigned int i = 0; i < CHAN_SEND_SLOTS; i++)
		drop_send(a, i);
	a->id = 0;
	fd_closep(&a->sock);
}

static void arrive(struct app *a, unsigned int which)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (a->sock >= 0)
		leave(a);
	a->d = &daemons[which];
	a->listens = false;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/%u", dir, which);
	a->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	CHECK(a->sock >= 0);
	CHECK(connect(a->sock, (struct sockaddr *)&sa, sizeof(sa)) == 0);
}

static void *map(int fd, size_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static void take_channel(struct app *a, const struct ipc_channel *m, const int *fds, unsigned int nfds)
{
	size_t len = CHAN_CTL_SIZE + m->tx_size;

	drop_dmb(a);
	CHECK(m->path == IPC_PATH_MEDIATED && m->slot < CHAN_SEND_SLOTS && m->kept <= 1);
	CHECK(nfds + m->kept == IPC_FDS_MEDIATED);
	a->id = m->id;
	a->tx_n = m->tx_size - CDC_SIZE;
	a->rx_n = m->rx_size - CDC_SIZE;
	a->dmb_size = m->rx_size;
	a->order = m->order;
	CHECK(fd_check_sealed(fds[0], a->dmb_size) == 0);
	a->dmb = map(fds[0], a->dmb_size, PROT_READ);
	if (m->kept) {
		CHECK(a->send[m->slot] && a->send_size[m->slot] == len);
	} else {
		drop_send(a, m->slot);
		CHECK(fd_check_sealed(fds[1], len) == 0);
		a->send[m->slot] = map(fds[1], len, PROT_READ | PROT_WRITE);
		a->send_size[m->slot] = len;
	}
	a->ctl = a->send[m->slot];
	a->ring = (uint8_t *)a->ctl + CHAN_CTL_SIZE + CDC_SIZE;
}

/* A free place for a channel that a listener was given. */
static struct app *spare(void)
{
	unsigned int i;

	for (i = 0; i < APPS; i++) {
		if (apps[i].sock < 0)
			return &apps[i];
	}
	return NULL;
}

/* Who has left the connection of channel @id. */
static struct app *who_left(uint64_t id)
{
	unsigned int i;

	for (i = 0; i < APPS; i++) {
		if (apps[i].sock >= 0 && apps[i].id == id)
			return &apps[i];
	}
	return NULL;
}

static void on_channel(struct app *a, const struct ipc_channel *m, int *fds, unsigned int nfds)
{
	struct app *to = a;

	if (!a->listens) {
		take_channel(a, m, fds, nfds);
		return;
	}
	to = m->on ? who_left(m->on) : spare();
	if (!to)
		return;
	if (m->on) {
		take_channel(to, m, fds, nfds);
		return;
	}
	to->d = a->d;
	to->listens = false;
	to->sock = fd_steal(&fds[0]);
	take_channel(to, m, fds + 1, nfds - 1);
}

static void receive(struct app *a)
{
	union {
		struct ipc_hdr hdr;
		struct ipc_channel channel;
		struct ipc_error error;
		struct ipc_record record;
	} m;
	int fds[FD_MSG_MAX];
	unsigned int i, nfds;
	ssize_t len;

	while (a->sock >= 0) {
		len = fd_recv(a->sock, &m, sizeof(m), fds, FD_MSG_MAX, &nfds, MSG_DONTWAIT);
		if (len == -EAGAIN || len == -ECONNRESET)
			return;
		if (len <= 0) {
			leave(a);
			return;
		}
		CHECK((size_t)len >= sizeof(m.hdr) && m.hdr.magic == IPC_MAGIC);
		if (m.hdr.type == IPC_LISTENING)
			a->listens = true;
		if (m.hdr.type == IPC_CHANNEL) {
			CHECK(len == sizeof(m.channel));
			on_channel(a, &m.channel, fds, nfds);
		} else if (m.hdr.type == IPC_ERROR) {
			CHECK(len == sizeof(m.error) && m.error.error > 0);
			CHECK(memchr(m.error.text, '\0', sizeof(m.error.text)));
		}
		if (m.hdr.type == IPC_RECORD)
			CHECK((size_t)len == offsetof(struct ipc_record, data) + m.record.len);
		for (i = 0; i < nfds; i++)
			fd_closep(&fds[i]);
	}
}

static void say(struct app *a, const void *msg, size_t len, unsigned int nfds)
{
	int fds[FD_MSG_MAX] = { -1 };
	unsigned int i;

	for (i = 0; i < nfds; i++)
		fds[i] = STDERR_FILENO;
	if (a->sock >= 0)
		fd_send(a->sock, msg, len, fds, nfds, MSG_DONTWAIT);
}

static void garbage(struct app *a, struct input *in)
{
	static const uint16_t lens[] = { sizeof(struct ipc_hdr), sizeof(struct ipc_connect),
		sizeof(struct ipc_listen), sizeof(struct ipc_query) };
	uint8_t how = in8(in), msg[512];
	size_t len = how & 1 ? lens[in8(in) % 4] : in16(in) % sizeof(msg);
	struct ipc_hdr hdr;

	in_bytes(in, msg, sizeof(msg) < len ? sizeof(msg) : len);
	if (how & 2) {
		hdr = ipc_hdr((enum ipc_type)in8(in));
		memcpy(msg, &hdr, sizeof(hdr));
	}
	say(a, msg, len, how & 0xf0 ? 0 : how >> 2 & 3);
}

static void service(char name[IPC_NAME_MAX], struct input *in)
{
	static const char *const names[] = { "echo", "7", "time", "70000", "bad name" };
	uint8_t how = in8(in);

	memset(name, 0, IPC_NAME_MAX);
	if (how >= 0xf8)
		in_bytes(in, name, 8);
	else
		strcpy(name, names[how < 0xe0 ? how % 3 : how % 5]);
}

static void ask(struct app *a, struct input *in)
{
	struct ipc_connect c = { .hdr = ipc_hdr(IPC_CONNECT) };
	struct ipc_listen l = { .hdr = ipc_hdr(IPC_LISTEN) };
	struct ipc_query q = { .hdr = ipc_hdr(IPC_QUERY) };
	struct ipc_capture cap = { .hdr = ipc_hdr(IPC_CAPTURE) };
	uint8_t how = in8(in);

	switch (how % 4) {
	case 0:
		service(l.service, in);
		l.backlog = how & 16 ? in32(in) : 0;
		l.rcvbuf = how & 32 ? in32(in) : 0;
		say(a, &l, sizeof(l), 0);
		return;
	case 1:
		cap.what = q.what = in8(in) % 8;
		if (how & 128)
			say(a, &cap, sizeof(cap), 0);
		else
			say(a, &q, sizeof(q), 0);
		return;
	default:
		strcpy(c.peer, how & 64 ? "0x1d15000000000001" : a->d == &daemons[0] ? "b" : "a");
		service(c.service, in);
		c.rcvbuf = how & 16 ? in32(in) : 16384;
		c.timeout_ms = how & 32 ? in32(in) : 0;
		c.path = how & 8 ? in8(in) % 4 : 0;
		say(a, &c, sizeof(c), 0);
	}
}

/* Any of its words, to anything or to something near the truth. */
static void scribble(struct app *a, struct input *in)
{
	uint8_t how = in8(in);
	uint64_t v = how & 0x80 ? in64(in) : in8(in);
	struct chan_ctl *c = a->ctl;

	if (!c)
		return;
	switch (how % 8) {
	case 0:
		atomic_store(&c->tx_pos, v);
		break;
	case 1:
		atomic_fetch_add(&c->tx_pos, v * 97);
		break;
	case 2:
		atomic_store(&c->rx_pos, v);
		break;
	case 3:
		atomic_fetch_add(&c->rx_pos, v);
		break;
	case 4:
		atomic_store(&c->app_flags, (uint32_t)v);
		break;
	case 5:
		atomic_store(&c->app_wait, (uint32_t)v);
		break;
	case 6:
		atomic_store(&c->tx_urg, how & 0x80 ? v : atomic_load(&c->tx_pos) + v);
		break;
	default: /* also the daemon's words */
		((uint8_t *)c)[in8(in) % sizeof(*c)] = (uint8_t)v;
	}
}

/* What an honest application does: takes all there is, puts a bit. */
static void use(struct app *a, struct input *in)
{
	uint64_t tx, rx, adv, k = in16(in);
	struct smc_cursor prod;

	if (!a->ctl)
		return;
	tx = atomic_load(&a->ctl->tx_pos);
	rx = atomic_load(&a->ctl->rx_pos);
	prod = cdc_load_prod(a->dmb, (enum cdc_order)a->order);
	if (cursor_advance(rx, prod, a->rx_n, a->rx_n, &adv) == 0)
		atomic_store(&a->ctl->rx_pos, rx + adv);
	memset(a->ring, (int)k, a->tx_n < k ? a->tx_n : k);
	atomic_store(&a->ctl->tx_pos, tx + k % 4096);
}

static void tell(struct app *a, struct input *in)
{
	static const enum ipc_type types[] = { CHAN_BELL, CHAN_BELL, CHAN_CLOSE, CHAN_ABORT,
		CHAN_LEAVE };
	struct ipc_simple m = { .hdr = ipc_hdr(types[in8(in) % 5]) };

	say(a, &m, sizeof(m), 0);
}

static void step(struct input *in)
{
	uint8_t what = in8(in);
	struct app *a = &apps[in8(in) % APPS];

	switch (what % 12) {
	case 0:
	case 1:
		arrive(a, what >> 7);
		break;
	case 2:
		garbage(a, in);
		break;
	case 3:
	case 4:
		if (a->sock >= 0)
			ask(a, in);
		break;
	case 5:
		receive(a);
		break;
	case 6:
		scribble(a, in);
		break;
	case 7:
		use(a, in);
		break;
	case 8:
		tell(a, in);
		break;
	case 9:
		leave(a);
		break;
	default:
		for (what = 1 + in8(in) % 16; what > 0; what--)
			turn();
	}
}

static bool busy(const struct daemon *d)
{
	return d->clients || d->listeners || d->channels || d->captures;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint64_t until;
	unsigned int i;

	if (!built)
		build();
	for (i = 0; in.left && i < STEPS_MAX; i++)
		step(&in);
	for (i = 0; i < APPS; i++)
		leave(&apps[i]);
	/* Connections that were left have a time limit. */
	until = clock_ns() + QUIET_NS;
	do {
		turn();
		CHECK(clock_ns() < until);
	} while (busy(&daemons[0]) || busy(&daemons[1]));
	CHECK(accounts_empty(&daemons[0].accounts) && accounts_empty(&daemons[1].accounts));
	return 0;
}
