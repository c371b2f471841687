/* SPDX-License-Identifier: MIT */
/*
 * fabricd_ctl.h - the control socket: one line in, one answer out
 *
 * A client sends one line and gets "ok\n" and the text, or "error WHY\n"; then the connection ends.
 * Clients are not trusted to be quick or to stop: lines are short, clients few (the oldest goes
 * when one too many comes), and nobody is waited for.
 */
#ifndef SMCDU_MODEL_FABRICD_CTL_H
#define SMCDU_MODEL_FABRICD_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ism/model/fabricd_dir.h"
#include "ism/model/fabricd_port.h"
#include "ism/model/loop.h"

#define CTL_LINE_MAX 256u
#define CTL_CLIENTS  8u

struct ctl;

struct ctl_client {
	struct ctl *ctl;
	struct source sock; /* fd -1: free */
	uint64_t born;	    /* order of arrival */
	char line[CTL_LINE_MAX];
	size_t have;
	char *answer; /* NULL: the line is not complete yet */
	size_t answer_len;
	size_t sent;
};

struct ctl {
	struct loop *loop;
	struct fabric *fabric;
	const struct port *ports; /* one per function */
	const char *dir;
	struct source listen;
	uint64_t births;
	struct ctl_client client[CTL_CLIENTS];
};

int ctl_open(struct ctl *c, struct loop *loop, struct fabric *f, const struct port *ports,
	struct fabricd_dir *dir);
void ctl_close(struct ctl *c, struct fabricd_dir *dir);

/* Executes one line (without newline). Returns the malloc'ed answer, or NULL without memory. */
char *ctl_execute(struct ctl *c, char *line);

/* Client side: sends @line to the fabric in @dir and prints the answer. The exit status. */
int ctl_send(const char *dir, const char *line);

#endif
