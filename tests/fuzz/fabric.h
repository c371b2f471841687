/* SPDX-License-Identifier: MIT */
/*
 * fabric.h - a fabric of two functions in this process, for programs that know another struct function
 */
#ifndef SMCDU_TESTS_FUZZ_FABRIC_H
#define SMCDU_TESTS_FUZZ_FABRIC_H

#include "vfio/zpci.h"

#define FABRIC_GID UINT64_C(0x1d15000000000001) /* of function 0; 1 has the next */

void fabric_build(void);
/* The door to function 0 or 1, as tests/protocol/local.h has it. */
struct zpci *fabric_door(unsigned int nr);

#endif
