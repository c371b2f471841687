/* SPDX-License-Identifier: MIT */
#include "pair.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio/base/fd.h"

static int dup_fd(int fd)
{
	int copy = dup(fd);

	assert_true(copy >= 0);
	return copy;
}

static void open_end(struct pair *p, unsigned int side, const int dmb[2], int sock, uint32_t spin_us)
{
	struct ipc_channel m = { .hdr = ipc_hdr(IPC_CHANNEL), .id = side + 1, .rx_size = p->size,
		.tx_size = p->size, .order = CDC_BIG, .path = IPC_PATH_ATTACHED,
		.peer = "peer", .service = "test" };
	int ctl = fd_memfd("ctl", CHAN_CTL_SIZE), sv[2];
	int fds[IPC_FDS_ATTACHED] = { dup_fd(dmb[side]), ctl, dup_fd(dmb[!side]), sock };

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	p->daemon[side] = sv[0];
	assert_int_equal(channel_adopt(&m, sv[1], fds, IPC_FDS_ATTACHED, NULL,
		spin_us ? spin_us : UINT32_MAX, &p->ch[side]), 0);
}

static void *map(int fd, size_t len)
{
	void *va = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(va, MAP_FAILED);
	return va;
}

void pair_open(struct pair *p, uint32_t size, uint32_t spin_us)
{
	int dmb[2] = { fd_memfd("dmb", size), fd_memfd("dmb", size) };
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	p->size = size;
	for (unsigned int side = 0; side < 2; side++) {
		p->dmb[side] = map(dmb[side], size);
		open_end(p, side, dmb, sv[side], spin_us);
	}
	close(dmb[0]);
	close(dmb[1]);
}

void pair_close(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		smcdu_close(p->ch[i]);
		fd_closep(&p->daemon[i]);
		munmap(p->dmb[i], p->size);
	}
}
