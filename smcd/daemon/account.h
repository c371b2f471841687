/* SPDX-License-Identifier: MIT */
/*
 * account.h - what each user holds of the daemon
 *
 * Every resource an application can make the daemon hold is charged to its uid and has a limit, so
 * that one user cannot exhaust another. A charge is released by whoever made it; an account whose
 * charges are all back to zero disappears, and at exit none may be left.
 */
#ifndef SMCDU_DAEMON_ACCOUNT_H
#define SMCDU_DAEMON_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vfio/base/hash.h"

enum account_slot {
	ACCOUNT_CLIENTS,
	ACCOUNT_CHANNELS,
	ACCOUNT_LISTENERS,
	ACCOUNT_BYTES,
	ACCOUNT_SLOTS
};

struct account {
	uid_t uid;
	uint64_t used[ACCOUNT_SLOTS];
	bool warned; /* one log line per account */
	UT_hash_handle hh;
};

struct accounts {
	struct account *by_uid;
	uint64_t limit[ACCOUNT_SLOTS];
};

/* 0, -EDQUOT when the limit would be exceeded (nothing is charged), -ENOMEM. */
int account_charge(struct accounts *as, uid_t uid, enum account_slot slot, uint64_t amount);
/* Gives back what was charged; more than that is a bug and asserts. */
void account_release(struct accounts *as, uid_t uid, enum account_slot slot, uint64_t amount);
uint64_t account_used(struct accounts *as, uid_t uid, enum account_slot slot);
/* "channels", for messages */
const char *account_slot_name(enum account_slot slot);
bool accounts_empty(const struct accounts *as);

#endif
