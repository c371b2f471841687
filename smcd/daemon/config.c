/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "smcd/daemon/config_value.h"
#include "smcd/proto/rdv.h"
#include "vfio/base/hash.h"
#include "vfio/base/log.h"

#define PORT_DYNAMIC	   49152u
#define PORT_DYNAMIC_COUNT 16384u

/* ---- origins --------------------------------------------------------------------------------- */

#define ID_MAX (2 * IPC_NAME_MAX + 16)

struct config_origin {
	char id[ID_MAX]; /* "peer b.gid" */
	struct config_at at;
	char *file; /* at.file */
	UT_hash_handle hh;
};

static void make_id(char id[ID_MAX], const char *section, const char *arg, const char *key)
{
	snprintf(id, ID_MAX, "%s%s%s.%s", section, arg ? " " : "", arg ? arg : "", key);
}

static struct config_origin *origin(const struct config *c, const char *section, const char *arg,
	const char *key)
{
	struct config_origin *o;
	char id[ID_MAX];

	make_id(id, section, arg, key);
	HASH_FIND_STR(c->origins, id, o);
	return o;
}

/* "file:7", "--peer" or "default" */
static const char *where(const struct config_origin *o, char buf[CONFIG_WHY])
{
	if (!o)
		return "default";
	if (o->at.line == 0)
		return o->at.file;
	snprintf(buf, CONFIG_WHY, "%.200s:%u", o->at.file, o->at.line);
	return buf;
}

static int note_origin(struct config *c, const struct config_at *at, const char *section,
	const char *arg, const char *key)
{
	struct config_origin *o = origin(c, section, arg, key);
	char *file = strdup(at->file);

	if (!file)
		return -ENOMEM;
	if (!o) {
		o = calloc(1, sizeof(*o));
		if (!o) {
			free(file);
			return -ENOMEM;
		}
		make_id(o->id, section, arg, key);
		HASH_ADD_STR(c->origins, id, o);
	}
	free(o->file);
	o->file = file;
	o->at = *at;
	o->at.file = file;
	return 0;
}

/* ---- the sections that have many ------------------------------------------------------------- */

struct kind {
	const char *section;
	const char *what;
	unsigned int max;
	size_t size; /* each begins with its name */
	size_t list, nr; /* in struct config */
};

static const struct kind kinds[] = {
	{ "function", "function", CONFIG_MAX_FUNCTIONS, sizeof(struct config_function),
		offsetof(struct config, functions), offsetof(struct config, nr_functions) },
	{ "peer", "peer", CONFIG_MAX_PEERS, sizeof(struct config_peer),
		offsetof(struct config, peers), offsetof(struct config, nr_peers) },
	{ "services", "service", CONFIG_MAX_SERVICES, sizeof(struct config_service),
		offsetof(struct config, services), offsetof(struct config, nr_services) },
	{ NULL },
};

_Static_assert(offsetof(struct config_function, name) == 0, "a kind begins with its name");
_Static_assert(offsetof(struct config_peer, name) == 0, "a kind begins with its name");
_Static_assert(offsetof(struct config_service, name) == 0, "a kind begins with its name");

static const struct kind *kind_of(const char *section)
{
	const struct kind *k;

	for (k = kinds; k->section; k++) {
		if (strcmp(k->section, section) == 0)
			return k;
	}
	return NULL;
}

static char **list_of(const struct config *c, const struct kind *k)
{
	return (char **)(void *)((char *)(uintptr_t)c + k->list);
}

static unsigned int *count_of(const struct config *c, const struct kind *k)
{
	return (unsigned int *)(void *)((char *)(uintptr_t)c + k->nr);
}

static char *element(const struct config *c, const struct kind *k, unsigned int i)
{
	return *list_of(c, k) + i * k->size;
}

static char *find_element(const struct config *c, const struct kind *k, const char *name)
{
	unsigned int i;

	for (i = 0; i < *count_of(c, k); i++) {
		if (strcmp(element(c, k, i), name) == 0)
			return element(c, k, i);
	}
	return NULL;
}

/* The element of that name, made if need be. */
static int get_element(struct config *c, const struct kind *k, const char *name, char **ret,
	char why[CONFIG_WHY])
{
	unsigned int *nr = count_of(c, k);
	char **list = list_of(c, k), *grown, what[32], checked[IPC_NAME_MAX];
	int err;

	*ret = find_element(c, k, name);
	if (*ret)
		return 0;
	snprintf(what, sizeof(what), "a %s's name", k->what);
	err = config_copy_name(checked, name, what, why);
	if (err < 0)
		return err;
	if (*nr >= k->max)
		return config_complain(why, "too many %ss (at most %u)", k->what, k->max);
	grown = realloc(*list, (*nr + 1) * k->size);
	if (!grown)
		return -ENOMEM;
	*list = grown;
	*ret = grown + (*nr)++ * k->size;
	memset(*ret, 0, k->size);
	memcpy(*ret, checked, sizeof(checked));
	return 0;
}

