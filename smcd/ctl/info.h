/* SPDX-License-Identifier: MIT */
#ifndef SMCDU_CTL_INFO_H
#define SMCDU_CTL_INFO_H

#include <stdio.h>

struct json_object;

/* {"kernel":..., "daemon":...}, either of which may be empty, for people. */
void info_print(FILE *out, struct json_object *root);

#endif
