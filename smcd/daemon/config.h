/* SPDX-License-Identifier: MIT */
/*
 * config.h - the daemon's settings, from files, from flags, or both
 *
 * Settings come in layers: each file is one, its drop-ins (FILE.d/ *.conf, sorted) follow it, the
 * command line is the last. A later layer overrides an earlier one, value by value; within one
 * layer a value may be given once, and only lists (ueid) grow. What exists is one table,
 * config_keys[], that the parser, --help, --check-config and the test of the manual pages share.
 *
 * Nothing is ignored silently: an unknown section, key or option, a bad value, a second one and a
 * contradiction are errors that name file and line (or the option) and what would be right.
 *
 * What only the host's network knows, the VLAN ID or PNETID of an interface or the kernel's SEID,
 * may be named here but is never looked up here: the daemon has no netlink. It stays pending until
 * a later layer, which smcd-userctl writes, gives the value.
 */
#ifndef SMCDU_DAEMON_CONFIG_H
#define SMCDU_DAEMON_CONFIG_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "smcd/daemon/account.h"
#include "smcd/daemon/loop.h"
#include "smcd/ipc/chan.h"
#include "smcd/proto/clc.h"
#include "vfio/open.h"

#define CONFIG_MAX_FUNCTIONS 16u
#define CONFIG_MAX_PEERS     1024u
#define CONFIG_MAX_SERVICES  1024u
#define CONFIG_MAX_VLAN	     4094u
#define CONFIG_PNETID_LEN    16u
#define CONFIG_SPIN_DEFAULT  UINT32_MAX /* 50 us, or 0 on one processor */
#define CONFIG_WHY	     256u	/* room for a complaint */

struct config_vlan {
	uint16_t id;		/* 0: none */
	char pending[IFNAMSIZ]; /* the interface that knows it, else "" */
};

struct config_pnetid {
	char id[CONFIG_PNETID_LEN + 1]; /* upper case; "": none */
	char pending[IFNAMSIZ];
};

struct config_ueids {
	unsigned int nr;
	uint8_t eid[CLC_MAX_UEID][CLC_EID_LEN]; /* blank padded, as hs_local wants them */
};

struct config_seid {
	bool valid;
	bool pending; /* to be had from the kernel */
	uint8_t eid[CLC_EID_LEN];
};

struct config_vfio {
	char bdf[PCI_BDF_MAX]; /* "": none */
	enum vfio_way way;
};

/* Exactly one of the first two says where it is. */
struct config_function {
	char name[IPC_NAME_MAX];
	char *vfio_user; /* socket path */
	struct config_vfio vfio;
	struct config_pnetid pnetid;
	struct config_vlan vlan; /* for peers that have none of their own */
};

struct config_peer {
	char name[IPC_NAME_MAX];
	uint64_t gid;
	struct config_pnetid pnetid;
	struct config_vlan vlan;
};

struct config_service {
	char name[IPC_NAME_MAX];
	uint16_t port;
};

/* Who executes the stores into a peer's DMB. */
enum config_pcistb {
	CONFIG_PCISTB_AUTO,   /* this process, where a software fabric hands the DMB out */
	CONFIG_PCISTB_REGION, /* the function: each is a request to its zPCI I/O region */
};

struct config_origin; /* private: where a value came from */

struct config {
	char name[IPC_NAME_MAX];
	char *socket;
	uint32_t socket_mode;
	char *group; /* of the socket; NULL: unchanged */
	uint32_t loop; /* enum loop_kind */
	uint32_t path; /* IPC_PATH_AUTO or IPC_PATH_MEDIATED: what channels may be */
	uint32_t pcistb; /* enum config_pcistb */
	uint32_t spin_us;
	uint32_t rcvbuf; /* a DMB size: 16 KiB << n; 0: automatic */
	uint32_t lgr_idle_s;
	uint32_t lgr_max; /* per function */
	struct config_ueids ueids;
	struct config_seid seid;
	uint32_t linger_s;
	uint64_t limit[ACCOUNT_SLOTS];
	bool verbose;

	struct config_function *functions;
	unsigned int nr_functions;
	struct config_peer *peers;
	unsigned int nr_peers;
	struct config_service *services;
	unsigned int nr_services;

	struct config_origin *origins; /* private */
	unsigned int layers;	       /* private: files read so far */
};