/* ---- setting --------------------------------------------------------------------------------- */

/* Whether a section of that kind takes a name: [peer NAME]. */
static bool takes_name(const char *section)
{
	return kind_of(section) && strcmp(section, "services") != 0;
}

static int check_section(const char *section, const char *arg, char why[CONFIG_WHY])
{
	const struct config_key *k;

	for (k = config_keys; k->section && strcmp(k->section, section) != 0; k++)
		;
	if (!k->section || takes_name(section) != (arg != NULL))
		return config_complain(why, "unknown section [%s%s%s]%s", section, arg ? " " : "",
			arg ? arg : "", k->section && !arg ? ": it needs a name" : "");
	return 0;
}

static const struct config_key *find_key(const char *section, const char *key)
{
	const struct config_key *k;

	for (k = config_keys; k->section; k++) {
		if (strcmp(k->section, section) == 0 &&
			(strcmp(k->key, "*") == 0 || strcmp(k->key, key) == 0))
			return k;
	}
	return NULL;
}

/* A second value of the same layer is a mistake; the first one of a later layer starts over. */
static int settle_with_earlier(struct config *c, const struct config_at *at,
	const struct config_key *k, const char *arg, const char *key, char why[CONFIG_WHY])
{
	const struct config_origin *o = origin(c, k->section, arg, key);
	char buf[CONFIG_WHY];

	if (k->type == CONFIG_UEIDS) {
		if (!o || o->at.layer != at->layer)
			c->ueids.nr = 0;
		return 0;
	}
	if (o && o->at.layer == at->layer)
		return config_complain(why, "%s is given twice, first at %s", key, where(o, buf));
	return 0;
}

static int set_key(struct config *c, const struct config_at *at, const struct config_key *k,
	const char *arg, const char *key, const char *value, char why[CONFIG_WHY])
{
	const char *name = strcmp(k->key, "*") == 0 ? key : arg;
	char *base = (char *)c;
	int ret;

	if (config_is_number(key))
		return config_complain(why, "service '%s' would be a port number", key);
	ret = settle_with_earlier(c, at, k, arg, key, why);
	if (ret == 0 && name)
		ret = get_element(c, kind_of(k->section), name, &base, why);
	if (ret == 0)
		ret = config_parse(k, base + k->offset, value, why);
	return ret < 0 ? ret : note_origin(c, at, k->section, arg, key);
}

int config_set(struct config *c, const struct config_at *at, const char *section, const char *arg,
	const char *key, const char *value, char why[CONFIG_WHY])
{
	const struct config_key *k;
	char *unused;
	int ret;

	if (section[0] == '\0')
		return config_complain(why, "'%s' stands before the first section", key);
	ret = check_section(section, arg, why);
	if (ret < 0)
		return ret;
	if (!key) {
		ret = arg ? get_element(c, kind_of(section), arg, &unused, why) : 0;
		return ret == 0 && arg ? note_origin(c, at, section, arg, "") : ret;
	}
	k = find_key(section, key);
	if (!k)
		return config_complain(why, "unknown key '%s' in [%s%s%s]", key, section,
			arg ? " " : "", arg ? arg : "");
	return set_key(c, at, k, arg, key, value, why);
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
		.lgr_idle_s = 600,
		.lgr_max = 1024,
		.ueids.nr = 1,
		.linger_s = 30,
		.limit = {
			[ACCOUNT_CLIENTS] = 2048,
			[ACCOUNT_CHANNELS] = 1024,
			[ACCOUNT_LISTENERS] = 256,
			[ACCOUNT_BYTES] = UINT64_C(2) << 30,
		},
	};
	clc_eid(c->ueids.eid[0], "SMCD-USER");
	default_name(c->name);
	c->socket = default_socket();
	return c->socket ? 0 : -ENOMEM;
}

void config_deinit(struct config *c)
{
	struct config_origin *o = c->origins, *next;
	unsigned int i;

	HASH_CLEAR(hh, c->origins); /* the elements stay linked */
	for (; o; o = next) {
		next = o->hh.next;
		free(o->file);
		free(o);
	}
	for (i = 0; i < c->nr_functions; i++)
		free(c->functions[i].vfio_user);
	free(c->functions);
	free(c->peers);
	free(c->services);
	free(c->socket);
	free(c->group);
	*c = (struct config){ 0 };
}

