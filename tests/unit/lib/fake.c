/* SPDX-License-Identifier: MIT */
#include "fake.h"

#include <dirent.h>
#include <fcntl.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio/base/fd.h"

void pattern_fill(uint8_t *buf, uint64_t pos, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = pattern(pos + i);
}

void pattern_check(const uint8_t *buf, uint64_t pos, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (buf[i] != pattern(pos + i))
			fail_msg("byte %llu is wrong", (unsigned long long)(pos + i));
}

int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

void fake_make(struct fake *f, uint32_t rx_size, uint32_t tx_size, enum cdc_order order)
{
	int sv[2];
	void *p;

	*f = (struct fake){ .rx_size = rx_size, .tx_size = tx_size, .rx_n = rx_size - CDC_SIZE,
		.tx_n = tx_size - CDC_SIZE, .order = order };
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(fcntl(sv[0], F_SETFL, O_NONBLOCK), 0); /* ours */
	f->sock = sv[0];
	f->app_sock = sv[1];
	f->dmb_fd = fd_memfd("dmb", rx_size);
	f->ctl_fd = fd_memfd("send", CHAN_CTL_SIZE + tx_size);
	assert_true(f->dmb_fd >= 0 && f->ctl_fd >= 0);
	p = mmap(NULL, rx_size, PROT_READ | PROT_WRITE, MAP_SHARED, f->dmb_fd, 0);
	assert_true(p != MAP_FAILED);
	f->dmb = p;
	p = mmap(NULL, CHAN_CTL_SIZE + tx_size, PROT_READ | PROT_WRITE, MAP_SHARED, f->ctl_fd, 0);
	assert_true(p != MAP_FAILED);
	f->ctl = p;
	f->ring = (uint8_t *)p + CHAN_CTL_SIZE + CDC_SIZE;
}

void fake_end(struct fake *f)
{
	fd_closep(&f->sock);
	fd_closep(&f->app_sock);
	fd_closep(&f->dmb_fd);
	fd_closep(&f->ctl_fd);
	munmap(f->dmb, f->rx_size);
	munmap(f->ctl, CHAN_CTL_SIZE + f->tx_size);
}

struct ipc_channel fake_describe(const struct fake *f)
{
	return (struct ipc_channel){ .hdr = ipc_hdr(IPC_CHANNEL), .id = 7, .local_gid = 1,
		.peer_gid = 2, .rx_size = f->rx_size, .tx_size = f->tx_size, .order = f->order,
		.path = IPC_PATH_MEDIATED, .port = 4711, .peer = "guest-b", .service = "echo" };
}

struct smcdu_channel *fake_adopt(struct fake *f)
{
	struct ipc_channel msg = fake_describe(f);
	int fds[] = { fd_steal(&f->dmb_fd), fd_steal(&f->ctl_fd) };
	struct smcdu_channel *ch = NULL;

	assert_int_equal(channel_adopt(&msg, fd_steal(&f->app_sock), fds, 2, NULL, UINT32_MAX, &ch), 0);
	return ch;
}

static void store_word(uint8_t *to, const uint8_t *from)
{
	uint64_t v;

	memcpy(&v, from, sizeof(v));
	__atomic_store_n((uint64_t *)(void *)to, v, __ATOMIC_RELEASE);
}

void fake_cdc_raw(struct fake *f, struct smc_cursor prod, struct smc_cursor cons)
{
	struct cdc_msg m = { .prod = prod, .cons = cons, .prod_flags = f->prod_flags,
		.conn_flags = f->conn_flags };
	uint8_t block[CDC_SIZE];

	cdc_encode(block, &m, f->order);
	store_word(f->dmb + CDC_PROD_WORD, block + CDC_PROD_WORD);
	store_word(f->dmb + CDC_CONS_WORD, block + CDC_CONS_WORD);
}

void fake_cdc(struct fake *f)
{
	fake_cdc_raw(f, cursor_of(f->prod, f->rx_n), cursor_of(f->cons, f->tx_n));
}

void fake_write(struct fake *f, size_t len)
{
	assert_true(f->prod + len - atomic_load(&f->ctl->rx_pos) <= f->rx_n);
	for (size_t i = 0; i < len; i++)
		f->dmb[CDC_SIZE + (f->prod + i) % f->rx_n] = pattern(f->prod + i);
	f->prod += len;
	fake_cdc(f);
}

size_t fake_take(struct fake *f, size_t max)
{
	uint64_t have = atomic_load_explicit(&f->ctl->tx_pos, memory_order_acquire) - f->cons;
	size_t n = have < max ? (size_t)have : max;

	assert_true(have <= f->tx_n);
	for (size_t i = 0; i < n; i++)
		if (f->ring[(f->cons + i) % f->tx_n] != pattern(f->cons + i))
			fail_msg("sent byte %llu is wrong", (unsigned long long)(f->cons + i));
	f->cons += n;
	fake_cdc(f);
	atomic_store_explicit(&f->ctl->tx_sent, f->cons, memory_order_release);
	return n;
}

void fake_wake(struct fake *f, uint32_t bits)
{
	struct ipc_simple m = { .hdr = ipc_hdr(CHAN_WAKE) };

	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_fetch_and(&f->ctl->app_wait, ~bits) & bits)
		fd_send(f->sock, &m, sizeof(m), NULL, 0, MSG_DONTWAIT);
}

int fake_message(struct fake *f)
{
	struct ipc_simple m;
	ssize_t n = recv(f->sock, &m, sizeof(m), MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	if (n == 0)
		return 0;
	assert_int_equal(n, sizeof(m));
	assert_int_equal(m.hdr.magic, IPC_MAGIC);
	return m.hdr.type;
}
