/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "smcd/proto/clc.h"
#include "smcd/proto/rdv.h"

#define PORT_DYNAMIC	   49152u
#define PORT_DYNAMIC_COUNT 16384u

/* ---- values ---------------------------------------------------------------------------------- */

static int complain(char why[256], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int complain(char why[256], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, 256, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

bool config_is_number(const char *s)
{
	return s[0] != '\0' && strspn(s, "0123456789") == strlen(s);
}

static int parse_uint(const char *value, int base, uint64_t max, uint64_t *out)
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
	char digits[24];
	size_t len = strlen(value);
	unsigned int shift = 0;
	uint64_t v;

	if (len == 0 || len >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, value, len + 1);
	switch (digits[len - 1]) {
	case 'k':
	case 'K':
		shift = 10;
		break;
	case 'm':
	case 'M':
		shift = 20;
		break;
	case 'g':
	case 'G':
		shift = 30;
		break;
	}
	if (shift)
		digits[len - 1] = '\0';
	if (parse_uint(digits, 10, max >> shift, &v) < 0)
		return -EINVAL;
	*out = v << shift;
	return 0;
}

static int parse_gid(const char *value, uint64_t *out)
{
	if (value[0] != '0' || (value[1] != 'x' && value[1] != 'X'))
		return -EINVAL;
	return parse_uint(value, 16, UINT64_MAX, out) < 0 || *out == 0 ? -EINVAL : 0;
}

static int set_name(char out[IPC_NAME_MAX], const char *value, const char *what, char why[256])
{
	if (!rdv_name_ok(value))
		return complain(why, "%s must be 1..63 characters from [A-Za-z0-9._-], not '%s'",
			what, value);
	memset(out, 0, IPC_NAME_MAX);
	memcpy(out, value, strlen(value));
	return 0;
}

static int set_path(char **out, const char *value, char why[256])
{
	char *copy;

	if (value[0] == '\0')
		return complain(why, "a path is missing");
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*out);
	*out = copy;
	return 0;
}

/* One more element of @size in a list; zeroed. */
static void *append(void **list, unsigned int *nr, unsigned int max, size_t size)
{
	char *grown;

	if (*nr >= max)
		return NULL;
	grown = realloc(*list, (*nr + 1) * size);
	if (!grown)
		return NULL;
	*list = grown;
	memset(grown + *nr * size, 0, size);
	return grown + (*nr)++ * size;
}

/* ---- sections -------------------------------------------------------------------------------- */

static int set_loop(struct config *c, const char *value, char why[256])
{
	if (strcmp(value, "auto") == 0)
		c->loop = LOOP_AUTO;
	else if (strcmp(value, "io_uring") == 0)
		c->loop = LOOP_URING;
	else if (strcmp(value, "epoll") == 0)
		c->loop = LOOP_EPOLL;
	else
		return complain(why, "loop must be auto, io_uring or epoll, not '%s'", value);
	return 0;
}

static int set_daemon(struct config *c, const char *key, const char *value, char why[256])
{
	uint64_t v;

	if (strcmp(key, "name") == 0)
		return set_name(c->name, value, "name", why);
	if (strcmp(key, "socket") == 0)
		return set_path(&c->socket, value, why);
	if (strcmp(key, "group") == 0)
		return set_path(&c->group, value, why);
	if (strcmp(key, "loop") == 0)
		return set_loop(c, value, why);
	if (strcmp(key, "spin_us") == 0) {
		if (parse_uint(value, 10, 1000000, &v) < 0)
			return complain(why, "spin_us must be 0..1000000, not '%s'", value);
		c->spin_us = (uint32_t)v;
		return 0;
	}
	if (strcmp(key, "socket_mode") == 0) {
		if (parse_uint(value, 8, 0777, &v) < 0)
			return complain(why, "socket_mode must be octal, 0..0777, not '%s'", value);
		c->socket_mode = (mode_t)v;
		return 0;
	}
	return complain(why, "unknown key '%s' in [daemon]", key);
}