/* ---- all of them ----------------------------------------------------------------------------- */

typedef int visit_fn(void *ctx, const struct config_key *k, const char *arg, const char *key,
	const void *field);

/* Calls @fn for every value of the elements of @section, or for the global ones of it. */
static int visit_section(const struct config *c, const struct config_key *from, visit_fn *fn,
	void *ctx)
{
	const struct kind *kind = kind_of(from->section);
	unsigned int i, n = kind ? *count_of(c, kind) : 1;
	const struct config_key *k;
	int ret = 0;

	for (i = 0; i < n; i++) {
		const char *base = kind ? element(c, kind, i) : (const char *)c;

		for (k = from; ret == 0 && k->section && strcmp(k->section, from->section) == 0;
			k++) {
			if (strcmp(k->key, "*") == 0)
				ret = fn(ctx, k, NULL, base, base + k->offset);
			else
				ret = fn(ctx, k, kind ? base : NULL, k->key, base + k->offset);
		}
	}
	return ret;
}

static int visit(const struct config *c, visit_fn *fn, void *ctx)
{
	const struct config_key *k;
	int ret = 0;

	for (k = config_keys; k->section && ret == 0; k++) {
		if (k == config_keys || strcmp(k->section, k[-1].section) != 0)
			ret = visit_section(c, k, fn, ctx);
	}
	return ret;
}

struct printing {
	const struct config *c;
	FILE *out;
	char section[ID_MAX]; /* the one whose header was printed last */
};

static int print_one(void *ctx, const struct config_key *k, const char *arg, const char *key,
	const void *field)
{
	struct printing *p = ctx;
	char section[ID_MAX], buf[CONFIG_WHY], comment[CONFIG_WHY + 4];

	snprintf(section, sizeof(section), "[%s%s%s]", k->section, arg ? " " : "", arg ? arg : "");
	if (strcmp(section, p->section) != 0)
		fprintf(p->out, "%s%s\n", p->section[0] ? "\n" : "", section);
	memcpy(p->section, section, sizeof(section));
	snprintf(comment, sizeof(comment), " ; %s",
		where(origin(p->c, k->section, arg, key), buf));
	config_print_value(p->out, k, key, field, comment);
	return 0;
}

void config_print(const struct config *c, FILE *out)
{
	struct printing p = { .c = c, .out = out };

	visit(c, print_one, &p);
}

struct pending_visit {
	const struct config *c;
	int (*fn)(void *ctx, const struct config_pending *p);
	void *ctx;
};

static int visit_pending(void *ctx, const struct config_key *k, const char *arg, const char *key,
	const void *field)
{
	const char *interface = config_pending_on(k, field);
	struct pending_visit *v = ctx;
	const struct config_origin *o;
	struct config_pending p;

	if (!interface)
		return 0;
	o = origin(v->c, k->section, arg, key);
	p = (struct config_pending){ .section = k->section, .arg = arg, .key = key,
		.type = k->type, .interface = interface };
	if (o)
		p.at = o->at;
	return v->fn(v->ctx, &p);
}

