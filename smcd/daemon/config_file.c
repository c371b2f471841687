/* SPDX-License-Identifier: MIT */
/*
 * Settings from INI files.
 *
 * inih cuts what is too long for its buffers, takes an indented line for a continuation and says
 * nothing of a section without keys. So the lines pass our hands first: we refuse what would be
 * cut, unindent, and read the section headers ourselves.
 */
#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "smcd/daemon/config.h"
#include "smcd/daemon/config_value.h"
#include "vfio/base/log.h"

struct reading {
	struct config *c;
	struct config_at at;
	FILE *f;
	char *line; /* getline()'s */
	size_t line_size;
	char section[128]; /* "peer" NUL "b" */
	const char *arg;   /* in section, or NULL */
	char why[CONFIG_WHY];
	int err;
};

/* "[peer b] ; comment" into section and arg; the section may exist. */
static int enter_section(struct reading *r, const char *header)
{
	const char *end = strchr(header, ']');
	size_t len = end ? (size_t)(end - header) - 1 : 0;
	const char *rest = end ? end + 1 + strspn(end + 1, " \t\r\n") : "";
	char *blank;

	if (!end || (*rest && *rest != ';' && *rest != '#'))
		return config_complain(r->why, "not 'key = value' or '[section]'");
	if (len >= sizeof(r->section))
		return config_complain(r->why, "the section's name is too long");
	memcpy(r->section, header + 1, len);
	r->section[len] = '\0';
	blank = strchr(r->section, ' ');
	r->arg = NULL;
	if (blank) {
		*blank++ = '\0';
		r->arg = blank + strspn(blank, " ");
	}
	if (r->section[0] == '\0')
		return config_complain(r->why, "the section has no name");
	return config_set(r->c, &r->at, r->section, r->arg, NULL, NULL, r->why);
}

/* inih's fgets(): NULL ends it, at the end of the file or because r->err was set. */
static char *next_line(char *buf, int size, void *stream)
{
	struct reading *r = stream;
	ssize_t len = getline(&r->line, &r->line_size, r->f);
	const char *text;

	if (len < 0 || r->err)
		return NULL;
	r->at.line++;
	text = r->line;
	if (r->at.line == 1 && strncmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3; /* UTF-8's byte order mark */
	text += strspn(text, " \t");
	if (strlen(r->line) != (size_t)len)
		r->err = config_complain(r->why, "there is a NUL character in it");
	else if (strlen(text) >= (size_t)size)
		r->err = config_complain(r->why, "the line is longer than %d characters", size - 1);
	else if (*text == '[')
		r->err = enter_section(r, text);
	if (r->err)
		return NULL;
	/* The header itself was dealt with; an empty line keeps inih's count. */
	return strcpy(buf, *text == '[' ? "\n" : text);
}

static int on_key(void *user, const char *section, const char *name, const char *value)
{
	struct reading *r = user;

	if (r->err == 0)
		r->err = config_set(r->c, &r->at, r->section, r->arg, name, value ? value : "",
			r->why);
	return r->err == 0;
}

/* 0, or -errno with one log line. */
static int read_stream(struct reading *r)
{
	int bad = ini_parse_stream(next_line, r, on_key, r);

	if (r->err == -ENOMEM || bad == -2) {
		log_err("%s: %s", r->at.file, strerror(ENOMEM));
		return -ENOMEM;
	}
	if (r->err) {
		log_err("%s:%u: %s", r->at.file, r->at.line, r->why);
		return r->err;
	}
	if (ferror(r->f)) {
		log_err("%s: cannot be read", r->at.file);
		return -EIO;
	}
	if (bad) {
		log_err("%s:%d: not 'key = value' or '[section]'", r->at.file, bad);
		return -EINVAL;
	}
	return 0;
}

static int load_file(struct config *c, const char *path)
{
	struct reading r = { .c = c, .at = { .file = path, .layer = ++c->layers } };
	int ret;

	r.f = fopen(path, "re");
	if (!r.f) {
		ret = -errno;
		log_err("%s: %s", path, strerror(-ret));
		return ret;
	}
	ret = read_stream(&r);
	free(r.line);
	fclose(r.f);
	return ret;
}

/* ---- drop-ins -------------------------------------------------------------------------------- */

static int is_drop_in(const struct dirent *d)
{
	size_t len = strlen(d->d_name);

	return d->d_name[0] != '.' && len > 5 && strcmp(d->d_name + len - 5, ".conf") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_drop_in(struct config *c, const char *dir, const char *name)
{
	char *path;
	int ret;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		return -ENOMEM;
	ret = load_file(c, path);
	free(path);
	return ret;
}

static int load_drop_ins(struct config *c, const char *dir)
{
	struct dirent **found;
	int i, n, ret = 0;

	n = scandir(dir, &found, is_drop_in, by_bytes);
	if (n < 0 && errno == ENOENT)
		return 0;
	if (n < 0) {
		ret = -errno;
		log_err("%s: %s", dir, strerror(-ret));
		return ret;
	}
	for (i = 0; i < n; i++) {
		if (ret == 0)
			ret = load_drop_in(c, dir, found[i]->d_name);
		free(found[i]);
	}
	free(found);
	return ret;
}

int config_load(struct config *c, const char *path)
{
	char *dir;
	int ret = load_file(c, path);

	if (ret < 0)
		return ret;
	if (asprintf(&dir, "%s.d", path) < 0)
		return -ENOMEM;
	ret = load_drop_ins(c, dir);
	free(dir);
	return ret;
}
