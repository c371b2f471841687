/* SPDX-License-Identifier: MIT */
/* How a test talks to the kernel that is linked into its smcd-userd (kernel_double.c). */
#ifndef TESTS_KERNEL_DOUBLE_H
#define TESTS_KERNEL_DOUBLE_H

#include <signal.h>
#include <stdint.h>

#define KERNEL_FUNCTIONS 4u
#define KERNEL_STATE	 "SMCDU_TEST_KERNEL_STATE" /* path of the file with struct kernel_state */
#define KERNEL_KIND	 "SMCDU_TEST_KERNEL_KIND"  /* "region" or "bars" */

/* Sent with the value command * KERNEL_FUNCTIONS + number of the function. */
#define KERNEL_SIGNAL (SIGRTMIN + 1)

enum kernel_command {
	KERNEL_UNBIND = 1,   /* the operator wants to unbind it from VFIO */
	KERNEL_BIND,	     /* and binds it again */
	KERNEL_REPORT_ERROR, /* by its error interrupt */
	KERNEL_REMOVE,	     /* taken from the machine without a word; at the next call */
	KERNEL_RETURN,	     /* and put back */
	KERNEL_RECOVER,	     /* error state and recovery by the host; at the next call */
};

struct kernel_state {
	uint32_t unbound[KERNEL_FUNCTIONS]; /* nobody has a descriptor of it any more */
	uint32_t by_cdev, by_group;	    /* openings */
	uint32_t maps;			    /* DMA maps made */
};

#endif
