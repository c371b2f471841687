/* SPDX-License-Identifier: MIT */
#include "vfio/user/version.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "vfio/user/proto.h"

/* Terse: there are peers whose reply has to fit into the size of the request. */
#define OFFER                                                                                      \
	"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,"                    \
	"\"max_dma_maps\":65535,\"pgsizes\":4096,"                                                 \
	"\"smcd_user\":{\"iova_is_va\":true,\"chain\":true,\"together\":true,\"side\":true}}}"

_Static_assert(VU_MAX_FDS == 16 && VU_MAX_DATA_XFER == 1048576 && VU_MAX_DMA_MAPS == 65535,
	"the offer says what proto.h says");

const char *vu_version_offer(void)
{
	return OFFER;
}

/* A number between @min and UINT32_MAX (what exceeds that is no limit to us), or the default. */
static int get_limit(json_object *o, const char *key, uint32_t min, uint32_t *v)
{
	json_object *f;
	int64_t n;

	if (!json_object_object_get_ex(o, key, &f))
		return 0;
	if (!json_object_is_type(f, json_type_int))
		return -EPROTO;
	n = json_object_get_int64(f);
	if (n < min)
		return -EPROTO;
	*v = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
	return 0;
}

static bool get_flag(json_object *o, const char *key)
{
	json_object *f;

	return json_object_object_get_ex(o, key, &f) && json_object_is_type(f, json_type_boolean) &&
	       json_object_get_boolean(f);
}

static int parse_caps(json_object *root, struct vu_caps *c, const char **why)
{
	json_object *caps, *ext;
	uint32_t pgsizes = (uint32_t)c->pgsizes;

	if (!json_object_object_get_ex(root, "capabilities", &caps))
		return 0;
	if (!json_object_is_type(caps, json_type_object)) {
		*why = "capabilities are not an object";
		return -EPROTO;
	}
	/* 32 bytes: a request of the zPCI I/O region must fit into one message. */
	if (get_limit(caps, "max_msg_fds", 0, &c->max_msg_fds) < 0 ||
		get_limit(caps, "max_data_xfer_size", 32, &c->max_data_xfer_size) < 0 ||
		get_limit(caps, "max_dma_maps", 1, &c->max_dma_maps) < 0 ||
		get_limit(caps, "pgsizes", 1, &pgsizes) < 0) {
		*why = "limits out of range";
		return -EPROTO;
	}
	c->pgsizes = pgsizes;
	if (!(pgsizes & 4096)) {
		*why = "no DMA maps of 4 KiB pages";
		return -EPROTO;
	}
	if (json_object_object_get_ex(caps, "smcd_user", &ext) &&
		json_object_is_type(ext, json_type_object)) {
		c->iova_is_va = get_flag(ext, "iova_is_va");
		c->chain = get_flag(ext, "chain");
		c->together = get_flag(ext, "together");
		c->side = get_flag(ext, "side");
	}
	return 0;
}

int vu_version_parse(const void *payload, size_t len, struct vu_caps *caps, const char **why)
{
	struct vu_caps out = {
		.max_msg_fds = 1,
		.max_data_xfer_size = VU_MAX_DATA_XFER,
		.max_dma_maps = VU_MAX_DMA_MAPS,
		.pgsizes = 4096,
	};
	const char *text = (const char *)payload + sizeof(struct vu_version);
	struct vu_version v;
	json_object *root;
	int r;

	if (len < sizeof(v)) {
		*why = "short version reply";
		return -EPROTO;
	}
	memcpy(&v, payload, sizeof(v));
	if (v.major != 0 || v.minor != 0) { /* we offered 0.0, it may only go down */
		*why = "unsupported protocol version";
		return -EPROTO;
	}
	len -= sizeof(v);
	if (len == 0) {
		*caps = out;
		return 0;
	}
	root = strnlen(text, len) == len - 1 ? json_tokener_parse(text) : NULL;
	if (!json_object_is_type(root, json_type_object)) {
		json_object_put(root);
		*why = "version data is not JSON";
		return -EPROTO;
	}
	r = parse_caps(root, &out, why);
	json_object_put(root);
	if (r == 0)
		*caps = out;
	return r;
}
