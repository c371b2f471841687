/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "smcd/proto/rdv.h"

#define INTERFACE "interface:"
#define SEID_HEAD "IBM-SYSZ-ISMSEID00000000"

int config_complain(char why[CONFIG_WHY], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CONFIG_WHY, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

int config_parse_uint(const char *value, int base, uint64_t max, uint64_t *out)
{
	unsigned long long v;
	char *end;

	if (!isxdigit((unsigned char)value[0]))
		return -EINVAL;
	errno = 0;
	v = strtoull(value, &end, base);
	if (errno != 0 || end == value || *end != '\0' || v > max)
		return -EINVAL;
	*out = v;
	return 0;
}

/* "65536", "64K", "1M" */
static int parse_size(const char *value, uint64_t max, uint64_t *out)
{
	static const char units[] = "kmg";
	size_t len = strlen(value);
	unsigned int shift = 0;
	char digits[24];
	const char *unit;
	uint64_t v;

	if (len == 0 || len >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, value, len + 1);
	unit = strchr(units, tolower((unsigned char)digits[len - 1]));
	if (unit) {
		shift = 10 * (unsigned int)(unit - units + 1);
		digits[len - 1] = '\0';
	}
	if (config_parse_uint(digits, 10, max >> shift, &v) < 0)
		return -EINVAL;
	*out = v << shift;
	return 0;
}

int config_copy_name(char out[IPC_NAME_MAX], const char *value, const char *what,
	char why[CONFIG_WHY])
{
	if (!rdv_name_ok(value))
		return config_complain(why,
			"%s must be 1..63 characters from [A-Za-z0-9._-], not '%s'", what, value);
	memset(out, 0, IPC_NAME_MAX);
	memcpy(out, value, strlen(value));
	return 0;
}

/* What follows "interface:"; NULL when that is not how @value begins. */
static const char *interface_of(const char *value)
{
	size_t len = strlen(INTERFACE);

	return strncmp(value, INTERFACE, len) == 0 ? value + len : NULL;
}

static int set_interface(char out[IFNAMSIZ], const char *name, char why[CONFIG_WHY])
{
	const char *c;

	for (c = name; isgraph((unsigned char)*c) && *c != '/' && *c != ':'; c++)
		;
	if (c == name || *c != '\0' || c - name >= IFNAMSIZ)
		return config_complain(why, "an interface has a name of 1..%d characters without "
			"blanks, '/' and ':', not '%s'", IFNAMSIZ - 1, name);
	memset(out, 0, IFNAMSIZ);
	memcpy(out, name, (size_t)(c - name));
	return 0;
}

/* ---- types: text to value -------------------------------------------------------------------- */

typedef int parse_fn(const struct config_key *k, void *field, const char *value, char *why);

static int parse_name(const struct config_key *k, void *field, const char *value, char *why)
{
	return config_copy_name(field, value, k->key, why);
}

static int parse_text(const struct config_key *k, void *field, const char *value, char *why)
{
	char **text = field, *copy;
	const char *c;

	if (value[0] == '\0')
		return config_complain(why, "%s is missing", k->metavar);
	/* With a blank before it, it would be a comment: nothing that is to be guessed. */
	if (value[0] == ';')
		return config_complain(why, "%s begins with ';', as a comment does", k->key);
	if (strlen(value) > k->max)
		return config_complain(why, "%s is longer than %" PRIu64 " characters", k->key,
			k->max);
	for (c = value; *c; c++) {
		if (iscntrl((unsigned char)*c))
			return config_complain(why, "%s has a control character in it", k->key);
	}
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

static int parse_vfio(const struct config_key *k, void *field, const char *value, char *why)
{
	struct config_vfio vfio = { 0 };

	if (vfio_parse_spec(value, vfio.bdf, &vfio.way) < 0)
		return config_complain(why, "%s must be a PCI address as in /sys/bus/pci/devices "
			"(0001:00:00.0), with ,group or ,cdev behind it or nothing, not '%s'",
			k->key, value);
	*(struct config_vfio *)field = vfio;
	return 0;
}

static int parse_number(const struct config_key *k, void *field, const char *value, char *why)
{
	uint64_t v;

	if (config_parse_uint(value, 10, k->max, &v) < 0 || v < k->min)
		return config_complain(why, "%s must be %" PRIu64 "..%" PRIu64 ", not '%s'",
			k->key, k->min, k->max, value);
	*(uint32_t *)field = (uint32_t)v;
	return 0;
}

static int parse_spin(const struct config_key *k, void *field, const char *value, char *why)
{
	if (strcmp(value, "auto") != 0)
		return parse_number(k, field, value, why);
	*(uint32_t *)field = CONFIG_SPIN_DEFAULT;
	return 0;
}

static int parse_octal(const struct config_key *k, void *field, const char *value, char *why)
{
	uint64_t v;

	if (config_parse_uint(value, 8, k->max, &v) < 0)
		return config_complain(why, "%s must be octal, 0..0%" PRIo64 ", not '%s'", k->key,
			k->max, value);
	*(uint32_t *)field = (uint32_t)v;
	return 0;
}

static int parse_amount(const struct config_key *k, void *field, const char *value, char *why)
{
	uint64_t v;

	if (parse_size(value, k->max, &v) < 0 || v < k->min)
		return config_complain(why, "%s must be a number, at most %" PRIu64 ", not '%s'",
			k->key, k->max, value);
	*(uint64_t *)field = v;
	return 0;
}

static int parse_dmb(const struct config_key *k, void *field, const char *value, char *why)
{
	uint64_t v;

	if (strcmp(value, "auto") == 0) {
		*(uint32_t *)field = 0;
		return 0;
	}
	if (parse_size(value, k->max, &v) < 0 || v < k->min)
		return config_complain(why, "%s must be auto or %" PRIu64 "K..%" PRIu64 "M, not '%s'",
			k->key, k->min >> 10, k->max >> 20, value);
	*(uint32_t *)field = clc_code_size(clc_size_code((uint32_t)v));
	return 0;
}

static const char *const loops[] = {
	[LOOP_AUTO] = "auto", [LOOP_URING] = "io_uring", [LOOP_EPOLL] = "epoll"
};

static int parse_loop(const struct config_key *k, void *field, const char *value, char *why)
{
	uint32_t i;

	for (i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
		if (strcmp(value, loops[i]) == 0) {
			*(uint32_t *)field = i;
			return 0;
		}
	}
	return config_complain(why, "%s must be auto, io_uring or epoll, not '%s'", k->key, value);
}

static const char *const paths[] = {
	[IPC_PATH_AUTO] = "auto", [IPC_PATH_MEDIATED] = "mediated"
};

static int parse_path(const struct config_key *k, void *field, const char *value, char *why)
{
	uint32_t i;

	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (strcmp(value, paths[i]) == 0) {
			*(uint32_t *)field = i;
			return 0;
		}
	}
	return config_complain(why, "%s must be auto or mediated, not '%s'", k->key, value);
}

static const char *const pcistbs[] = {
	[CONFIG_PCISTB_AUTO] = "auto", [CONFIG_PCISTB_REGION] = "region"
};

static int parse_pcistb(const struct config_key *k, void *field, const char *value, char *why)
{
	uint32_t i;

	for (i = 0; i < sizeof(pcistbs) / sizeof(pcistbs[0]); i++) {
		if (strcmp(value, pcistbs[i]) == 0) {
			*(uint32_t *)field = i;
			return 0;
		}
	}
	return config_complain(why, "%s must be auto or region, not '%s'", k->key, value);
}

static int parse_gid(const struct config_key *k, void *field, const char *value, char *why)
{
	uint64_t v;

	if (value[0] != '0' || (value[1] != 'x' && value[1] != 'X') ||
		config_parse_uint(value, 16, UINT64_MAX, &v) < 0 || v == 0)
		return config_complain(why, "%s must be 0x and 1..16 hex digits, but 0x0; not '%s'",
			k->key, value);
	*(uint64_t *)field = v;
	return 0;
}

/* smc-tools refuse "..", so a peer could never have such a one. */
static int parse_ueids(const struct config_key *k, void *field, const char *value, char *why)
{
	struct config_ueids *list = field;
	uint8_t eid[CLC_EID_LEN];
	unsigned int i;

	if (strcmp(value, "none") == 0 && list->nr == 0)
		return 0;
	if (clc_eid(eid, value) < 0 || strstr(value, ".."))
		return config_complain(why, "%s must be 1..32 characters from [A-Z0-9.-], starting "
			"with a letter or digit and without '..', or none; not '%s'", k->key,
			value);
	for (i = 0; i < list->nr; i++) {
		if (memcmp(list->eid[i], eid, CLC_EID_LEN) == 0)
			return config_complain(why, "%s '%s' is given twice", k->key, value);
	}
	if (list->nr == CLC_MAX_UEID)
		return config_complain(why, "too many UEIDs (at most %u fit into a Proposal)",
			CLC_MAX_UEID);
	memcpy(list->eid[list->nr++], eid, CLC_EID_LEN);
	return 0;
}

/* The shape that kernels give it; anything else would mean "same machine" to nobody. */
static bool is_seid(const char *value)
{
	size_t i, head = strlen(SEID_HEAD);

	if (strlen(value) != CLC_EID_LEN || memcmp(value, SEID_HEAD, head) != 0)
		return false;
	for (i = head; i < CLC_EID_LEN; i++)
		if (!strchr("0123456789ABCDEF", value[i]))
			return false;
	return true;
}

static int parse_seid(const struct config_key *k, void *field, const char *value, char *why)
{
	struct config_seid seid = { 0 };

	if (strcmp(value, "kernel") == 0) {
		seid.pending = true;
	} else if (is_seid(value)) {
		seid.valid = true;
		memcpy(seid.eid, value, CLC_EID_LEN);
	} else if (strcmp(value, "off") != 0) {
		return config_complain(why, "%s must be off, kernel, or " SEID_HEAD " and 8 hex "
			"digits in upper case (machine and type), not '%s'", k->key, value);
	}
	*(struct config_seid *)field = seid;
	return 0;
}

static int parse_vlan(const struct config_key *k, void *field, const char *value, char *why)
{
	const char *interface = interface_of(value);
	struct config_vlan vlan = { 0 };
	uint64_t v = 0;
	int ret;

	if (interface) {
		ret = set_interface(vlan.pending, interface, why);
		if (ret < 0)
			return ret;
	} else if (strcmp(value, "none") != 0 &&
		(config_parse_uint(value, 10, k->max, &v) < 0 || v < k->min)) {
		return config_complain(why, "%s must be %" PRIu64 "..%" PRIu64 ", none, or "
			INTERFACE "NAME, not '%s'", k->key, k->min, k->max, value);
	}
	vlan.id = (uint16_t)v;
	*(struct config_vlan *)field = vlan;
	return 0;
}

/* Lower case becomes upper case, as in the kernel's table. */
static int parse_pnetid(const struct config_key *k, void *field, const char *value, char *why)
{
	const char *interface = interface_of(value);
	struct config_pnetid id = { 0 };
	size_t i, len = strlen(value);
	int ret;

	if (interface) {
		ret = set_interface(id.pending, interface, why);
		if (ret < 0)
			return ret;
	} else if (strcmp(value, "none") != 0) {
		for (i = 0; i < len && i < CONFIG_PNETID_LEN && isalnum((unsigned char)value[i]);
			i++)
			id.id[i] = (char)toupper((unsigned char)value[i]);
		if (i != len || len == 0)
			return config_complain(why, "%s must be 1..%u letters and digits, none, or "
				INTERFACE "NAME, not '%s'", k->key, CONFIG_PNETID_LEN, value);
	}
	*(struct config_pnetid *)field = id;
	return 0;
}

static int parse_port(const struct config_key *k, void *field, const char *value, char *why)
{
	uint64_t v;

	if (config_parse_uint(value, 10, k->max, &v) < 0 || v < k->min)
		return config_complain(why, "a port must be %" PRIu64 "..%" PRIu64 ", not '%s'",
			k->min, k->max, value);
	*(uint16_t *)field = (uint16_t)v;
	return 0;
}

int config_parse(const struct config_key *k, void *field, const char *value, char *why)
{
	static parse_fn *const parse[] = {
		[CONFIG_NAME] = parse_name,
		[CONFIG_TEXT] = parse_text,
		[CONFIG_VFIO] = parse_vfio,
		[CONFIG_NUMBER] = parse_number,
		[CONFIG_SPIN] = parse_spin,
		[CONFIG_OCTAL] = parse_octal,
		[CONFIG_AMOUNT] = parse_amount,
		[CONFIG_DMB] = parse_dmb,
		[CONFIG_LOOP] = parse_loop,
		[CONFIG_PATH] = parse_path,
		[CONFIG_PCISTB] = parse_pcistb,
		[CONFIG_GID] = parse_gid,
		[CONFIG_UEIDS] = parse_ueids,
		[CONFIG_SEID] = parse_seid,
		[CONFIG_VLAN] = parse_vlan,
		[CONFIG_PNETID] = parse_pnetid,
		[CONFIG_PORT] = parse_port,
	};

	return parse[k->type](k, field, value, why);
}

/* ---- types: value to text -------------------------------------------------------------------- */

const char *config_pending_on(const struct config_key *k, const void *field)
{
	const struct config_vlan *vlan = field;
	const struct config_pnetid *pnetid = field;
	const struct config_seid *seid = field;

	switch (k->type) {
	case CONFIG_VLAN:
		return vlan->pending[0] ? vlan->pending : NULL;
	case CONFIG_PNETID:
		return pnetid->pending[0] ? pnetid->pending : NULL;
	case CONFIG_SEID:
		return seid->pending ? "" : NULL;
	default:
		return NULL;
	}
}

/* The value in @buf; false when there is none. */
static bool text_of(const struct config_key *k, const void *field, char *buf, size_t size)
{
	const struct config_seid *seid = field;
	const struct config_pnetid *pnetid = field;
	const struct config_vfio *vfio = field;
	uint32_t n;

	switch (k->type) {
	case CONFIG_NAME:
		return snprintf(buf, size, "%s", (const char *)field) > 0;
	case CONFIG_TEXT:
		return *(char *const *)field &&
			snprintf(buf, size, "%s", *(char *const *)field) > 0;
	case CONFIG_VFIO:
		return vfio->bdf[0] && snprintf(buf, size, "%s%s%s", vfio->bdf,
			vfio->way ? "," : "", vfio->way ? vfio_way_name(vfio->way) : "") > 0;
	case CONFIG_NUMBER:
	case CONFIG_SPIN:
	case CONFIG_DMB:
		n = *(const uint32_t *)field;
		if (n == (k->type == CONFIG_SPIN ? CONFIG_SPIN_DEFAULT : 0) && k->type != CONFIG_NUMBER)
			return snprintf(buf, size, "auto") > 0;
		return snprintf(buf, size, "%" PRIu32, n) > 0;
	case CONFIG_OCTAL:
		return snprintf(buf, size, "0%" PRIo32, *(const uint32_t *)field) > 0;
	case CONFIG_AMOUNT:
		return snprintf(buf, size, "%" PRIu64, *(const uint64_t *)field) > 0;
	case CONFIG_LOOP:
		return snprintf(buf, size, "%s", loops[*(const uint32_t *)field]) > 0;
	case CONFIG_PATH:
		return snprintf(buf, size, "%s", paths[*(const uint32_t *)field]) > 0;
	case CONFIG_PCISTB:
		return snprintf(buf, size, "%s", pcistbs[*(const uint32_t *)field]) > 0;
	case CONFIG_GID:
		return *(const uint64_t *)field &&
			snprintf(buf, size, "0x%016" PRIx64, *(const uint64_t *)field) > 0;
	case CONFIG_SEID:
		return snprintf(buf, size, "%.32s",
			seid->valid ? (const char *)seid->eid : "off") > 0;
	case CONFIG_VLAN:
		n = ((const struct config_vlan *)field)->id;
		return n && snprintf(buf, size, "%" PRIu32, n) > 0;
	case CONFIG_PNETID:
		return pnetid->id[0] && snprintf(buf, size, "%s", pnetid->id) > 0;
	case CONFIG_PORT:
		return snprintf(buf, size, "%u", *(const uint16_t *)field) > 0;
	case CONFIG_UEIDS:
		break;
	}
	return false;
}

static void print_ueids(FILE *out, const char *key, const struct config_ueids *list,
	const char *comment)
{
	unsigned int i;
	int len;

	if (list->nr == 0)
		fprintf(out, "%s = none%s\n", key, comment);
	for (i = 0; i < list->nr; i++) {
		for (len = CLC_EID_LEN; len > 0 && list->eid[i][len - 1] == ' '; len--)
			;
		fprintf(out, "%s = %.*s%s\n", key, len, (const char *)list->eid[i], comment);
	}
}

void config_print_value(FILE *out, const struct config_key *k, const char *key, const void *field,
	const char *comment)
{
	const char *pending = config_pending_on(k, field);
	char buf[256];

	if (k->type == CONFIG_UEIDS)
		print_ueids(out, key, field, comment);
	else if (pending)
		fprintf(out, "%s = %s%s%s\n", key, *pending ? INTERFACE : "kernel", pending,
			comment);
	else if (text_of(k, field, buf, sizeof(buf)))
		fprintf(out, "%s = %s%s\n", key, buf, comment);
}
