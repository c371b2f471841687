/* SPDX-License-Identifier: MIT */
/*
 * config.h - the daemon's settings, from a file, from flags, or both
 *
 * Flags come after the file and add to its lists (functions, peers, services) or override its
 * single values. Nothing is ignored silently: an unknown section, key or option and a bad value are
 * errors that name file and line (or the option) and what would be right.
 */
#ifndef SMCDU_DAEMON_CONFIG_H
#define SMCDU_DAEMON_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "smcd/daemon/account.h"
#include "smcd/daemon/loop.h"
#include "smcd/ipc/chan.h"

#define CONFIG_MAX_FUNCTIONS 16u
#define CONFIG_MAX_PEERS     1024u
#define CONFIG_MAX_SERVICES  1024u
#define CONFIG_SPIN_DEFAULT  UINT32_MAX /* 50 us, or 0 on one processor */

struct config_function {
	char name[IPC_NAME_MAX];
	char *vfio_user; /* socket path */
};

struct config_peer {
	char name[IPC_NAME_MAX];
	uint64_t gid;
};

struct config_service {
	char name[IPC_NAME_MAX];
	uint16_t port;
};

struct config {
	char name[IPC_NAME_MAX];
	char *socket;
	mode_t socket_mode;
	char *group; /* of the socket; NULL: unchanged */
	enum loop_kind loop;
	uint32_t spin_us;
	uint32_t rcvbuf; /* a DMB size: 16 KiB << n */
	char ueid[33];
	uint32_t linger_s;
	uint64_t limit[ACCOUNT_SLOTS];
	bool verbose;

	struct config_function *functions;
	unsigned int nr_functions;
	struct config_peer *peers;
	unsigned int nr_peers;
	struct config_service *services;
	unsigned int nr_services;
};

/* Fills in the defaults. 0 or -ENOMEM. */
int config_init(struct config *c);
void config_deinit(struct config *c);

/*
 * Applies one setting of [@section @arg] (@arg: a function's or peer's name, or NULL). 0, -EINVAL
 * with the complaint in @why, -ENOMEM.
 */
int config_set(struct config *c, const char *section, const char *arg, const char *key,
	const char *value, char why[256]);

/* Reads an INI file. 0, or -errno after one log line with file:line. */
int config_load(struct config *c, const char *path);

/* What only the whole can tell: at least one function, ... 0 or -EINVAL after one log line. */
int config_check(const struct config *c);

/*
 * The command line: defaults, then the file named by --config, then the other options. 0; 1 when
 * --help or --version was asked for and printed; -EINVAL and other errors after one log line.
 */
int config_from_args(struct config *c, int argc, char **argv);

/* The peer of that name, or NULL. */
const struct config_peer *config_peer(const struct config *c, const char *name);
/* The name of a configured GID, or NULL. */
const char *config_peer_name(const struct config *c, uint64_t gid);

/*
 * The port of a service: a decimal number 1..65535, a configured name, or 49152 + XXH32(name) %
 * 16384.
 * -EINVAL when @service is neither a number in range nor a name of 1..63 of [A-Za-z0-9._-].
 */
int config_port(const struct config *c, const char *service, uint16_t *port);

/* Whether @s is a decimal number and so names a port, not a service. */
bool config_is_number(const char *s);

#endif
