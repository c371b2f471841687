/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/messages.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "smcd/ipc/chan.h"

static bool hdr_ok(const void *msg, size_t len, enum ipc_type type, size_t size)
{
	struct ipc_hdr hdr;

	if (len != size)
		return false;
	memcpy(&hdr, msg, sizeof(hdr));
	return hdr.magic == IPC_MAGIC && hdr.version == IPC_VERSION && hdr.type == type;
}

static bool text_ok(const char name[IPC_NAME_MAX])
{
	return name[0] != '\0' && memchr(name, '\0', IPC_NAME_MAX) != NULL;
}

int ipc_check_connect(const void *msg, size_t len)
{
	struct ipc_connect m;

	if (!hdr_ok(msg, len, IPC_CONNECT, sizeof(m)))
		return -EPROTO;
	memcpy(&m, msg, sizeof(m));
	if (!text_ok(m.peer) || !text_ok(m.service) || m.path > IPC_PATH_ATTACHED ||
		m.reserved != 0)
		return -EPROTO;
	return 0;
}

int ipc_check_listen(const void *msg, size_t len)
{
	struct ipc_listen m;

	if (!hdr_ok(msg, len, IPC_LISTEN, sizeof(m)))
		return -EPROTO;
	memcpy(&m, msg, sizeof(m));
	return text_ok(m.service) && m.path <= IPC_PATH_ATTACHED && m.reserved == 0 ? 0 : -EPROTO;
}

int ipc_check_query(const void *msg, size_t len)
{
	struct ipc_query m;

	if (!hdr_ok(msg, len, IPC_QUERY, sizeof(m)))
		return -EPROTO;
	memcpy(&m, msg, sizeof(m));
	return m.what >= IPC_Q_DEVICE && m.what <= IPC_Q_FAILURE && m.reserved == 0 ? 0 : -EPROTO;
}

int ipc_check_capture(const void *msg, size_t len)
{
	struct ipc_capture m;

	if (!hdr_ok(msg, len, IPC_CAPTURE, sizeof(m)))
		return -EPROTO;
	memcpy(&m, msg, sizeof(m));
	return m.what >= 1 && m.what <= IPC_CAPTURE_ALL && m.reserved == 0 ? 0 : -EPROTO;
}

int ipc_check_simple(const void *msg, size_t len, uint16_t *type)
{
	struct ipc_simple m;

	if (len != sizeof(m))
		return -EPROTO;
	memcpy(&m, msg, sizeof(m));
	if (m.hdr.magic != IPC_MAGIC || m.hdr.version != IPC_VERSION)
		return -EPROTO;
	*type = m.hdr.type;
	return 0;
}
