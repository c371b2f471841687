/* SPDX-License-Identifier: MIT */
/*
 * suite.h - the rules of the zPCI I/O region, and of ism-vfio-pci's BARs, as data
 *
 * Each row of the table is one access to the region with what it must return and what it must have
 * done. A row that is one whole request, PCILG or PCISTB, is also an access to a BAR region with
 * the data itself, and has a verdict for that, too; other rows are skipped there. Effects are
 * observed on the function itself: stores go as moves into a DMB that the
 * function registers for its own GID, loads fetch the reply of a READ_GID. After every row a
 * one-byte write to a reserved byte of the request must run whatever the region has stored by then
 * once more.
 */
#ifndef CONFORMANCE_SUITE_H
#define CONFORMANCE_SUITE_H

#include <stdint.h>
#include <sys/types.h>

#include "provider.h"

enum access {
	WRITE,
	READ,
};

/* Where gaddr points; goff is added. */
enum where {
	MEM,	   /* two pages, shared, DMA-mapped */
	RO,	   /* a private page, PROT_READ */
	NONE,	   /* a page, PROT_NONE */
	UNMAPPED,  /* no page */
	ZERO,	   /* address 0 */
};

enum effect {
	NOTHING,
	STORED, /* the data arrived in the DMB, and nowhere else */
	LOADED, /* eight bytes at gaddr hold the value, right-justified, and no others changed */
};

/* Lengths that depend on the header. */
#define LEN_MAX	     0xfffe
#define LEN_MAX_PLUS 0xffff

#define DOES_OVER_BARS 1 /* what the region refuses is possible there */

struct row {
	const char *name;
	enum access access;
	uint16_t pos;	/* in the region */
	uint16_t count; /* bytes of the access */
	/* The request the row is about; a partial write carries its bytes pos..pos+count. */
	uint64_t flags;
	enum where where;
	uint16_t goff;
	uint8_t pcias;
	uint64_t offset; /* pcias 0: in the DMB */
	uint16_t len;
	/* The verdict. */
	ssize_t ret;
	enum effect effect;
	/*
	 * Over BARs: 0 as above, with the length for the 32 of a request; an error; or
	 * DOES_OVER_BARS.
	 */
	ssize_t bar;
};

extern const struct row rows[];
extern const unsigned int num_rows;

/* Runs all rows and prints TAP. Number of failures, or -errno when the function cannot be used. */
int suite_run(struct provider *p);

#endif
