/* SPDX-License-Identifier: MIT */
/*
 * rig.h - three functions of a fabric, opened as the daemon opens them
 *
 * The fabric is a real ism-fabricd, whose functions are reached through vfio-user, or a kernel's
 * double in this process. What the tests of one kind of fabric are is the callers' business: each
 * run_*() is a group of tests, and returns how many of them failed.
 */
#ifndef TESTS_UNIT_ISM_RIG_H
#define TESTS_UNIT_ISM_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "ism/dev.h"
#include "ism/model/function.h"
#include "ism_double.h"
#include "vfio/base/fd.h"

#define NFUNC	3
#define HANG_NS UINT64_C(20000000000) /* whatever takes longer hangs */
#define SIZE	(64u * 1024u)

extern struct rig {
	const char *program; /* ism-fabricd; NULL: the double */
	bool attached;	     /* every DMB is mapped by its writer's driver */
	pid_t fabric;
	struct ism_double_params params; /* of the double */
	struct fabric *model;		 /* its own */
} rig;

/* A function and what its handlers saw. */
extern struct side {
	struct ism_dev *dev;
	struct ism_dmb *dmb; /* the one delivered last */
	unsigned int signals;
	struct ism_event ev[64];
	unsigned int nev;
	unsigned int overruns;
} side[NFUNC];

/* Of each test: a new fabric, and all its functions open. */
int rig_setup(void **state);
int rig_teardown(void **state);
#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int rig_open(int n);
void rig_end_fabric(int sig);
/* A line for the fabric's control socket. */
void rig_tell(const char *line);

/* Polls @n until @cond holds. */
#define POLL_UNTIL(n, cond)                                                                        \
	do {                                                                                       \
		uint64_t until = clock_ns() + HANG_NS;                                             \
		while (!(cond)) {                                                                  \
			assert_true(clock_ns() < until);                                           \
			ism_poll(side[n].dev);                                                     \
		}                                                                                  \
	} while (0)

/* A DMB of @owner that @writer may write. */
struct ism_dmb *reg(int owner, int writer);
int move1(int from, const struct ism_dmb *to, uint32_t offset, const void *data, uint32_t len,
	bool sf);
bool has_event(int n, uint32_t type, uint32_t code, uint64_t tok);

int run_offers(void);  /* fabric_offers.c */
int run_windows(void); /* fabric_windows.c */
int run_double(void);  /* fabric_double.c */

#endif