static int set_function(struct config *c, const char *name, const char *key, const char *value,
	char why[256])
{
	struct config_function *f;
	char checked[IPC_NAME_MAX];
	unsigned int i;
	int ret;

	if (strcmp(key, "vfio-user") != 0)
		return complain(why, "unknown key '%s' in [function %s]", key, name);
	ret = set_name(checked, name, "a function's name", why);
	if (ret < 0)
		return ret;
	for (i = 0; i < c->nr_functions; i++) {
		if (strcmp(c->functions[i].name, name) == 0)
			return complain(why, "function '%s' is defined twice", name);
	}
	f = append((void **)&c->functions, &c->nr_functions, CONFIG_MAX_FUNCTIONS, sizeof(*f));
	if (!f)
		return complain(why, "too many functions (at most %u)", CONFIG_MAX_FUNCTIONS);
	memcpy(f->name, checked, sizeof(f->name));
	return set_path(&f->vfio_user, value, why);
}

static int set_peer(struct config *c, const char *name, const char *key, const char *value,
	char why[256])
{
	struct config_peer *p;
	char checked[IPC_NAME_MAX];
	uint64_t gid;
	int ret;

	if (strcmp(key, "gid") != 0)
		return complain(why, "unknown key '%s' in [peer %s]", key, name);
	ret = set_name(checked, name, "a peer's name", why);
	if (ret < 0)
		return ret;
	if (parse_gid(value, &gid) < 0)
		return complain(why, "the GID of peer '%s' must be 0x and hex digits, not '%s'",
			name, value);
	if (config_peer(c, name))
		return complain(why, "peer '%s' is defined twice", name);
	if (config_peer_name(c, gid))
		return complain(why, "peer '%s' has the GID of peer '%s'", name,
			config_peer_name(c, gid));
	p = append((void **)&c->peers, &c->nr_peers, CONFIG_MAX_PEERS, sizeof(*p));
	if (!p)
		return complain(why, "too many peers (at most %u)", CONFIG_MAX_PEERS);
	memcpy(p->name, checked, sizeof(p->name));
	p->gid = gid;
	return 0;
}

static int set_service(struct config *c, const char *name, const char *value, char why[256])
{
	struct config_service *s;
	char checked[IPC_NAME_MAX];
	uint64_t port;
	unsigned int i;
	int ret;

	ret = set_name(checked, name, "a service's name", why);
	if (ret < 0)
		return ret;
	if (config_is_number(name))
		return complain(why, "service '%s' would be a port number", name);
	if (parse_uint(value, 10, 65535, &port) < 0 || port == 0)
		return complain(why, "the port of service '%s' must be 1..65535, not '%s'", name,
			value);
	for (i = 0; i < c->nr_services; i++) {
		if (strcmp(c->services[i].name, name) == 0)
			return complain(why, "service '%s' is defined twice", name);
	}
	s = append((void **)&c->services, &c->nr_services, CONFIG_MAX_SERVICES, sizeof(*s));
	if (!s)
		return complain(why, "too many services (at most %u)", CONFIG_MAX_SERVICES);
	memcpy(s->name, checked, sizeof(s->name));
	s->port = (uint16_t)port;
	return 0;
}

static int set_smc(struct config *c, const char *key, const char *value, char why[256])
{
	uint8_t eid[CLC_EID_LEN];
	uint64_t v;

	if (strcmp(key, "ueid") == 0) {
		if (clc_eid(eid, value) < 0)
			return complain(why, "ueid must be 1..32 characters from [A-Z0-9.-], "
				"starting with a letter or digit, not '%s'", value);
		snprintf(c->ueid, sizeof(c->ueid), "%s", value);
		return 0;
	}
	if (strcmp(key, "rcvbuf") == 0) {
		if (parse_size(value, 1024 * 1024, &v) < 0 || v < 16384)
			return complain(why, "rcvbuf must be 16K..1M, not '%s'", value);
		c->rcvbuf = clc_code_size(clc_size_code((uint32_t)v));
		return 0;
	}
	return complain(why, "unknown key '%s' in [smc]", key);
}

static int set_limit(struct config *c, const char *key, const char *value, char why[256])
{
	static const struct {
		const char *key;
		enum account_slot slot;
	} limits[] = {
		{ "channels_per_user", ACCOUNT_CHANNELS },
		{ "listeners_per_user", ACCOUNT_LISTENERS },
		{ "bytes_per_user", ACCOUNT_BYTES },
		{ "clients_per_user", ACCOUNT_CLIENTS },
	};
	unsigned int i;
	uint64_t v;

	if (parse_size(value, UINT32_MAX * UINT64_C(1024), &v) < 0)
		return complain(why, "%s must be a number, not '%s'", key, value);
	if (strcmp(key, "linger_s") == 0) {
		if (v > 86400)
			return complain(why, "linger_s must be 0..86400, not '%s'", value);
		c->linger_s = (uint32_t)v;
		return 0;
	}
	for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		if (strcmp(key, limits[i].key) == 0) {
			c->limit[limits[i].slot] = v;
			return 0;
		}
	}
	return complain(why, "unknown key '%s' in [limits]", key);
}

