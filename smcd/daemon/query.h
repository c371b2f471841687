/* SPDX-License-Identifier: MIT */
/*
 * query.h - the operator's view as JSON
 *
 * Reports what the objects say about themselves; the counters are the region layer's own. The text
 * goes into a sealed memfd, padded with NULs to whole pages.
 */
#ifndef SMCDU_DAEMON_QUERY_H
#define SMCDU_DAEMON_QUERY_H

#include "smcd/daemon/daemon.h"

struct json_object;

/* Answers on @fd and closes it. */
void query_answer(struct daemon *d, int fd, uint32_t what);

/* The report (enum ipc_query_what); the caller puts it. NULL: no memory. */
struct json_object *query_report(struct daemon *d, uint32_t what);

#endif
