/* SPDX-License-Identifier: MIT */
/*
 * The kernel under a real smcd-userd: linked into the daemon in place of sys_host. Four functions on
 * one fabric, so that the daemon can be its own peer. What happens to them comes as real-time
 * signals, and what became of it stands in a file that the test maps; see kernel_double.h.
 */
#include "tests/integration/kernel_double.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ism/model/function.h"
#include "ism_double.h"
#include "vfio/sys.h"

static struct fabric *fabric;
static struct kernel_state *state;
static volatile sig_atomic_t pending[KERNEL_FUNCTIONS]; /* of what the model has to do */

/* Wakes the driver at once where the kernel would; what the model does waits for the next call. */
static void on_command(int sig, siginfo_t *si, void *unused)
{
	unsigned int nr = (unsigned int)si->si_value.sival_int % KERNEL_FUNCTIONS;
	int command = si->si_value.sival_int / (int)KERNEL_FUNCTIONS;

	if (command == KERNEL_UNBIND)
		ism_double_unbind(nr);
	else if (command == KERNEL_BIND)
		ism_double_bind(nr);
	else if (command == KERNEL_REPORT_ERROR)
		ism_double_report_error(nr);
	else
		pending[nr] = command;
}

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv(KERNEL_STATE), *kind = getenv(KERNEL_KIND);
	const struct ism_double_params params = {
		.kind = kind && strcmp(kind, "region") == 0 ? ISM_DOUBLE_REGION : ISM_DOUBLE_BARS,
		.functions = KERNEL_FUNCTIONS,
	};
	struct sigaction sa = { .sa_sigaction = on_command, .sa_flags = SA_SIGINFO | SA_RESTART };
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return; /* --help and the like */
	state = mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (state == MAP_FAILED || ism_double_start(&params, &fabric) < 0)
		abort();
	ism_double_host()->err_irq = true;
	sigaction(KERNEL_SIGNAL, &sa, NULL);
}

/* The model's part of a command, between calls: it is not in the middle of anything here. */
static void execute(unsigned int nr)
{
	int command = pending[nr];

	pending[nr] = 0;
	if (command == KERNEL_REMOVE)
		ism_double_remove(nr);
	if (command == KERNEL_RETURN)
		ism_double_return(nr);
	if (command == KERNEL_RECOVER) {
		function_enter_error(fabric->fn[nr]);
		function_leave_error(fabric->fn[nr]);
	}
}

static void before(void)
{
	if (!fabric)
		abort();
	for (unsigned int i = 0; i < KERNEL_FUNCTIONS; i++)
		if (pending[i])
			execute(i);
}

static void after(void)
{
	int err = errno;

	for (unsigned int i = 0; i < KERNEL_FUNCTIONS; i++)
		__atomic_store_n(&state->unbound[i], ism_double_unbound(i), __ATOMIC_RELEASE);
	__atomic_store_n(&state->by_cdev, ism_double_count()->by_cdev, __ATOMIC_RELEASE);
	__atomic_store_n(&state->by_group, ism_double_count()->by_group, __ATOMIC_RELEASE);
	__atomic_store_n(&state->maps, ism_double_count()->maps, __ATOMIC_RELEASE);
	errno = err;
}

#define CALL(type, expression) \
	type r; \
	before(); \
	r = expression; \
	after(); \
	return r

static int sys_open(const char *path, int flags)
{
	CALL(int, ism_double_sys.open(path, flags));
}

static int sys_close(int fd)
{
	CALL(int, ism_double_sys.close(fd));
}

static int sys_ioctl(int fd, unsigned long nr, void *arg)
{
	CALL(int, ism_double_sys.ioctl(fd, nr, arg));
}

static ssize_t sys_pread(int fd, void *buf, size_t count, off_t pos)
{
	CALL(ssize_t, ism_double_sys.pread(fd, buf, count, pos));
}

static ssize_t sys_pwrite(int fd, const void *buf, size_t count, off_t pos)
{
	CALL(ssize_t, ism_double_sys.pwrite(fd, buf, count, pos));
}

static int sys_claim(int fd)
{
	CALL(int, ism_double_sys.claim(fd));
}

static ssize_t sys_readlink(const char *path, char *buf, size_t size)
{
	CALL(ssize_t, ism_double_sys.readlink(path, buf, size));
}

static int sys_access(const char *path, int mode)
{
	CALL(int, ism_double_sys.access(path, mode));
}

static int sys_list(const char *path, int (*fn)(void *ctx, const char *name), void *ctx)
{
	CALL(int, ism_double_sys.list(path, fn, ctx));
}

const struct sys_ops sys_host = {
	.open = sys_open,
	.close = sys_close,
	.ioctl = sys_ioctl,
	.pread = sys_pread,
	.pwrite = sys_pwrite,
	.claim = sys_claim,
	.readlink = sys_readlink,
	.access = sys_access,
	.list = sys_list,
};
