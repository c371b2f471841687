/* SPDX-License-Identifier: MIT */
/*
 * hash.h - uthash with FNV-1a as its hash function
 *
 * Replaces uthash's default, whose switch falls through in a way that clang's
 * -Wimplicit-fallthrough reports in every file that uses it. Include this instead of <uthash.h>:
 * objects that share a table must agree on the function.
 */
#ifndef SMCDU_BASE_HASH_H
#define SMCDU_BASE_HASH_H

#define HASH_FUNCTION(key, len, value) HASH_FNV(key, len, value)

#include <uthash.h>

#endif
