/* SPDX-License-Identifier: MIT */
#include "vfio/user/negotiate.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "vfio/user/dma.h"
#include "vfio/user/proto.h"

#define MAX_DEPTH 8 /* of nested JSON; the capabilities need three */

/*
 * Takes the smaller of @value and the client's number called @key, and answers with it if the
 * client named it. Returns it, or -EINVAL.
 */
static int64_t take_number(struct json_object *in, struct json_object *out, const char *key,
	uint32_t value)
{
	struct json_object *o;
	int64_t v;

	if (!json_object_object_get_ex(in, key, &o))
		return value;
	if (!json_object_is_type(o, json_type_int))
		return -EINVAL;
	v = json_object_get_int64(o);
	if (v <= 0)
		return -EINVAL;
	if (v > (int64_t)value)
		v = value;
	json_object_object_add(out, key, json_object_new_int64(v));
	return v;
}

/* True, and answered, if the client offers @key. */
static bool take_offer(struct json_object *in, struct json_object *out, const char *key)
{
	struct json_object *o;

	if (!json_object_object_get_ex(in, key, &o) || !json_object_is_type(o, json_type_boolean) ||
		!json_object_get_boolean(o))
		return false;
	json_object_object_add(out, key, json_object_new_boolean(true));
	return true;
}

static int take_page_sizes(struct json_object *in, struct json_object *out)
{
	struct json_object *o;

	if (!json_object_object_get_ex(in, "pgsizes", &o))
		return 0;
	if (!json_object_is_type(o, json_type_int) ||
		!(json_object_get_int64(o) & (int64_t)DMA_PAGE_SIZE))
		return -EINVAL;
	json_object_object_add(out, "pgsizes", json_object_new_int64(DMA_PAGE_SIZE));
	return 0;
}

static int take_capabilities(struct json_object *in, struct json_object *out, struct vu_limits *l)
{
	struct json_object *ext, *own;
	int64_t xfer, maps;

	if (!json_object_is_type(in, json_type_object))
		return -EINVAL;
	xfer = take_number(in, out, "max_data_xfer_size", VU_MAX_DATA_XFER);
	maps = take_number(in, out, "max_dma_maps", VU_MAX_DMA_MAPS);
	if (xfer < 0 || maps < 0 || take_number(in, out, "max_msg_fds", VU_MAX_FDS) < 0 ||
		take_page_sizes(in, out) < 0)
		return -EINVAL;
	l->max_xfer = (uint32_t)xfer;
	l->max_dma_maps = (uint32_t)maps;
	if (!json_object_object_get_ex(in, "smcd_user", &ext))
		return 0;
	if (!json_object_is_type(ext, json_type_object))
		return -EINVAL;
	own = json_object_new_object();
	l->iova_is_va = take_offer(ext, own, "iova_is_va");
	l->chain = take_offer(ext, own, "chain");
	l->together = take_offer(ext, own, "together");
	l->side = take_offer(ext, own, "side");
	json_object_object_add(out, "smcd_user", own);
	return 0;
}

/* The object that @json consists of, up to white space; NULL if it is anything else. */
static struct json_object *parse(const char *json, size_t len)
{
	struct json_tokener *tok = json_tokener_new_ex(MAX_DEPTH);
	struct json_object *root;
	const char *rest;

	if (!tok)
		return NULL;
	root = json_tokener_parse_ex(tok, json, (int)len - 1);
	rest = json + json_tokener_get_parse_end(tok);
	if (root && (!json_object_is_type(root, json_type_object) ||
			    rest[strspn(rest, " \t\r\n")] != '\0')) {
		json_object_put(root);
		root = NULL;
	}
	json_tokener_free(tok);
	return root;
}

static int compose(struct json_object *root, char *reply, size_t cap)
{
	size_t len;
	const char *s = json_object_to_json_string_length(root, JSON_C_TO_STRING_PLAIN, &len);

	if (!s || len >= cap)
		return -ENOBUFS;
	memcpy(reply, s, len + 1);
	return (int)len + 1;
}

int vu_negotiate(const char *json, size_t len, struct vu_limits *limits, char *reply, size_t cap)
{
	struct vu_limits l = { .max_xfer = VU_MAX_DATA_XFER, .max_dma_maps = VU_MAX_DMA_MAPS };
	struct json_object *in, *caps, *out, *out_caps;
	int r = 0;

	if (!len) {
		*limits = l;
		return 0;
	}
	if (len > VU_MAX_VERSION || memchr(json, '\0', len) != json + len - 1)
		return -EINVAL;
	in = parse(json, len);
	if (!in)
		return -EINVAL;
	out = json_object_new_object();
	if (json_object_object_get_ex(in, "capabilities", &caps)) {
		out_caps = json_object_new_object();
		json_object_object_add(out, "capabilities", out_caps);
		r = take_capabilities(caps, out_caps, &l);
	}
	if (!r)
		r = compose(out, reply, cap);
	if (r >= 0)
		*limits = l;
	json_object_put(out);
	json_object_put(in);
	return r;
}
