/* SPDX-License-Identifier: MIT */
/*
 * data.h - the bytes of a test
 *
 * A benchmark whose data nobody touches measures pointers. So the sender writes every byte and the
 * receiver reads every byte, as fast as the memory allows, so that it is the transport that shows.
 */
#ifndef SMCDU_PERF_DATA_H
#define SMCDU_PERF_DATA_H

#include <stddef.h>
#include <stdint.h>

/* Writes every byte; a run of numbers from *next on, so that a lost or doubled piece shows. */
void data_fill(void *buf, size_t len, uint64_t *next);

/*
 * The same bytes, where another processor reads them next: many at once go past this one's caches, but for
 * the last @cached ones.
 */
void data_fill_far(void *buf, size_t len, size_t cached, uint64_t *next);

/* Reads every byte. The sum of all words is returned so that the reading cannot be left out. */
uint64_t data_read(const void *buf, size_t len);

#endif
