/* SPDX-License-Identifier: MIT */
/* The commands of the tool's own that have to do with this machine's functions. */
#ifndef SMCDU_CTL_TOOLS_H
#define SMCDU_CTL_TOOLS_H

#include "smcd/ctl/report.h"
#include "vfio/sys.h"

extern const struct option check_options[];
enum exit_status check_run(const struct ctl *ctl);

extern const struct option bind_options[], unbind_options[];
enum exit_status bind_run(const struct ctl *ctl);
enum exit_status unbind_run(const struct ctl *ctl);

/*
 * Gives the function to a VFIO driver (@driver; NULL: the one for ISM), and back to whichever driver
 * takes it. What is in the way is told before anything is changed; a step that fails undoes those
 * before it. @force: also a function that is no ISM one. Messages go to standard output and error.
 */
enum exit_status bind_function(const struct sys_ops *sys, const char *bdf, const char *driver,
	bool force);
enum exit_status unbind_function(const struct sys_ops *sys, const char *bdf);

#endif
