/* SPDX-License-Identifier: MIT */
/* diag.c - smcd-userctl diag: what the codes of refusals mean */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "smcd/ctl/report.h"
#include "smcd/proto/diag.h"

static struct json_object *describe(const struct diag *d)
{
	struct json_object *o = json_object_new_object();
	char code[16];

	snprintf(code, sizeof(code), "0x%08" PRIx32, d->code);
	json_object_object_add(o, "code", json_object_new_string(code));
	json_object_object_add(o, "text", json_object_new_string(d->text));
	json_object_object_add(o, "remedy", json_object_new_string(d->remedy));
	json_object_object_add(o, "ours", json_object_new_boolean(d->ours));
	return o;
}

static enum exit_status put(const struct ctl *c, struct json_object *array)
{
	struct json_object *root = json_object_new_object();

	json_object_object_add(root, "diagnoses", array);
	if (c->json)
		ctl_put_json(root);
	json_object_put(root);
	return ctl_finish();
}

static enum exit_status all(const struct ctl *c)
{
	struct json_object *array = json_object_new_array();
	const struct diag *d;

	for (d = diags; d->text; d++) {
		json_object_array_add(array, describe(d));
		if (!c->json)
			printf("0x%08" PRIx32 "  %s\n", d->code, d->text);
	}
	return put(c, array);
}

/* As smcss and our own messages write them, "0x" or not; never decimal. */
static bool parse(const char *word, uint32_t *code)
{
	unsigned long v;
	char *end;

	if (word[0] == '0' && (word[1] == 'x' || word[1] == 'X'))
		word += 2;
	if (strspn(word, "0123456789abcdefABCDEF") != strlen(word) || !*word || strlen(word) > 8)
		return false;
	errno = 0;
	v = strtoul(word, &end, 16);
	*code = (uint32_t)v;
	return errno == 0 && *end == '\0';
}

static enum exit_status explain(const struct ctl *c, struct json_object *array, const char *word)
{
	const struct diag *d;
	uint32_t code;

	if (!parse(word, &code)) {
		fprintf(stderr, CTL_NAME ": '%s' is no code: write 0x and 8 hex digits\n", word);
		return USAGE;
	}
	d = diag_find(code);
	if (!d) {
		fprintf(stderr, CTL_NAME ": 0x%08" PRIx32 " is no code that is known here\n", code);
		return FAILED;
	}
	json_object_array_add(array, describe(d));
	if (!c->json)
		printf("0x%08" PRIx32 ": %s.\n  %s.%s\n", d->code, d->text, d->remedy,
			d->ours ? "" : "\n  Only kernels use it.");
	return OK;
}

/* smcss writes "local/peer". */
enum exit_status diag_run(const struct ctl *c)
{
	struct json_object *array;
	enum exit_status status = OK;
	int i;

	if (c->argc == 0)
		return all(c);
	array = json_object_new_array();
	for (i = 0; i < c->argc && status == OK; i++) {
		char *word = c->argv[i], *next;

		for (; word && status == OK; word = next) {
			next = strchr(word, '/');
			if (next)
				*next++ = '\0';
			status = explain(c, array, word);
		}
	}
	if (status == OK)
		return put(c, array);
	json_object_put(array);
	return status;
}
