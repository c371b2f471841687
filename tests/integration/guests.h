/* SPDX-License-Identifier: MIT */
/*
 * guests.h - two guests on one fabric, for tests
 *
 * Starts a real ism-fabricd (a function for each guest and one to spare) and one real smcd-userd
 * per guest in a directory of its own, and ends all of it by pid. The programs come from the
 * environment (ISM_FABRICD, SMCD_USERD), which Meson sets.
 */
#ifndef TESTS_GUESTS_H
#define TESTS_GUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "smcd-user.h"

struct json_object;

enum { GUEST_A = 0, GUEST_B = 1 };

#define HANG_MS 20000 /* whatever takes longer hangs; generous, for sanitizers on a busy machine */

/*
 * Channels are mediated, unless SMCDU_TEST_PATH=attached is in the environment: then every one has
 * to be attached.
 */
struct guests {
	char dir[64];
	pid_t fabric;
	pid_t daemon[2];
	char socket[2][128];
	struct smcdu_ctx *ctx[2];
	bool own_functions; /* daemons are not given theirs: a file has them */
};

/* @extra: further arguments for both daemons, NULL-terminated, or NULL. Fails the test on error. */
void guests_start(struct guests *g, const char *const *extra);
void guests_stop(struct guests *g);

bool guests_attached(void);

void guests_start_fabric(struct guests *g);
void guests_start_daemon(struct guests *g, int guest, const char *const *extra);

/* Where a guest's settings are, once there are any. */
#define GUESTS_PATH_MAX 96
void guests_conf_path(const struct guests *g, int guest, char path[GUESTS_PATH_MAX]);

/* Restarts a guest's daemon, which has to end well, with these settings; "": the usual ones. */
void guests_configure(struct guests *g, int guest, const char *text);

/* The program that an environment variable names; without it the test cannot go on. */
const char *guests_program(const char *variable);

/*
 * Starts a program that says "...: ready: ..." on standard output, and waits for that. It ends with
 * this process at the latest.
 */
pid_t guests_spawn(const char *name, const char *const argv[]);

/* Deletes a directory and what is in it. */
void guests_remove_tree(const char *path);

/* Ends one process with @sig and reaps it; *pid becomes -1. Returns the wait status. */
int guests_kill(pid_t *pid, int sig);

/* A connected pair: client at @from, server at the other guest. */
void guests_connect(struct guests *g, int from, const char *service, struct smcdu_channel **client,
	struct smcdu_channel **server);

/* Open descriptors of a process; lines of its memory map. */
unsigned int proc_fds(pid_t pid);
unsigned int proc_maps(pid_t pid);
long proc_rss_kib(pid_t pid);
/* Its own memory: neither files nor what it shares. */
long proc_anon_kib(pid_t pid);
/* How often the process has slept so far (voluntary context switches). */
uint64_t proc_wakeups(pid_t pid);

/* A member of a JSON object; without it "" or -1. */
const char *json_text(struct json_object *o, const char *key);
int json_number(struct json_object *o, const char *key);

/* A number in the daemon's stats reply, by name; -1 when it is not there. */
int64_t guests_stat(struct guests *g, int guest, const char *name);
/* Waits until the statistic has the value; fails the test when that hangs. */
void guests_wait_stat(struct guests *g, int guest, const char *name, int64_t value);

/*
 * Waits until the process has at most @n descriptors open; fails the test when that hangs. Not exactly as
 * many: when they were counted some may have been about to be closed.
 */
void guests_wait_fds(pid_t pid, unsigned int n);

/* Byte @pos of stream @stream: every channel its own, cheap to check. */
uint8_t pattern_byte(uint32_t stream, uint64_t pos);
void pattern_fill(uint8_t *buf, size_t len, uint32_t stream, uint64_t pos);
/* Index of the first byte that differs, or @len. */
size_t pattern_check(const uint8_t *buf, size_t len, uint32_t stream, uint64_t pos);

/* Sends or receives exactly @len pattern bytes; fails the test on any error or difference. */
void pattern_send(struct smcdu_channel *ch, uint32_t stream, uint64_t *pos, size_t len);
void pattern_recv(struct smcdu_channel *ch, uint32_t stream, uint64_t *pos, size_t len);

/* A new channel between the guests works: connects, moves 30 000 pattern bytes, closes. */
void guests_expect_works(struct guests *g);

void sleep_ms(unsigned int ms);

#endif
