/* SPDX-License-Identifier: MIT */
#include "ism/model/faults.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ism/model/function.h"

#define SLOW_MAX_MS 600000u

enum { FAIL_STORE, FAIL_LOAD, FAIL_COMMAND, ERROR, UNPLUG, SLOW, DROP_EVENTS };

const struct fault_kind fault_kinds[] = {
	[FAIL_STORE] = { "fail-store", "N", "the next N stores fail" },
	[FAIL_LOAD] = { "fail-load", "N", "the next N loads fail" },
	[FAIL_COMMAND] = { "fail-command", "N [RET]",
		"the next N commands are not executed and answer RET (0x01ff)" },
	[ERROR] = { "error", NULL, "error state: every access fails until clear or reset" },
	[UNPLUG] = { "unplug", NULL, "close the connection and refuse new ones until clear" },
	[SLOW] = { "slow", "MS", "answer MS milliseconds late; 0 ends it" },
	[DROP_EVENTS] = { "drop-events", "N", "lose the next N events to this function" },
};
const size_t fault_kinds_count = sizeof(fault_kinds) / sizeof(fault_kinds[0]);

bool fault_take(uint32_t *counter)
{
	if (!*counter)
		return false;
	(*counter)--;
	return true;
}

static int number(const char *text, unsigned long max, uint32_t *ret)
{
	unsigned long v;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	v = strtoul(text, &end, 0);
	if (errno || *end || v > max)
		return -EINVAL;
	*ret = (uint32_t)v;
	return 0;
}

static int apply_number(struct faults *f, size_t kind, uint32_t n, uint32_t ret)
{
	switch (kind) {
	case FAIL_STORE:
		f->fail_stores = n;
		return 0;
	case FAIL_LOAD:
		f->fail_loads = n;
		return 0;
	case FAIL_COMMAND:
		f->fail_commands = n;
		f->fail_ret = (uint16_t)ret;
		return 0;
	case SLOW:
		if (n > SLOW_MAX_MS)
			return -EINVAL;
		f->slow_ms = n;
		return 0;
	default:
		f->drop_events = n;
		return 0;
	}
}

int fault_apply(struct function *fn, const char *kind, const char *const *args, size_t nargs)
{
	uint32_t n = 0, ret = 0x01ff;
	size_t i;
	int r;

	for (i = 0; i < fault_kinds_count && strcmp(fault_kinds[i].name, kind); i++)
		;
	if (i == fault_kinds_count)
		return -ENOENT;
	if (i == ERROR || i == UNPLUG) {
		if (nargs)
			return -EINVAL;
		if (i == ERROR)
			function_enter_error(fn);
		else
			function_unplug(fn);
		return 0;
	}
	if (nargs < 1 || nargs > (i == FAIL_COMMAND ? 2u : 1u) || number(args[0], UINT32_MAX, &n))
		return -EINVAL;
	if (nargs == 2 && (number(args[1], 0xfffe, &ret) || !ret))
		return -EINVAL;
	r = apply_number(&fn->faults, i, n, ret);
	attach_review(fn->fabric);
	return r;
}

void fault_clear(struct function *fn)
{
	if (fn->faults.error)
		function_leave_error(fn);
	memset(&fn->faults, 0, sizeof(fn->faults));
	attach_review(fn->fabric);
}
