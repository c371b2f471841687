/* SPDX-License-Identifier: MIT */
/*
 * files.h - the files that DMBs are
 *
 * Each is a sealed memfd, mapped here at a multiple of its size, with a read-only description of it for
 * whoever is to look only. Making one and destroying one takes some twenty microseconds in a handful of
 * system calls, so that both can be done when there is nothing else to do: spares are made ahead, and what
 * is over waits until somebody is idle. Neither changes what a DMB is: every file serves one, and none twice.
 */
#ifndef SMCDU_ISM_FILES_H
#define SMCDU_ISM_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ISM_SPARES 16u
#define ISM_OVER   32u

/* A sealed memfd, mapped here and for the device. */
struct ism_memory {
	void *va; /* NULL: none */
	size_t size;
	int fd;
	int ro; /* the read-only description; -1: none */
	uint64_t iova;
};

struct ism_files {
	struct ism_memory spare[ISM_SPARES]; /* all of one size */
	unsigned int nspare;
	struct ism_memory over[ISM_OVER]; /* nobody's any more */
	unsigned int nover;
	int dir; /* fd_self_dir(), if has_dir: while spares are wanted */
	bool has_dir;
};

/* A spare, or a new one. 0 or -ENOMEM. */
int ism_files_get(struct ism_files *fs, size_t size, struct ism_memory *ret);

/* @m goes, sooner or later: the device has no access to it. */
void ism_files_put(struct ism_files *fs, struct ism_memory *m);

/* One more spare. False: there are @upto of them, or no memory. */
bool ism_files_prepare(struct ism_files *fs, size_t size, unsigned int upto);
void ism_files_drop_spares(struct ism_files *fs);

/* Destroys one that is over. False: there is none. */
bool ism_files_destroy_one(struct ism_files *fs);

void ism_files_fini(struct ism_files *fs);

#endif
