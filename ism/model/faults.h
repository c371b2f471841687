/* SPDX-License-Identifier: MIT */
/*
 * faults.h - misbehaviour on command
 *
 * A fault is something that goes wrong once or for a while, at an operator's or a test's command;
 * a knob (knobs.h) is how the function always is. Counted faults consume themselves.
 */
#ifndef SMCDU_MODEL_FAULTS_H
#define SMCDU_MODEL_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct function;

struct faults {
	uint32_t fail_stores;	/* the next N PCISTBs fail */
	uint32_t fail_loads;	/* the next N PCILGs fail */
	uint32_t fail_commands; /* the next N commands are not executed and answer @fail_ret */
	uint16_t fail_ret;
	uint32_t drop_events; /* the next N events to this function are lost */
	uint32_t slow_ms;     /* every access is answered this much later */
	bool error;	      /* error state */
	bool unplugged;
};

struct fault_kind {
	const char *name;
	const char *arg; /* for help; NULL: takes none */
	const char *help;
};

extern const struct fault_kind fault_kinds[];
extern const size_t fault_kinds_count;

/* Takes one from a counter: true when there was one left. */
bool fault_take(uint32_t *counter);

/*
 * Applies fault @kind with @args (0..2 words). 0 · -ENOENT no such kind · -EINVAL bad arguments.
 */
int fault_apply(struct function *fn, const char *kind, const char *const *args, size_t nargs);

/* Ends all faults of @fn, error state and unplugged state included. */
void fault_clear(struct function *fn);

#endif
