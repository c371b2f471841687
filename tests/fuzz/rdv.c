/* SPDX-License-Identifier: MIT */
/*
 * Records of the control link, cut anywhere. The first byte says into pieces of what size; whole and
 * in pieces a stream gives the same records, and each is written again as the bytes it came from.
 */
#include <errno.h>

#include "fuzz.h"
#include "smcd/proto/clc.h"
#include "smcd/proto/rdv.h"

static void check_record(const struct rdv_record *rec, const uint8_t *data, size_t end)
{
	uint8_t out[RDV_MAX_LEN];
	ssize_t len = rdv_encode(out, rec);

	CHECK(len > 0 && (size_t)len <= end);
	CHECK(memcmp(out, data + end - (size_t)len, (size_t)len) == 0);
	CHECK(strnlen(rec->name, RDV_NAME_LEN) < RDV_NAME_LEN);
	CHECK(rec->type != RDV_CLC || rec->clc_len <= CLC_MAX_LEN);
}

/* The number of records, and whether the stream broke, in the sign. */
static long decode(const uint8_t *data, size_t size, size_t piece)
{
	static struct rdv_decoder d;
	size_t at = 0, used;
	long n = 0;
	int r;

	memset(&d, 0, sizeof(d));
	while (at < size) {
		size_t len = size - at < piece ? size - at : piece;
		struct rdv_record rec;

		r = rdv_decode(&d, data + at, len, &used, &rec);
		CHECK(used <= len);
		at += used;
		if (r < 0) {
			CHECK(rdv_decode(&d, data, size, &used, &rec) == -EPROTO && used == 0);
			return -n - 1;
		}
		if (r == 0) {
			CHECK(used == len);
			continue;
		}
		check_record(&rec, data, at);
		n++;
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	long whole;

	if (size == 0)
		return 0;
	whole = decode(data + 1, size - 1, SIZE_MAX);
	CHECK(decode(data + 1, size - 1, 1 + data[0]) == whole);
	return 0;
}
