/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fabric.h"

#include "fuzz.h"
#include "ism/model/fabric.h"
#include "tests/protocol/local.h"

static struct fabric *fabric;

void fabric_build(void)
{
	const struct fabric_params params = { .functions = 2, .chid = 0x1d15,
		.gid_base = FABRIC_GID };

	CHECK(fabric_new(&params, &fabric) == 0);
}

struct zpci *fabric_door(unsigned int nr)
{
	return local_open(fabric->fn[nr]);
}
