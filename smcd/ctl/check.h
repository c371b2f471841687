/* SPDX-License-Identifier: MIT */
/*
 * check.h - smcd-userctl check: what stands between this machine and a working smcd-userd
 *
 * A check is a list of findings, each about something, with a verdict and, unless all is well, what
 * to do about it. Nothing is changed; only with --open is a function opened, which resets it.
 */
#ifndef SMCDU_CTL_CHECK_H
#define SMCDU_CTL_CHECK_H

#include <stdbool.h>
#include <sys/types.h>
#include <json-c/json.h>

#include "vfio/sys.h"

enum verdict {
	FINDING_OK,
	FINDING_NOTE, /* works all the same */
	FINDING_WARN, /* may not work */
	FINDING_BAD,  /* does not work */
};

#define CHECK_MAX_GROUPS 64

struct check {
	const struct sys_ops *sys;
	const char *root; /* "" or the machine's image */
	const char *socket; /* of a daemon that may run; NULL: the default */
	bool open;
	const char *user; /* who the daemon is */
	uid_t uid;
	gid_t gids[CHECK_MAX_GROUPS];
	int ngids;
	struct json_object *findings; /* array */
	unsigned int bad;
};

/* Adds one; @remedy "" when there is nothing to be done. @about: a function, or "machine". */
void check_add(struct check *c, const char *about, const char *topic, enum verdict verdict,
	const char *remedy, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* Whether the daemon's user may read and write @path: 1, 0, or -errno when it is not there. */
int check_may_use(const struct check *c, const char *path);

/* One function; memory, io_uring and the like. */
void check_function(struct check *c, const char *bdf);
void check_machine(struct check *c);

#endif
