/* SPDX-License-Identifier: MIT */
/* What the daemon needs of the machine besides functions. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "smcd-user.h"
#include "smcd/ctl/check.h"
#include "vfio/arena.h"
#include "vfio/pci.h"

#define MEMLOCK_LEAST ARENA_SIZE /* a function itself */
#define MEMLOCK_SOME  (UINT64_C(64) << 20) /* and some channels of default size */

static void add(struct check *c, const char *topic, enum verdict verdict, const char *remedy,
	const char *text)
{
	check_add(c, "machine", topic, verdict, remedy, "%s", text);
}

/* ---- locked memory --------------------------------------------------------------------------- */

/* The process of the daemon that runs, or 0. */
static int daemon_pid(const struct check *c)
{
	struct json_object *root, *daemon, *pid;
	struct smcdu_settings settings;
	struct smcdu_ctx *ctx = NULL;
	char *text = NULL;
	int ret = 0;

	if (c->root[0])
		return 0;
	smcdu_default_settings(&settings);
	settings.socket_path = c->socket;
	if (smcdu_open(&settings, &ctx) == 0 && smcdu_query(ctx, "stats", &text) < 0)
		text = NULL;
	smcdu_close_ctx(ctx);
	root = text ? json_tokener_parse(text) : NULL;
	if (json_object_is_type(root, json_type_object) &&
		json_object_object_get_ex(root, "daemon", &daemon) &&
		json_object_object_get_ex(daemon, "pid", &pid))
		ret = json_object_get_int(pid);
	json_object_put(root);
	free(text);
	return ret;
}

/* The soft limit in /proc/PID/limits. False: cannot be had. */
static bool limit_of(int pid, uint64_t *limit)
{
	static const char title[] = "Max locked memory";
	char path[64], line[256];
	bool found = false;
	const char *value;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/limits", pid);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		found = strncmp(line, title, strlen(title)) == 0;
		value = line + strlen(title) + strspn(line + strlen(title), " ");
		if (found)
			*limit = strncmp(value, "unlimited", 9) == 0 ? UINT64_MAX :
								      strtoull(value, NULL, 10);
	}
	if (f)
		fclose(f);
	return found;
}

static void check_memlock(struct check *c)
{
	struct rlimit rl = { .rlim_cur = RLIM_INFINITY };
	const char *whose = "of this shell";
	char amount[32] = "unlimited";
	enum verdict v = FINDING_OK;
	int pid = daemon_pid(c);
	uint64_t limit;

	getrlimit(RLIMIT_MEMLOCK, &rl);
	limit = rl.rlim_cur == RLIM_INFINITY ? UINT64_MAX : rl.rlim_cur;
	if (pid > 0 && limit_of(pid, &limit))
		whose = "of the running daemon";
	if (limit != UINT64_MAX)
		snprintf(amount, sizeof(amount), "%" PRIu64 " KiB", limit / 1024);
	if (limit < MEMLOCK_LEAST)
		v = pid > 0 ? FINDING_BAD : FINDING_WARN;
	else if (limit < MEMLOCK_SOME)
		v = FINDING_WARN;
	check_add(c, "machine", "memlock", v, v == FINDING_OK ? "" :
		"what a function reaches is locked, 1 MiB and 0.3 to 0.6 a channel; raise LimitMEMLOCK= "
		"of the unit (which sets 4G), or ulimit -l",
		"%s %s", amount, whose);
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* Whether the kernel has pages between the smallest and 2 MiB for memory files, as Linux has from 6.14 on. */
static bool kernel_has_folios(const struct check *c)
{
	unsigned int major = 0, minor = 0;
	char text[128];

	if (pci_read_file(c->sys, "/proc/sys/kernel/osrelease", text, sizeof(text)) < 0 ||
		sscanf(text, "%u.%u", &major, &minor) != 2)
		return false;
	return major > 6 || (major == 6 && minor >= 14);
}

/* A channel's buffers are smaller than 2 MiB. What they gain is told in docs/performance.md. */
static void check_hugepages(struct check *c)
{
	static const char within[] = "for faster connections with large buffers: echo within_size > "
		"/sys/kernel/mm/transparent_hugepage/shmem_enabled";
	char text[128], now[32];
	bool folios = kernel_has_folios(c);
	size_t len;
	const char *p;

	if (pci_read_file(c->sys, "/sys/kernel/mm/transparent_hugepage/shmem_enabled", text,
		sizeof(text)) < 0) {
		add(c, "hugepages", FINDING_NOTE, "", "the kernel has none for shared memory");
		return;
	}
	p = strchr(text, '[');
	len = p ? strcspn(p + 1, "]") : 0;
	snprintf(now, sizeof(now), "%.*s", (int)len, p ? p + 1 : "");
	if (!folios && (strcmp(now, "always") == 0 || strcmp(now, "force") == 0))
		check_add(c, "machine", "hugepages", FINDING_NOTE,
			"to save memory: echo never > "
			"/sys/kernel/mm/transparent_hugepage/shmem_enabled",
			"%s: each buffer takes 2 MiB, whatever its size", now);
	else if (!folios)
		add(c, "hugepages", FINDING_NOTE, "",
			"none for buffers: they are smaller than 2 MiB, which takes Linux 6.14");
	else if (strcmp(now, "within_size") == 0 || strcmp(now, "always") == 0)
		check_add(c, "machine", "hugepages", FINDING_OK, "", "for buffers: %s", now);
	else
		check_add(c, "machine", "hugepages", FINDING_NOTE, within, "not for buffers: %s", now);
}

/* Whether the system call is there at all; it is called in a way that cannot succeed. */
static bool kernel_has_uring(const struct check *c)
{
	if (c->root[0])
		return true;
	return syscall(SYS_io_uring_setup, 1, NULL) == 0 || errno == EFAULT || errno == EINVAL;
}

static void check_uring(struct check *c)
{
	char text[32] = "0";

	if (pci_read_file(c->sys, "/proc/sys/kernel/io_uring_disabled", text, sizeof(text)) < 0)
		strcpy(text, "0"); /* a kernel before 6.6 */
	if (strcmp(text, "2") == 0 || !kernel_has_uring(c))
		add(c, "io_uring", FINDING_NOTE, "sysctl kernel.io_uring_disabled=0, if you want it",
			"not allowed; the daemon uses epoll");
	else if (strcmp(text, "1") == 0)
		add(c, "io_uring", FINDING_NOTE,
			"sysctl kernel.io_uring_group=GID of smcd-user, if you want it",
			"for members of one group only; the daemon uses epoll unless it is one");
	else
		add(c, "io_uring", FINDING_OK, "", "allowed");
}

void check_machine(struct check *c)
{
	check_memlock(c);
	check_hugepages(c);
	check_uring(c);
}
