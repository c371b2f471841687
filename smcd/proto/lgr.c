/* SPDX-License-Identifier: MIT */
#include "smcd/proto/lgr.h"

#include <string.h>

#include "vfio/base/endian.h"

/* Places in the info word, as it lies in memory. */
#define INFO_VLAN 4
#define INFO_CODE 6

const char *lgr_state_name(enum lgr_state state)
{
	static const char *const names[] = {
		[LGR_MAKING] = "making",
		[LGR_USABLE] = "usable",
		[LGR_LEAVING] = "leaving",
	};

	return names[state];
}

struct lgr_name lgr_name_of(uint32_t n, enum cdc_order order)
{
	struct lgr_name name;
	uint32_t raw = order == CDC_BIG ? htobe32(n) : htole32(n);

	memcpy(name.id, &raw, sizeof(name.id));
	return name;
}

uint32_t lgr_number(struct lgr_name name, enum cdc_order order)
{
	uint32_t raw;

	memcpy(&raw, name.id, sizeof(raw));
	return order == CDC_BIG ? be32toh(raw) : le32toh(raw);
}

bool lgr_named(struct lgr_name name)
{
	return (name.id[0] | name.id[1] | name.id[2] | name.id[3]) != 0;
}

bool lgr_same_name(struct lgr_name a, struct lgr_name b)
{
	return memcmp(a.id, b.id, sizeof(a.id)) == 0;
}

/* ---- first contact --------------------------------------------------------------------------- */

enum lgr_choice lgr_choose_server(bool have)
{
	return have ? LGR_JOIN : LGR_CREATE;
}

enum lgr_choice lgr_choose_client(bool accept_first_contact, bool have)
{
	if (accept_first_contact)
		return LGR_CREATE;
	return have ? LGR_JOIN : LGR_OUT_OF_SYNC;
}

/* ---- events ---------------------------------------------------------------------------------- */

uint64_t lgr_event_pack(const struct lgr_event *ev, enum cdc_order order)
{
	uint16_t vlan = order == CDC_BIG ? htobe16(ev->vlan) : htole16(ev->vlan);
	uint16_t code = order == CDC_BIG ? htobe16(ev->code) : htole16(ev->code);
	uint8_t info[8];
	uint64_t raw;

	memcpy(info, ev->name.id, LGR_ID_LEN);
	memcpy(info + INFO_VLAN, &vlan, sizeof(vlan));
	memcpy(info + INFO_CODE, &code, sizeof(code));
	memcpy(&raw, info, sizeof(raw));
	return order == CDC_BIG ? be64toh(raw) : le64toh(raw);
}

struct lgr_event lgr_event_unpack(uint64_t info, enum cdc_order order)
{
	uint64_t raw = order == CDC_BIG ? htobe64(info) : htole64(info);
	uint8_t bytes[8];
	struct lgr_event ev;
	uint16_t vlan, code;

	memcpy(bytes, &raw, sizeof(bytes));
	memcpy(ev.name.id, bytes, LGR_ID_LEN);
	memcpy(&vlan, bytes + INFO_VLAN, sizeof(vlan));
	memcpy(&code, bytes + INFO_CODE, sizeof(code));
	ev.vlan = order == CDC_BIG ? be16toh(vlan) : le16toh(vlan);
	ev.code = order == CDC_BIG ? be16toh(code) : le16toh(code);
	return ev;
}

bool lgr_event_answer(uint32_t code, uint64_t info, enum cdc_order order, uint64_t *answer)
{
	struct lgr_event ev = lgr_event_unpack(info, order);

	if (code != LGR_EV_TESTLINK || ev.code != LGR_REQUEST)
		return false;
	ev.code = LGR_RESPONSE;
	*answer = lgr_event_pack(&ev, order);
	return true;
}

bool lgr_shutdown_ends(const struct lgr_event *ev, struct lgr_name peers, uint16_t vlan)
{
	if (!lgr_named(ev->name))
		return ev->vlan == vlan;
	return lgr_same_name(ev->name, peers);
}
