/* SPDX-License-Identifier: MIT */
#include "ism/model/knobs.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct knob_desc knob_table[KNOB_COUNT] = {
#define K(id, def, min, max, help) [KNOB_##id] = { #id, def, min, max, help },
	MODEL_KNOBS(K)
#undef K
};

void knobs_init(struct knobs *k)
{
	size_t i;

	for (i = 0; i < KNOB_COUNT; i++)
		k->v[i] = knob_table[i].def;
}

int knob_find(const char *name)
{
	int i;

	for (i = 0; i < KNOB_COUNT; i++) {
		if (!strcmp(knob_table[i].name, name))
			return i;
	}
	return -ENOENT;
}

int knob_set(struct knobs *k, enum knob_id id, uint64_t value)
{
	const struct knob_desc *d = &knob_table[id];

	if (value < d->min || value > d->max)
		return -ERANGE;
	if ((id == KNOB_bar2_size || id == KNOB_dmb_align) && (value & (value - 1)))
		return -ERANGE;
	k->v[id] = value;
	return 0;
}

int knob_set_text(struct knobs *k, const char *name, const char *text)
{
	unsigned long long value;
	char *end;
	int id = knob_find(name);

	if (id < 0)
		return id;
	if (!isdigit((unsigned char)text[0])) /* strtoull would take signs and blanks */
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno == ERANGE)
		return -ERANGE;
	if (*end)
		return -EINVAL;
	return knob_set(k, (enum knob_id)id, value);
}
