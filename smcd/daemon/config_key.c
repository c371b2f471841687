/* SPDX-License-Identifier: MIT */
/* Every setting there is, but those of the command line alone (options.c). */
#include <stddef.h>

#include "smcd/daemon/config.h"

#define PATH_LEN 107 /* what a socket address has room for */

#define GLOBAL(member)	 offsetof(struct config, member)
#define FUNCTION(member) offsetof(struct config_function, member)
#define PEER(member)	 offsetof(struct config_peer, member)

const struct config_key config_keys[] = {
	{ "daemon", "name", CONFIG_NAME, GLOBAL(name), 0, 0,
		"name", "NAME", "this guest's name (default: the host name)" },
	{ "daemon", "socket", CONFIG_TEXT, GLOBAL(socket), 0, PATH_LEN,
		"socket", "PATH", "where applications connect" },
	{ "daemon", "socket_mode", CONFIG_OCTAL, GLOBAL(socket_mode), 0, 0777,
		NULL, "MODE", "" },
	{ "daemon", "group", CONFIG_TEXT, GLOBAL(group), 0, 255,
		NULL, "GROUP", "" },
	{ "daemon", "loop", CONFIG_LOOP, GLOBAL(loop), 0, 0,
		"loop", "KIND", "auto (default), io_uring or epoll" },
	{ "daemon", "spin_us", CONFIG_SPIN, GLOBAL(spin_us), 0, 1000000,
		"spin-us", "N", "look at most N microseconds before sleeping" },

	{ "smc", "ueid", CONFIG_UEIDS, GLOBAL(ueids), 0, CLC_MAX_UEID,
		"ueid", "NAME", "enterprise id to share with peers (again for more)" },
	{ "smc", "seid", CONFIG_SEID, GLOBAL(seid), 0, 0,
		"seid", "SEID", "the machine's system enterprise id, or off (default)" },
	{ "smc", "path", CONFIG_PATH, GLOBAL(path), 0, 0,
		"path", "PATH", "auto (default): attached where possible; or mediated" },
	{ "smc", "pcistb", CONFIG_PCISTB, GLOBAL(pcistb), 0, 0,
		"pcistb", "HOW", "auto (default): executed here where possible; or region" },
	{ "smc", "rcvbuf", CONFIG_DMB, GLOBAL(rcvbuf), 16384, 1024 * 1024,
		"rcvbuf", "SIZE|auto", "receive buffer of a channel, 16K..1M, or auto (default)" },
	{ "smc", "lgr_idle_s", CONFIG_NUMBER, GLOBAL(lgr_idle_s), 1, 86400,
		NULL, "N", "" },

	{ "limits", "clients_per_user", CONFIG_AMOUNT, GLOBAL(limit[ACCOUNT_CLIENTS]), 0,
		UINT32_MAX, NULL, "N", "" },
	{ "limits", "channels_per_user", CONFIG_AMOUNT, GLOBAL(limit[ACCOUNT_CHANNELS]), 0,
		UINT32_MAX, "max-channels-per-user", "N", "channels that one user may have" },
	{ "limits", "listeners_per_user", CONFIG_AMOUNT, GLOBAL(limit[ACCOUNT_LISTENERS]), 0,
		UINT32_MAX, NULL, "N", "" },
	{ "limits", "bytes_per_user", CONFIG_AMOUNT, GLOBAL(limit[ACCOUNT_BYTES]), 0,
		UINT32_MAX * UINT64_C(1024), NULL, "SIZE", "" },
	{ "limits", "link_groups", CONFIG_NUMBER, GLOBAL(lgr_max), 1, 65536,
		NULL, "N", "" },
	{ "limits", "linger_s", CONFIG_NUMBER, GLOBAL(linger_s), 0, 86400,
		NULL, "N", "" },

	{ "function", "vfio-user", CONFIG_TEXT, FUNCTION(vfio_user), 0, PATH_LEN,
		NULL, "a path", "" },
	{ "function", "vfio", CONFIG_VFIO, FUNCTION(vfio), 0, 0,
		NULL, "BDF", "" },
	{ "function", "pnetid", CONFIG_PNETID, FUNCTION(pnetid), 0, 0,
		NULL, "PNETID", "" },
	{ "function", "vlan", CONFIG_VLAN, FUNCTION(vlan), 1, CONFIG_MAX_VLAN,
		NULL, "ID", "" },

	{ "peer", "gid", CONFIG_GID, PEER(gid), 0, 0,
		NULL, "GID", "" },
	{ "peer", "pnetid", CONFIG_PNETID, PEER(pnetid), 0, 0,
		NULL, "PNETID", "" },
	{ "peer", "vlan", CONFIG_VLAN, PEER(vlan), 1, CONFIG_MAX_VLAN,
		NULL, "ID", "" },

	{ "services", "*", CONFIG_PORT, offsetof(struct config_service, port), 1, 65535,
		NULL, "PORT", "" },
	{ NULL },
};