int config_each_pending(const struct config *c,
	int (*fn)(void *ctx, const struct config_pending *p), void *ctx)
{
	struct pending_visit v = { .c = c, .fn = fn, .ctx = ctx };

	return visit(c, visit_pending, &v);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* One log line about [@section @arg] @key. Always -EINVAL. */
static int object(const struct config *c, const char *section, const char *arg, const char *key,
	const char *text)
{
	char buf[CONFIG_WHY];

	log_err("%s: %s", where(origin(c, section, arg, key), buf), text);
	return -EINVAL;
}

const char *config_place(const struct config_function *fn)
{
	return fn->vfio_user ? fn->vfio_user : fn->vfio.bdf;
}

/* Each function is at one place, and no two are at the same. */
static int check_place(const struct config *c, const struct config_function *f)
{
	const char *key = f->vfio_user ? "vfio-user" : "vfio";
	const struct config_function *other;
	char text[CONFIG_WHY];

	if (!f->vfio_user && !f->vfio.bdf[0]) {
		snprintf(text, sizeof(text),
			"function '%s' has no vfio-user = PATH and no vfio = BDF", f->name);
		return object(c, "function", f->name, "", text);
	}
	if (f->vfio_user && f->vfio.bdf[0]) {
		snprintf(text, sizeof(text),
			"function '%s' has both vfio-user and vfio: remove one", f->name);
		return object(c, "function", f->name, "vfio", text);
	}
	for (other = c->functions; other < f; other++) {
		if (strcmp(config_place(other), config_place(f)) != 0)
			continue;
		snprintf(text, sizeof(text), "function '%s' has the %s of function '%s'", f->name,
			f->vfio_user ? "socket" : "PCI address", other->name);
		return object(c, "function", f->name, key, text);
	}
	return 0;
}

static int check_functions(const struct config *c)
{
	unsigned int i;
	int ret = 0;

	if (c->nr_functions == 0) {
		log_err("no ISM function: give --function vfio:BDF or vfio-user:PATH, or a "
			"section [function NAME] with vfio=BDF or vfio-user=PATH in the "
			"configuration file");
		return -EINVAL;
	}
	for (i = 0; i < c->nr_functions && ret == 0; i++)
		ret = check_place(c, &c->functions[i]);
	return ret;
}

static int check_peers(const struct config *c)
{
	char text[CONFIG_WHY];
	unsigned int i, j;

	for (i = 0; i < c->nr_peers; i++) {
		const struct config_peer *p = &c->peers[i];

		if (p->gid == 0) {
			snprintf(text, sizeof(text), "peer '%s' has no gid", p->name);
			return object(c, "peer", p->name, "", text);
		}
		for (j = 0; j < i && c->peers[j].gid != p->gid; j++)
			;
		if (j < i) {
			snprintf(text, sizeof(text), "peer '%s' has the GID of peer '%s'", p->name,
				c->peers[j].name);
			return object(c, "peer", p->name, "gid", text);
		}
	}
	return 0;
}

static int check_services(const struct config *c)
{
	char text[CONFIG_WHY];
	unsigned int i, j;

	for (i = 0; i < c->nr_services; i++) {
		const struct config_service *s = &c->services[i];

		for (j = 0; j < i && c->services[j].port != s->port; j++)
			;
		if (j == i)
			continue;
		snprintf(text, sizeof(text), "service '%s' has the port of service '%s'", s->name,
			c->services[j].name);
		return object(c, "services", NULL, s->name, text);
	}
	return 0;
}

static int complain_pending(void *ctx, const struct config_pending *p)
{
	char text[CONFIG_WHY];

	snprintf(text, sizeof(text), "%s %s%s: the daemon has no access to the network's "
		"configuration; let 'smcd-userctl config resolve' look it up before, as "
		"smcd-userd-resolve.service does",
		p->key, p->type == CONFIG_SEID ? "of the kernel" : "of interface ", p->interface);
	return object(ctx, p->section, p->arg, p->key, text);
}

int config_check(const struct config *c)
{
	int ret = check_functions(c);

	if (ret == 0)
		ret = check_peers(c);
	if (ret == 0)
		ret = check_services(c);
	if (ret == 0)
		ret = config_each_pending(c, complain_pending, (void *)(uintptr_t)c);
	if (ret == 0 && c->ueids.nr == 0 && !c->seid.valid)
		ret = object(c, "smc", NULL, "ueid", "without a UEID or SEID nobody can connect");
	return ret;
}

/* ---- questions ------------------------------------------------------------------------------- */

const struct config_peer *config_peer(const struct config *c, const char *name)
{
	return (const void *)find_element(c, kind_of("peer"), name);
}

const struct config_peer *config_peer_by_gid(const struct config *c, uint64_t gid)
{
	unsigned int i;

	for (i = 0; i < c->nr_peers; i++) {
		if (c->peers[i].gid == gid)
			return &c->peers[i];
	}
	return NULL;
}

const char *config_peer_name(const struct config *c, uint64_t gid)
{
	const struct config_peer *p = config_peer_by_gid(c, gid);

	return p ? p->name : NULL;
}

unsigned int config_suits(const struct config_function *fn, const struct config_peer *peer)
{
	if (fn->pnetid.id[0] == '\0')
		return 1;
	return peer && strcmp(fn->pnetid.id, peer->pnetid.id) == 0 ? 2 : 0;
}

uint16_t config_vlan(const struct config_function *fn, const struct config_peer *peer)
{
	return peer && peer->vlan.id ? peer->vlan.id : fn->vlan.id;
}

bool config_is_number(const char *s)
{
	return s[0] != '\0' && strspn(s, "0123456789") == strlen(s);
}

int config_port(const struct config *c, const char *service, uint16_t *port)
{
	const struct config_service *s;
	uint64_t v;

	if (!rdv_name_ok(service))
		return -EINVAL;
	if (config_is_number(service)) {
		if (config_parse_uint(service, 10, 65535, &v) < 0 || v == 0)
			return -EINVAL;
		*port = (uint16_t)v;
		return 0;
	}
	s = (const void *)find_element(c, kind_of("services"), service);
	*port = s ? s->port : (uint16_t)(PORT_DYNAMIC +
		XXH32(service, strlen(service), 0) % PORT_DYNAMIC_COUNT);
	return 0;
}
