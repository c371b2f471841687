/* SPDX-License-Identifier: MIT */
/*
 * PNETIDs: 16 characters from the machine's configuration (the "utility string" of a channel path or
 * PCI function, in EBCDIC, one for each port), or from the table that smc_pnet(8) fills.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/smc.h>
#include <netlink/attr.h>
#include <netlink/genl/genl.h>

#include "smcd/netlink/view.h"
#include "vfio/base/fd.h"

#define PORTS 4u

/* ---- hardware -------------------------------------------------------------------------------- */

/* Bytes read, 0 where there is no such file. */
static size_t read_file(char *buf, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static size_t read_file(char *buf, size_t size, const char *fmt, ...)
{
	char path[256];
	int fd FD_CLEANUP = -1;
	va_list ap;
	ssize_t n;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, buf, size);
	return n > 0 ? (size_t)n : 0;
}

/* A letter or digit of EBCDIC, in upper case; 0 for anything else. */
static char from_ebcdic(unsigned char c)
{
	unsigned int row = c >> 4, col = c & 15;

	if (row == 15 && col <= 9)
		return (char)('0' + col);
	if (row < 12) /* lower case */
		row += 4;
	if (row == 12 && col >= 1 && col <= 9)
		return (char)('A' + col - 1);
	if (row == 13 && col >= 1 && col <= 9)
		return (char)('J' + col - 1);
	if (row == 14 && col >= 2 && col <= 9)
		return (char)('S' + col - 2);
	return 0;
}

/* Ends at the first blank, in either code, or NUL. */
static bool take_ebcdic(const char *in, char ret[VIEW_PNETID_LEN + 1])
{
	char id[VIEW_PNETID_LEN + 1] = "";
	size_t i;

	for (i = 0; i < VIEW_PNETID_LEN && in[i] != 0 && in[i] != 0x40; i++) {
		id[i] = from_ebcdic((unsigned char)in[i]);
		if (id[i] == 0)
			return false;
	}
	if (i == 0)
		return false;
	memcpy(ret, id, sizeof(id));
	return true;
}

/* The utility string of a PCI function, or of the first channel path of a channel device. */
static size_t utility_string(char *buf, size_t size, const char *sysfs, const char *interface)
{
	size_t n = read_file(buf, size, "%s/class/net/%s/device/util_string", sysfs, interface);
	char chpid[8] = "";

	if (n > 0 || read_file(chpid, sizeof(chpid) - 1, "%s/class/net/%s/device/chpid", sysfs,
			interface) == 0)
		return n;
	chpid[strspn(chpid, "0123456789abcdefABCDEF")] = '\0';
	return read_file(buf, size, "%s/devices/css0/chp0.%s/util_string", sysfs, chpid);
}

bool view_pnet_hardware(const char *sysfs, const char *interface, char ret[VIEW_PNETID_LEN + 1])
{
	char text[PORTS * VIEW_PNETID_LEN] = "", number[16] = "";
	size_t n = utility_string(text, sizeof(text), sysfs, interface);
	unsigned long port = 0;
	char *end;

	if (n < sizeof(text)) /* never cut: what is short is something else */
		return false;
	if (read_file(number, sizeof(number) - 1, "%s/class/net/%s/dev_port", sysfs, interface) > 0)
		port = strtoul(number, &end, 0);
	return port < PORTS && take_ebcdic(text + port * VIEW_PNETID_LEN, ret);
}

/* ---- the kernel's table ---------------------------------------------------------------------- */

/* The text of an attribute, if it is there, has 1..size - 1 characters and ends. */
static bool text_of(const struct nlattr *a, char *buf, size_t size)
{
	const char *text = a ? nla_data(a) : NULL;
	size_t len = a ? strnlen(text, (size_t)nla_len(a)) : 0;

	if (len == 0 || len >= size || len == (size_t)nla_len(a))
		return false;
	memcpy(buf, text, len + 1);
	return true;
}

int view_pnet_add(struct view *v, struct nlmsghdr *msg)
{
	struct nlattr *attrs[SMC_PNETID_MAX + 1];
	struct view_pnet p = { "", "" }, *grown;

	if (genlmsg_parse(msg, 0, attrs, SMC_PNETID_MAX, NULL) < 0)
		return 0;
	if (!text_of(attrs[SMC_PNETID_NAME], p.id, sizeof(p.id)) ||
		!text_of(attrs[SMC_PNETID_ETHNAME], p.interface, sizeof(p.interface)))
		return 0; /* it is for a device */
	grown = realloc(v->pnets, (v->nr_pnets + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	grown[v->nr_pnets++] = p;
	v->pnets = grown;
	return 0;
}

static const char *in_table(const struct view *v, const char *interface)
{
	unsigned int i;

	for (i = 0; i < v->nr_pnets; i++) {
		if (strcmp(v->pnets[i].interface, interface) == 0)
			return v->pnets[i].id;
	}
	return NULL;
}

/* ---- both ------------------------------------------------------------------------------------ */

struct pnet_search {
	const struct view *v;
	unsigned int depth;
	char found[VIEW_PNETID_LEN + 1];
	char other[VIEW_PNETID_LEN + 1];
};

static bool own_pnetid(const struct view *v, int ifindex, char id[VIEW_PNETID_LEN + 1])
{
	char name[VIEW_IFNAMSIZ] = "";
	const char *entry;

	if (!view_name(v, ifindex, name))
		return false;
	if (view_pnet_hardware(v->sysfs, name, id))
		return true;
	entry = in_table(v, name);
	if (entry)
		snprintf(id, VIEW_PNETID_LEN + 1, "%s", entry);
	return entry != NULL;
}

static int search(void *ctx, int ifindex)
{
	char id[VIEW_PNETID_LEN + 1];
	struct pnet_search *s = ctx;
	int ret;

	if (own_pnetid(s->v, ifindex, id)) {
		if (s->found[0] && strcmp(s->found, id) != 0)
			memcpy(s->other, id, sizeof(id));
		else
			memcpy(s->found, id, sizeof(id));
		return s->other[0] != '\0';
	}
	if (s->depth == VIEW_DEPTH)
		return 0;
	s->depth++;
	ret = view_below(s->v, ifindex, search, s);
	s->depth--;
	return ret;
}

int view_pnetid(const struct view *v, const char *interface, char ret[VIEW_PNETID_LEN + 1],
	char why[VIEW_WHY])
{
	struct pnet_search s = { .v = v };
	int ifindex = view_find(v, interface, why);

	if (ifindex < 0)
		return ifindex;
	search(&s, ifindex);
	if (s.other[0])
		return view_complain(why, -ENOTUNIQ, "interface '%s' stands on several physical "
			"networks, %s and %s among them: name the one that is meant", interface,
			s.found, s.other);
	if (!s.found[0])
		return view_complain(why, -ENOENT, "interface '%s' has no PNETID: its hardware "
			"names none, and %s", interface, v->pnet_table ?
			"the kernel's table (smc_pnet) does not mention it" :
			"the kernel has no table, for its SMC is not loaded");
	memcpy(ret, s.found, sizeof(s.found));
	return 0;
}
