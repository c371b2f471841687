/* SPDX-License-Identifier: MIT */
/*
 * ctx.c - settings, error texts, names
 */
#include "smcd/lib/internal.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "smcd/proto/close.h"

#define RCVBUF_MIN	 16384u
#define RCVBUF_MAX	 1048576u
#define SPIN_ADAPTIVE_NS 30000u /* about a round trip between two awake processes */
#define SPIN_MAX_US	 1000000u

static __thread struct {
	uint32_t diag;
	char text[IPC_TEXT_MAX + 128];
} last;

/*
 * fork() detection without a system call per call: the child's handler counts. A handle remembers
 * the count of its creation.
 */
unsigned int lib_forks;
static pthread_once_t generation_once = PTHREAD_ONCE_INIT;

static void count_fork(void)
{
	lib_forks++;
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, count_fork);
}

int lib_fail(int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(last.text, sizeof(last.text), fmt, ap);
	va_end(ap);
	return error;
}

int lib_fail_plain(int error)
{
	last.text[0] = '\0';
	return error;
}

void lib_set_diag(uint32_t diag)
{
	last.diag = diag;
}

const char *smcdu_last_error(void)
{
	return last.text;
}

uint32_t smcdu_last_diag(void)
{
	return last.diag;
}

const char *smcdu_version(void)
{
	return SMCDU_VERSION;
}

static const char *const paths[] = {
	[IPC_PATH_AUTO] = "auto", [IPC_PATH_MEDIATED] = "mediated",
	[IPC_PATH_ATTACHED] = "attached",
};

const char *smcdu_path_name(uint32_t path)
{
	return path <= IPC_PATH_ATTACHED ? paths[path] : "?";
}

int smcdu_path_parse(const char *name, uint32_t *path)
{
	for (uint32_t i = 0; name && i <= IPC_PATH_ATTACHED; i++) {
		if (strcmp(name, paths[i]) == 0) {
			*path = i;
			return 0;
		}
	}
	return lib_fail(-EINVAL, "a path is auto, mediated or attached");
}

const char *smcdu_state_name(uint32_t state)
{
	return smc_state_name((enum smc_state)state);
}

void smcdu_default_settings(struct smcdu_settings *s)
{
	*s = (struct smcdu_settings){ .connect_timeout_ms = 5000 };
}

/* The first of $SMCD_USER_SOCKET, the user's own daemon, the system's. */
static int default_socket(char *buf, size_t len)
{
	const char *env = secure_getenv("SMCD_USER_SOCKET");
	const char *dir = secure_getenv("XDG_RUNTIME_DIR");
	int n;

	if (env && *env)
		return snprintf(buf, len, "%s", env);
	if (dir && *dir) {
		n = snprintf(buf, len, "%s/smcd-user/smcd-userd.sock", dir);
		if (n > 0 && (size_t)n < len && access(buf, F_OK) == 0)
			return n;
	}
	return snprintf(buf, len, "/run/smcd-user/smcd-userd.sock");
}

static bool machine_has_one(void)
{
	/* 0: not known yet. Whoever asks is told the same. */
	static _Atomic long online;
	long n = atomic_load_explicit(&online, memory_order_relaxed);

	if (!n) {
		n = sysconf(_SC_NPROCESSORS_ONLN);
		atomic_store_explicit(&online, n, memory_order_relaxed);
	}
	return n < 2;
}

static bool thread_has_one(void)
{
	cpu_set_t cpus;

	return sched_getaffinity(0, sizeof(cpus), &cpus) < 0 || CPU_COUNT(&cpus) < 2;
}

/*
 * Spinning on the only processor keeps the other side from running. An attached peer says where it waits
 * (wait.c), so it matters only what the machine has; where the daemon runs is not known.
 */
uint32_t lib_spin_limit(uint32_t spin_us, bool attached)
{
	if (spin_us == UINT32_MAX)
		return 0;
	if (spin_us)
		return spin_us * 1000u;
	return (attached ? machine_has_one() : thread_has_one()) ? 0 : SPIN_ADAPTIVE_NS;
}

bool lib_spin_valid(uint32_t spin_us)
{
	return spin_us <= SPIN_MAX_US || spin_us == UINT32_MAX;
}

static bool settings_valid(const struct smcdu_settings *s)
{
	for (size_t i = 0; i < sizeof(s->reserved); i++)
		if (s->reserved[i])
			return false;
	if (s->rcvbuf && (s->rcvbuf < RCVBUF_MIN || s->rcvbuf > RCVBUF_MAX))
		return false;
	if (!lib_spin_valid(s->spin_us))
		return false;
	if (s->path > IPC_PATH_ATTACHED)
		return false;
	return s->connect_timeout_ms > 0 && s->connect_timeout_ms <= INT_MAX;
}

static uint32_t round_up_pow2(uint32_t v)
{
	uint32_t p = RCVBUF_MIN;

	while (p < v)
		p <<= 1;
	return p;
}

int smcdu_open(const struct smcdu_settings *s, struct smcdu_ctx **ret)
{
	struct smcdu_settings defaults;
	struct smcdu_ctx *ctx;
	int n;

	if (!s) {
		smcdu_default_settings(&defaults);
		s = &defaults;
	}
	if (!settings_valid(s))
		return lib_fail(-EINVAL, "a setting is out of range or a reserved byte is not 0");
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return lib_fail_plain(-ENOMEM);
	ctx->home = home_new();
	if (!ctx->home) {
		free(ctx);
		return lib_fail_plain(-ENOMEM);
	}
	ctx->addr.sun_family = AF_UNIX;
	if (s->socket_path)
		n = snprintf(ctx->addr.sun_path, sizeof(ctx->addr.sun_path), "%s", s->socket_path);
	else
		n = default_socket(ctx->addr.sun_path, sizeof(ctx->addr.sun_path));
	if (n <= 0 || (size_t)n >= sizeof(ctx->addr.sun_path)) {
		smcdu_close_ctx(ctx);
		return lib_fail(-ENAMETOOLONG, "the daemon's socket path must have 1 to %zu bytes",
			sizeof(ctx->addr.sun_path) - 1);
	}
	ctx->connect_timeout_ms = s->connect_timeout_ms;
	ctx->path = s->path;
	ctx->record = s->record != 0;
	ctx->spin_us = s->spin_us;
	ctx->rcvbuf = s->rcvbuf ? round_up_pow2(s->rcvbuf) : 0;
	pthread_once(&generation_once, watch_forks);
	ctx->generation = lib_generation();
	*ret = ctx;
	return 0;
}

void smcdu_close_ctx(struct smcdu_ctx *ctx)
{
	if (!ctx)
		return;
	home_close(ctx->home);
	free(ctx);
}

static bool name_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

int lib_copy_name(char dst[IPC_NAME_MAX], const char *src, size_t len)
{
	if (len == 0 || len >= IPC_NAME_MAX)
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		if (!name_char(src[i]))
			return -EINVAL;
	memset(dst, 0, IPC_NAME_MAX);
	memcpy(dst, src, len);
	return 0;
}

int lib_copy_peer(char dst[IPC_NAME_MAX], const char *src, size_t len)
{
	if (len >= 2 && src[0] == '0' && (src[1] == 'x' || src[1] == 'X')) {
		if (len < 3 || len > 18 || strspn(src + 2, "0123456789abcdefABCDEF") < len - 2)
			return -EINVAL;
	}
	return lib_copy_name(dst, src, len);
}
