/* SPDX-License-Identifier: MIT */
/*
 * autosize.h - how large the DMB of a channel is that nobody gave a size
 *
 * A large ring makes long messages and streams faster: with 1 MiB they run about twice as fast as with
 * 256 KiB. But it is made anew for each channel, which takes time, and it holds memory. So a user's
 * automatic DMBs share AUTOSIZE_BUDGET: those of the channels that are open, and of those that were
 * opened within the last second or two, as if they were. Whoever has a few channels gets the largest size;
 * a thousand, at once or one after the other, have the smallest. And none takes more than a part of what
 * the user's limit of bytes leaves.
 *
 * Pure: time and amounts in, a size out.
 */
#ifndef SMCDU_DAEMON_AUTOSIZE_H
#define SMCDU_DAEMON_AUTOSIZE_H

#include <stdint.h>
#include <sys/types.h>

#define AUTOSIZE_MIN	(16u * 1024u)
#define AUTOSIZE_MAX	(1024u * 1024u)
#define AUTOSIZE_BUDGET (16u * 1024u * 1024u)
#define AUTOSIZE_PART	16u /* of the bytes that are left, one DMB may take one part of so many */
#define AUTOSIZE_SPAN_NS UINT64_C(1000000000)
#define AUTOSIZE_USERS	16u /* whose channels are counted; the least busy of them is forgotten */

/* What one user opened lately. */
struct autosize_user {
	uid_t uid;
	uint64_t since_ns; /* begin of the span that is being counted; 0: not in use */
	uint32_t now;	   /* channels in this span */
	uint32_t before;   /* in the one before */
};

struct autosize {
	struct autosize_user user[AUTOSIZE_USERS];
};

/*
 * The size for the next channel of @uid at @now_ns, which is counted by this. It has @channels open, and
 * may have @left more bytes.
 */
uint32_t autosize_next(struct autosize *a, uid_t uid, uint64_t now_ns, uint64_t channels,
	uint64_t left);

#endif
