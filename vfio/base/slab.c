/* SPDX-License-Identifier: MIT */
#include "vfio/base/slab.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define SLAB_CHECKED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(SLAB_CHECKED)
#define SLAB_BYTES 1u
#else
#define SLAB_BYTES 3072u /* of a block's objects, about */
#endif

struct slab_object {
	struct slab_block *block;
	struct slab_object *next; /* free */
	max_align_t data[];
};

struct slab_block {
	struct slab_block *prev, *next; /* rooms */
	struct slab_object *free;	/* freed ones */
	unsigned int used, made;
	max_align_t objects[];
};

static size_t stride(const struct slab *s)
{
	size_t step = sizeof(max_align_t);

	return sizeof(struct slab_object) + (s->size + step - 1) / step * step;
}

static unsigned int per_block(const struct slab *s)
{
	return (unsigned int)((SLAB_BYTES + stride(s) - 1) / stride(s));
}

static struct slab_block *add_block(struct slab *s)
{
	struct slab_block *b = malloc(sizeof(*b) + per_block(s) * stride(s));

	if (!b)
		return NULL;
	*b = (struct slab_block){ 0 };
	DL_APPEND(s->rooms, b);
	return b;
}

static struct slab_object *take(const struct slab *s, struct slab_block *b)
{
	struct slab_object *o = b->free;

	if (o)
		b->free = o->next;
	else
		o = (struct slab_object *)(void *)((char *)b->objects + b->made++ * stride(s));
	b->used++;
	return o;
}

void *slab_get(struct slab *s)
{
	struct slab_block *b = s->rooms ? s->rooms : add_block(s);
	struct slab_object *o;

	if (!b)
		return NULL;
	o = take(s, b);
	o->block = b;
	if (b->used == per_block(s))
		DL_DELETE(s->rooms, b);
	return memset(o->data, 0, s->size);
}

void slab_put(struct slab *s, void *object)
{
	struct slab_object *o;
	struct slab_block *b;

	if (!object)
		return;
	o = (struct slab_object *)(void *)((char *)object - offsetof(struct slab_object, data));
	b = o->block;
	if (b->used == per_block(s))
		DL_PREPEND(s->rooms, b); /* the fuller is filled first */
	if (--b->used == 0) {
		DL_DELETE(s->rooms, b);
		free(b);
		return;
	}
	o->next = b->free;
	b->free = o;
}
