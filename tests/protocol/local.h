/* SPDX-License-Identifier: MIT */
/*
 * local.h - the door to a function of a fabric in this very process
 *
 * No socket, no descriptor passed, no thread: the whole path from the driver to the other guest's
 * memory runs where any emulator or sanitizer can follow it.
 */
#ifndef TESTS_LOCAL_H
#define TESTS_LOCAL_H

#include "ism/model/function.h"
#include "vfio/zpci.h"

/* Attaches to @fn. Owned by the caller, who hands it to ism_open(). Fails the test on error. */
struct zpci *local_open(struct function *fn);

#endif
