/* SPDX-License-Identifier: MIT */
/* Asking the daemon, and printing what it said. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "smcd-user.h"
#include "smcd/ctl/report.h"

struct json_object *ctl_ask(const struct ctl *c, const char *what)
{
	struct smcdu_settings settings;
	struct json_object *root;
	struct smcdu_ctx *ctx = NULL;
	char *text = NULL;
	int r;

	smcdu_default_settings(&settings);
	settings.socket_path = c->socket;
	r = smcdu_open(&settings, &ctx);
	if (r == 0)
		r = smcdu_query(ctx, what, &text);
	if (r < 0) {
		const char *why = smcdu_last_error();

		fprintf(stderr, CTL_NAME ": %s\n", *why ? why : strerror(-r));
		text = NULL;
	}
	smcdu_close_ctx(ctx);
	if (!text)
		return NULL;
	root = json_tokener_parse(text);
	free(text);
	if (json_object_is_type(root, json_type_object))
		return root;
	fputs(CTL_NAME ": the daemon's answer is no report: is it of another version?\n", stderr);
	json_object_put(root);
	return NULL;
}

void ctl_put_json(struct json_object *root)
{
	puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY |
		JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
}

enum exit_status ctl_finish(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return OK;
	fprintf(stderr, CTL_NAME ": standard output: %s\n", strerror(errno));
	return FAILED;
}
