/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "smcd/ctl/report.h"

#define CELL_MAX      320 /* of a sentence */
#define CELL_MAX_WORD 80

static const char *scalar_text(struct json_object *v)
{
	switch (json_object_get_type(v)) {
	case json_type_string:
	case json_type_int:
	case json_type_double:
		return json_object_get_string(v);
	case json_type_boolean:
		return json_object_get_boolean(v) ? "yes" : "no";
	default:
		return NULL;
	}
}

static const char *member_text(struct json_object *o, const char *key, char blank, char *buf,
	size_t size)
{
	struct json_object *v = NULL;
	const char *text = NULL;
	size_t i;

	if (json_object_is_type(o, json_type_object) && json_object_object_get_ex(o, key, &v))
		text = scalar_text(v);
	if (!text || !*text)
		return "-";
	for (i = 0; i < size - 1 && text[i]; i++) {
		buf[i] = text[i];
		if (text[i] == ' ')
			buf[i] = blank;
		if (text[i] < 0x20 || text[i] >= 0x7f)
			buf[i] = '?';
	}
	buf[i] = '\0';
	return buf;
}

const char *cell_text(struct json_object *o, const char *key, char *buf, size_t size)
{
	return member_text(o, key, '?', buf, size);
}

static const char *column_text(const struct column *col, struct json_object *o, char *buf,
	size_t size)
{
	if (col->words)
		return member_text(o, col->key, ' ', buf, size);
	return member_text(o, col->key, '?', buf, size < CELL_MAX_WORD ? size : CELL_MAX_WORD);
}

static int column_width(const struct column *col, struct json_object *rows)
{
	size_t i, n = json_object_array_length(rows), width = strlen(col->title);

	for (i = 0; i < n; i++) {
		char buf[CELL_MAX];
		size_t len = strlen(column_text(col, json_object_array_get_idx(rows, i), buf,
			sizeof(buf)));

		width = len > width ? len : width;
	}
	return (int)width;
}

/* Nothing is padded at the end of a line. */
static void put_cell(FILE *out, const struct column *col, int width, const char *text)
{
	if (col->number)
		fprintf(out, "%*s", width, text);
	else if (col[1].title)
		fprintf(out, "%-*s", width, text);
	else
		fputs(text, out);
	fputs(col[1].title ? "  " : "\n", out);
}

void table_print(FILE *out, const struct column *columns, struct json_object *rows)
{
	int width[16];
	size_t i, c, n;

	if (!json_object_is_type(rows, json_type_array))
		return;
	n = json_object_array_length(rows);
	for (c = 0; columns[c].title; c++) {
		width[c] = column_width(&columns[c], rows);
		put_cell(out, &columns[c], width[c], columns[c].title);
	}
	for (i = 0; i < n; i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		for (c = 0; columns[c].title; c++) {
			char buf[CELL_MAX];

			put_cell(out, &columns[c], width[c],
				column_text(&columns[c], row, buf, sizeof(buf)));
		}
	}
}
