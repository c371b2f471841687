/* SPDX-License-Identifier: MIT */
/*
 * hash.h - uthash with XXH32 as its hash function
 *
 * Replaces uthash's default, whose switch falls through in a way that clang's -Wimplicit-fallthrough
 * reports in every file that uses it. Include this instead of <uthash.h>.
 */
#ifndef SMCDU_DAEMON_HASH_H
#define SMCDU_DAEMON_HASH_H

#include <xxhash.h>

#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = XXH32((keyptr), (keylen), 0))

#include <uthash.h>

#endif
