/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/account.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "vfio/base/log.h"

static const char *const slot_names[ACCOUNT_SLOTS] = {
	[ACCOUNT_CLIENTS] = "clients",
	[ACCOUNT_CHANNELS] = "channels",
	[ACCOUNT_LISTENERS] = "listeners",
	[ACCOUNT_BYTES] = "bytes",
};

const char *account_slot_name(enum account_slot slot)
{
	return slot_names[slot];
}

static struct account *find(struct accounts *as, uid_t uid)
{
	struct account *a;

	HASH_FIND(hh, as->by_uid, &uid, sizeof(uid), a);
	return a;
}

static struct account *find_or_add(struct accounts *as, uid_t uid)
{
	struct account *a = find(as, uid);

	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->uid = uid;
	HASH_ADD(hh, as->by_uid, uid, sizeof(a->uid), a);
	return a;
}

static void drop_if_empty(struct accounts *as, struct account *a)
{
	unsigned int i;

	for (i = 0; i < ACCOUNT_SLOTS; i++) {
		if (a->used[i] != 0)
			return;
	}
	HASH_DEL(as->by_uid, a);
	free(a);
}

int account_charge(struct accounts *as, uid_t uid, enum account_slot slot, uint64_t amount)
{
	struct account *a = find_or_add(as, uid);

	if (!a)
		return -ENOMEM;
	if (a->used[slot] > as->limit[slot] || amount > as->limit[slot] - a->used[slot]) {
		if (!a->warned)
			log_warn("user %u is at the limit of %" PRIu64 " %s: raise it in [limits] "
				 "if that is too low", (unsigned int)uid, as->limit[slot],
				slot_names[slot]);
		a->warned = true;
		drop_if_empty(as, a);
		return -EDQUOT;
	}
	a->used[slot] += amount;
	drop_if_empty(as, a); /* a charge of nothing */
	return 0;
}

void account_release(struct accounts *as, uid_t uid, enum account_slot slot, uint64_t amount)
{
	struct account *a = find(as, uid);

	if (amount == 0)
		return;
	assert(a && a->used[slot] >= amount);
	a->used[slot] -= amount;
	drop_if_empty(as, a);
}

uint64_t account_used(struct accounts *as, uid_t uid, enum account_slot slot)
{
	struct account *a = find(as, uid);

	return a ? a->used[slot] : 0;
}

bool accounts_empty(const struct accounts *as)
{
	return as->by_uid == NULL;
}
