/* SPDX-License-Identifier: MIT */
/*
 * fabricd_cmd.c - the lines of the control socket
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ism/model/fabricd_ctl.h"

#define WORDS_MAX 5

static void add_u64(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

/* GIDs and tokens use all 64 bits, which JSON numbers of other readers do not hold. */
static void add_hex(struct json_object *o, const char *key, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%016" PRIx64, v);
	json_object_object_add(o, key, json_object_new_string(text));
}

static void add_bool(struct json_object *o, const char *key, bool v)
{
	json_object_object_add(o, key, json_object_new_boolean(v));
}

static struct json_object *show_dmbs(const struct function *fn)
{
	struct json_object *list = json_object_new_array();
	const struct dmb *d;

	for (d = fn->owned; d; d = d->next) {
		struct json_object *o = json_object_new_object();

		add_hex(o, "token", d->token);
		add_hex(o, "owner", fn->gid);
		add_hex(o, "rgid", d->rgid);
		add_u64(o, "len", d->len);
		add_u64(o, "idx", d->idx);
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *show_counters(const struct function_counters *c)
{
	struct json_object *o = json_object_new_object();

	add_u64(o, "pcistb", c->pcistb);
	add_u64(o, "pcilg", c->pcilg);
	add_u64(o, "bytes", c->bytes);
	add_u64(o, "moves", c->moves);
	add_u64(o, "errors", c->errors);
	add_u64(o, "commands", c->commands);
	add_u64(o, "command_errors", c->command_errors);
	add_u64(o, "signals", c->signals);
	add_u64(o, "events", c->events);
	add_u64(o, "events_lost", c->events_lost);
	add_u64(o, "irqs", c->irqs);
	add_u64(o, "resets", c->resets);
	return o;
}

static struct json_object *show_faults(const struct faults *f)
{
	struct json_object *o = json_object_new_object();

	add_u64(o, "fail_stores", f->fail_stores);
	add_u64(o, "fail_loads", f->fail_loads);
	add_u64(o, "fail_commands", f->fail_commands);
	add_u64(o, "drop_events", f->drop_events);
	add_u64(o, "slow_ms", f->slow_ms);
	add_bool(o, "error", f->error);
	add_bool(o, "unplugged", f->unplugged);
	return o;
}

static struct json_object *show_function(const struct ctl *c, unsigned int nr)
{
	const struct function *fn = c->fabric->fn[nr];
	const struct port *p = &c->ports[nr];
	struct json_object *o = json_object_new_object();
	struct json_object *vlans = json_object_new_array();
	unsigned int i;

	add_u64(o, "function", nr);
	add_hex(o, "gid", fn->gid);
	add_bool(o, "connected", fn->host != NULL);
	if (fn->host) {
		add_u64(o, "pid", (uint64_t)p->pid);
		add_u64(o, "uid", p->uid);
	}
	add_bool(o, "sba", fn->sba != NULL);
	add_bool(o, "ieq", fn->ieq != NULL);
	add_bool(o, "msi", fn->msi);
	for (i = 0; i < fn->num_vlans; i++)
		json_object_array_add(vlans, json_object_new_int(fn->vlan[i]));
	json_object_object_add(o, "vlans", vlans);
	json_object_object_add(o, "dmbs", show_dmbs(fn));
	json_object_object_add(o, "counters", show_counters(&fn->count));
	json_object_object_add(o, "faults", show_faults(&fn->faults));
	return o;
}

/* "ok\n" and @text; NULL: the generic refusal for lack of memory. */
static char *ok(const char *text)
{
	char *answer;

	return asprintf(&answer, "ok\n%s", text) < 0 ? NULL : answer;
}

static char *refused(const char *what, const char *why)
{
	char *answer;

	return asprintf(&answer, "error %s: %s\n", what, why) < 0 ? NULL : answer;
}

static char *do_show(struct ctl *c, char **word, size_t n)
{
	struct json_object *o = json_object_new_object();
	struct json_object *functions = json_object_new_array();
	struct json_object *knobs = json_object_new_object();
	char *answer;
	unsigned int i;

	add_u64(o, "chid", c->fabric->chid);
	json_object_object_add(o, "dir", json_object_new_string(c->dir));
	for (i = 0; i < c->fabric->n; i++)
		json_object_array_add(functions, show_function(c, i));
	json_object_object_add(o, "functions", functions);
	for (i = 0; i < KNOB_COUNT; i++)
		add_u64(knobs, knob_table[i].name, c->fabric->knobs.v[i]);
	json_object_object_add(o, "knobs", knobs);
	if (asprintf(&answer, "ok\n%s\n",
		    json_object_to_json_string_ext(
			    o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE)) < 0)
		answer = NULL;
	json_object_put(o);
	return answer;
}

/* The function that @text numbers, or NULL. */
static struct function *function_of(const struct ctl *c, const char *text)
{
	char *end;
	unsigned long nr = strtoul(text, &end, 10);

	return text[0] < '0' || text[0] > '9' || *end || nr >= c->fabric->n ? NULL
									    : c->fabric->fn[nr];
}

static char *do_fault(struct ctl *c, char **word, size_t n)
{
	struct function *fn = n >= 3 ? function_of(c, word[1]) : NULL;
	int r;

	if (!fn)
		return refused("fault", "needs the number of a function, a kind and its argument");
	r = fault_apply(fn, word[2], (const char *const *)word + 3, n - 3);
	if (r == -ENOENT)
		return refused(word[2], "no such fault; see help");
	return r ? refused(word[2], "wrong argument; see help") : ok("");
}

static char *do_clear(struct ctl *c, char **word, size_t n)
{
	struct function *fn = n == 2 ? function_of(c, word[1]) : NULL;

	if (!fn)
		return refused("clear", "needs the number of a function");
	fault_clear(fn);
	return ok("");
}

static char *do_knob(struct ctl *c, char **word, size_t n)
{
	int r;

	if (n != 3)
		return refused("knob", "needs a name and a value");
	r = knob_set_text(&c->fabric->knobs, word[1], word[2]);
	if (r == -ENOENT)
		return refused(word[1], "no such knob; see ism-fabricd --list-knobs");
	if (r == -ERANGE)
		return refused(word[1], "value out of range; see ism-fabricd --list-knobs");
	if (r)
		return refused(word[1], "not a number");
	attach_review(c->fabric);
	return ok("");
}

static char *do_help(struct ctl *c, char **word, size_t n)
{
	char *text = NULL, *answer = NULL;
	size_t size, i;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	fprintf(f, "show                    the fabric as JSON\n"
		   "knob NAME VALUE         sets a knob\n"
		   "clear FN                ends all faults of function FN\n"
		   "fault FN KIND [ARG...]  one of:\n");
	for (i = 0; i < fault_kinds_count; i++)
		fprintf(f, "  %-12s %-8s  %s\n", fault_kinds[i].name,
			fault_kinds[i].arg ? fault_kinds[i].arg : "", fault_kinds[i].help);
	if (!fclose(f))
		answer = ok(text);
	free(text);
	return answer;
}

static const struct {
	const char *name;
	char *(*run)(struct ctl *c, char **word, size_t n);
} lines[] = {
	{ "show", do_show },
	{ "fault", do_fault },
	{ "clear", do_clear },
	{ "knob", do_knob },
	{ "help", do_help },
};

char *ctl_execute(struct ctl *c, char *line)
{
	char *word[WORDS_MAX + 1], *save = NULL, *w;
	size_t n = 0, i;

	for (w = strtok_r(line, " \t\r", &save); w; w = strtok_r(NULL, " \t\r", &save)) {
		if (n == WORDS_MAX)
			return refused(word[0], "too many words; see help");
		word[n++] = w;
	}
	for (i = 0; n && i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (!strcmp(lines[i].name, word[0]))
			return lines[i].run(c, word, n);
	}
	return refused(n ? "unknown line" : "empty line", "see help");
}