int config_set(struct config *c, const char *section, const char *arg, const char *key,
	const char *value, char why[256])
{
	if (strcmp(section, "function") == 0 && arg)
		return set_function(c, arg, key, value, why);
	if (strcmp(section, "peer") == 0 && arg)
		return set_peer(c, arg, key, value, why);
	if (arg)
		return complain(why, "unknown section [%s %s]", section, arg);
	if (strcmp(section, "daemon") == 0)
		return set_daemon(c, key, value, why);
	if (strcmp(section, "services") == 0)
		return set_service(c, key, value, why);
	if (strcmp(section, "smc") == 0)
		return set_smc(c, key, value, why);
	if (strcmp(section, "limits") == 0)
		return set_limit(c, key, value, why);
	if (section[0] == '\0')
		return complain(why, "'%s' stands before the first section", key);
	return complain(why, "unknown section [%s]", section);
}

/* ---- life ------------------------------------------------------------------------------------ */

static char *default_socket(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char *path;

	if (!runtime || runtime[0] != '/' || geteuid() == 0)
		return strdup("/run/smcd-user/smcd-userd.sock");
	return asprintf(&path, "%s/smcd-user/smcd-userd.sock", runtime) < 0 ? NULL : path;
}

static void default_name(char out[IPC_NAME_MAX])
{
	char host[IPC_NAME_MAX] = "";

	if (gethostname(host, sizeof(host) - 1) < 0 || !rdv_name_ok(host))
		strcpy(host, "smcd-user");
	memset(out, 0, IPC_NAME_MAX);
	memcpy(out, host, strlen(host));
}

int config_init(struct config *c)
{
	*c = (struct config){
		.socket_mode = 0660,
		.loop = LOOP_AUTO,
		.spin_us = CONFIG_SPIN_DEFAULT,
		.rcvbuf = 256 * 1024,
		.ueid = "SMCD-USER",
		.linger_s = 30,
		.limit = {
			[ACCOUNT_CLIENTS] = 2048,
			[ACCOUNT_CHANNELS] = 1024,
			[ACCOUNT_LISTENERS] = 256,
			[ACCOUNT_BYTES] = UINT64_C(2) << 30,
		},
	};
	default_name(c->name);
	c->socket = default_socket();
	return c->socket ? 0 : -ENOMEM;
}

void config_deinit(struct config *c)
{
	unsigned int i;

	for (i = 0; i < c->nr_functions; i++)
		free(c->functions[i].vfio_user);
	free(c->functions);
	free(c->peers);
	free(c->services);
	free(c->socket);
	free(c->group);
	*c = (struct config){ 0 };
}

/* ---- questions ------------------------------------------------------------------------------- */

const struct config_peer *config_peer(const struct config *c, const char *name)
{
	unsigned int i;

	for (i = 0; i < c->nr_peers; i++) {
		if (strcmp(c->peers[i].name, name) == 0)
			return &c->peers[i];
	}
	return NULL;
}

const char *config_peer_name(const struct config *c, uint64_t gid)
{
	unsigned int i;

	for (i = 0; i < c->nr_peers; i++) {
		if (c->peers[i].gid == gid)
			return c->peers[i].name;
	}
	return NULL;
}

int config_port(const struct config *c, const char *service, uint16_t *port)
{
	unsigned int i;
	uint64_t v;

	if (!rdv_name_ok(service))
		return -EINVAL;
	if (config_is_number(service)) {
		if (parse_uint(service, 10, 65535, &v) < 0 || v == 0)
			return -EINVAL;
		*port = (uint16_t)v;
		return 0;
	}
	for (i = 0; i < c->nr_services; i++) {
		if (strcmp(c->services[i].name, service) == 0) {
			*port = c->services[i].port;
			return 0;
		}
	}
	*port = (uint16_t)(PORT_DYNAMIC + XXH32(service, strlen(service), 0) % PORT_DYNAMIC_COUNT);
	return 0;
}
