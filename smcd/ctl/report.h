/* SPDX-License-Identifier: MIT */
/*
 * report.h - the daemon's reports as text
 *
 * A report is a JSON object; which members it has may change with the daemon's version, so the
 * printers take what is there and print "-" for what is not. Names in it were chosen by peers: only
 * printable characters reach the terminal, and no blank ever splits a cell in two.
 */
#ifndef SMCDU_CTL_REPORT_H
#define SMCDU_CTL_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <json-c/json.h>

struct report {
	const char *name; /* as the daemon calls it, and the operator */
	const char *help; /* one line */
	void (*print)(FILE *out, struct json_object *root);
};

/* All of them, ended by one without a name. */
extern const struct report reports[];

/*
 * The report that @word is a unique stem of (a whole name wins). NULL when there is none or more
 * than one; then *candidates, if not NULL, says how many.
 */
const struct report *report_find(const char *word, unsigned int *candidates);

struct column {
	const char *title;
	const char *key;
	bool number; /* flush right */
};

/* The elements of the array @rows under a header, in columns (ended by one without a title). */
void table_print(FILE *out, const struct column *columns, struct json_object *rows);

/*
 * The member @key of @o as one printable word in @buf; "-" when it is missing, empty or no scalar.
 */
const char *cell_text(struct json_object *o, const char *key, char *buf, size_t size);

#endif
