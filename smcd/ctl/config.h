/* SPDX-License-Identifier: MIT */
#ifndef SMCDU_CTL_CONFIG_H
#define SMCDU_CTL_CONFIG_H

#include <stdio.h>

#include "smcd/daemon/config.h"
#include "smcd/netlink/view.h"

/*
 * Writes the values of all that is pending, as settings. @view: where to look; NULL: the machine.
 * 0, or -ENOENT after one log line for each value that is not to be had.
 */
int config_resolve(const struct config *c, const struct view *view, FILE *out);

#endif
