/* SPDX-License-Identifier: MIT */
/*
 * fabricd_port.h - one function of the fabric on its vfio-user socket
 *
 * A port listens on DIR/ism<N>.sock and serves one client at a time; a second one is turned away at
 * once. When the client leaves, dies or breaks the protocol, the function is detached, which resets
 * it and tells its peers.
 *
 * What a client sees: BAR 0 (2^48) and BAR 2, where one REGION_WRITE of 1..4096 bytes is one PCISTB
 * and one REGION_READ of 1..8 bytes is one PCILG; configuration space (region 7); the zPCI I/O
 * region (region 9, found by its type capability), whose gaddr is an address in the client's DMA
 * table, for clients that negotiated IOVA = VA; one MSI.
 */
#ifndef SMCDU_MODEL_FABRICD_PORT_H
#define SMCDU_MODEL_FABRICD_PORT_H

#include <linux/vfio.h>
#include <linux/vfio_zdev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ism/model/fabricd_dir.h"
#include "ism/model/fabricd_side.h"
#include "ism/model/function.h"
#include "ism/model/loop.h"
#include "vfio/region_exec.h"
#include "vfio/user/server.h"

#define PORT_REGIONS 10u

struct port_dev_caps {
	struct vfio_device_info_cap_zpci_base base;
	struct vfio_device_info_cap_zpci_group group;
};

struct port {
	struct loop *loop;
	struct function *fn;
	struct source listen;
	struct source sock; /* the client's connection */
	struct vu_conn *conn;
	struct side side;
	bool allow_unsealed;
	bool closing;		/* unplugged: close as soon as nobody is in the middle of it */
	uint64_t resume_at;	/* the connection is paused until then (ns), or FABRIC_NEVER */
	uint64_t accept_at;	/* out of descriptors: accept again then, or FABRIC_NEVER */
	uint64_t refused_at;	/* last log line about a refused client */
	pid_t pid;		/* the client's, as of connect(2) */
	uid_t uid;
	struct region_exec exec;
	struct vu_device_ops ops;
	struct vu_region regions[PORT_REGIONS];
	uint32_t irq_counts[VFIO_PCI_NUM_IRQS];
	struct port_dev_caps dev_caps;
};

/* 0 or -errno after a log line. @p stays where it is until port_close(). */
int port_open(struct port *p, struct loop *loop, struct function *fn, struct fabricd_dir *dir,
	bool allow_unsealed);
void port_close(struct port *p, struct fabricd_dir *dir);

/* When port_run() has something to do (clock_ns), or FABRIC_NEVER. */
uint64_t port_due(const struct port *p);
void port_run(struct port *p, uint64_t now);

#endif
