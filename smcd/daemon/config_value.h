/* SPDX-License-Identifier: MIT */
/*
 * config_value.h - the types that a setting may have: text to value and back
 *
 * Pure. What parses prints as something that parses to the same.
 */
#ifndef SMCDU_DAEMON_CONFIG_VALUE_H
#define SMCDU_DAEMON_CONFIG_VALUE_H

#include "smcd/daemon/config.h"

/* Fills @why. Always -EINVAL. */
int config_complain(char why[CONFIG_WHY], const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * @value into @field, which is of the key's type; a list grows. 0, -EINVAL with the complaint in
 * @why (CONFIG_WHY bytes), -ENOMEM; @field is untouched then.
 */
int config_parse(const struct config_key *k, void *field, const char *value, char *why);

/* The lines "key = value" of @field, each ended by @comment; none if there is no value. */
void config_print_value(FILE *out, const struct config_key *k, const char *key, const void *field,
	const char *comment);

/* The interface that @field waits for, "" for the kernel itself; NULL when it waits for nothing. */
const char *config_pending_on(const struct config_key *k, const void *field);

/* Copies a checked name, padded with NULs; @what it names is for the complaint. */
int config_copy_name(char out[IPC_NAME_MAX], const char *value, const char *what,
	char why[CONFIG_WHY]);

/* Digits of @base (10, 8 or 16) up to @max, nothing else. 0 or -EINVAL. */
int config_parse_uint(const char *value, int base, uint64_t max, uint64_t *out);

#endif
