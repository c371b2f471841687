/* SPDX-License-Identifier: MIT */
/*
 * messages.h - what of an application's message is checked before anybody looks inside
 *
 * Exact size, magic, version and type; names that are not empty and end inside their field;
 * reserved fields 0. Pure: @msg may be unaligned. 0 or -EPROTO.
 */
#ifndef SMCDU_DAEMON_MESSAGES_H
#define SMCDU_DAEMON_MESSAGES_H

#include <stddef.h>
#include <stdint.h>

int ipc_check_connect(const void *msg, size_t len);
int ipc_check_listen(const void *msg, size_t len);
int ipc_check_query(const void *msg, size_t len);
int ipc_check_capture(const void *msg, size_t len);
/* A bare header; its type is the caller's to judge. */
int ipc_check_simple(const void *msg, size_t len, uint16_t *type);

#endif