/* ---- what exists ----------------------------------------------------------------------------- */

enum config_type {
	CONFIG_NAME,
	CONFIG_TEXT,
	CONFIG_VFIO,
	CONFIG_NUMBER,
	CONFIG_SPIN,
	CONFIG_OCTAL,
	CONFIG_AMOUNT,
	CONFIG_DMB,
	CONFIG_LOOP,
	CONFIG_PATH,
	CONFIG_PCISTB,
	CONFIG_GID,
	CONFIG_UEIDS,
	CONFIG_SEID,
	CONFIG_VLAN,
	CONFIG_PNETID,
	CONFIG_PORT,
};

struct config_key {
	const char *section; /* "peer": [peer NAME] */
	const char *key;     /* "*": any name, as in [services] */
	enum config_type type;
	size_t offset; /* in struct config, or in the section's element */
	uint64_t min, max;
	const char *option; /* of the command line, without "--"; NULL: none */
	const char *metavar;
	const char *help; /* one line, of --help */
};

/* Ended by one without a section. */
extern const struct config_key config_keys[];

/* ---- life ------------------------------------------------------------------------------------ */

/* Fills in the defaults. 0 or -ENOMEM. */
int config_init(struct config *c);
void config_deinit(struct config *c);

/* Where a setting stands. */
struct config_at {
	const char *file; /* or the option, "--peer" */
	unsigned int line; /* 0: an option */
	unsigned int layer;
};

/*
 * Applies one setting of [@section @arg] (@arg: a function's or peer's name, or NULL); without @key
 * only makes sure that the section may exist. 0, -EINVAL with the complaint in @why, -ENOMEM.
 */
int config_set(struct config *c, const struct config_at *at, const char *section, const char *arg,
	const char *key, const char *value, char why[CONFIG_WHY]);

/*
 * Reads an INI file and its drop-ins, @path.d/ *.conf, each a layer of its own. 0, or -errno after
 * one log line with file:line.
 */
int config_load(struct config *c, const char *path);

/*
 * What only the whole can tell: at least one function, no two peers with one GID, nothing pending,
 * ... 0 or -EINVAL after one log line.
 */
int config_check(const struct config *c);

/*
 * The settings in effect, as a file that config_load() would take, with the origin of each as a
 * comment.
 */
void config_print(const struct config *c, FILE *out);

/* Calls @fn for each value that is pending, in the table's order, until it returns non-zero. */
struct config_pending {
	const char *section, *arg, *key;
	enum config_type type;
	const char *interface; /* "" for the SEID */
	struct config_at at;
};
int config_each_pending(const struct config *c,
	int (*fn)(void *ctx, const struct config_pending *p), void *ctx);

/*
 * The command line: defaults, then the files named by --config, then the other options. 0; 1 when
 * --help, --version or --check-config was asked for and printed; -EINVAL and other errors after one
 * log line.
 */
int config_from_args(struct config *c, int argc, char **argv);

/* ---- questions ------------------------------------------------------------------------------- */

/* Where a function is, for messages: a socket, or a PCI address. */
const char *config_place(const struct config_function *fn);

/* The peer of that name or GID, or NULL. */
const struct config_peer *config_peer(const struct config *c, const char *name);
const struct config_peer *config_peer_by_gid(const struct config *c, uint64_t gid);
/* The name of a configured GID, or NULL. */
const char *config_peer_name(const struct config *c, uint64_t gid);

/*
 * Whether @fn is for @peer (NULL: one that is not configured), as far as PNETIDs tell: 2 when both
 * have the same, 1 when the function has none, 0 when it is not.
 */
unsigned int config_suits(const struct config_function *fn, const struct config_peer *peer);

/* The VLAN of link groups that we start through @fn with @peer (or NULL); 0: none. */
uint16_t config_vlan(const struct config_function *fn, const struct config_peer *peer);

/*
 * The port of a service: a decimal number 1..65535, a configured name, or 49152 + XXH32(name) %
 * 16384.
 * -EINVAL when @service is neither a number in range nor a name of 1..63 of [A-Za-z0-9._-].
 */
int config_port(const struct config *c, const char *service, uint16_t *port);

/* Whether @s is a decimal number and so names a port, not a service. */
bool config_is_number(const char *s);

#endif
