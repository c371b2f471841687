/* SPDX-License-Identifier: MIT */
/*
 * The CLC dialogue: a client and a server whose messages may be delivered, lost, doubled, changed or
 * invented, and whose owners answer the questions as they like. What must hold: nobody is done
 * without a DMB, nothing is said after the end, a Decline is one that a peer can read.
 */
#include "fuzz.h"
#include "smcd/proto/handshake.h"

#define STEPS_MAX 200
#define TIMEOUT_MS 3000u

struct side {
	struct hs hs;
	enum hs_step step;
	bool dmb;  /* it has registered one */
	bool over;
	uint8_t mail[CLC_MAX_LEN]; /* for it */
	size_t mail_len;
};

static const uint8_t ueids[2][CLC_EID_LEN] = {
	"EXAMPLE-EID                     ",
	"ANOTHER.EID                     ",
};

static bool is_end(enum hs_step step)
{
	return step == HS_DONE || step == HS_DECLINED || step == HS_FAILED;
}

static void check_sent(const struct side *s)
{
	struct clc_decline d;
	enum clc_type type;
	size_t len;

	CHECK(s->hs.out_len <= CLC_MAX_LEN);
	if (s->hs.out_len == 0)
		return;
	CHECK(clc_peek(s->hs.out, s->hs.out_len, &type, &len) == 0 && len == s->hs.out_len);
	if (s->step == HS_DECLINED)
		CHECK(clc_decode_decline(s->hs.out, s->hs.out_len, &d) == 0 && d.diag == s->hs.diag);
}

/* What a step means to us, and to the other side. */
static void take(struct side *s, struct side *other, enum hs_step step)
{
	if (s->over) { /* whatever it is told then: it stays over, and says nothing */
		CHECK(step == HS_FAILED || step == HS_WAIT);
		CHECK(step == HS_WAIT || s->hs.out_len == 0);
		return;
	}
	s->step = step;
	s->over = is_end(step);
	if (step == HS_DONE)
		CHECK(s->dmb && s->hs.peer.size_code <= 6 && s->hs.peer.dmbe_idx == 0);
	if (step == HS_FAILED)
		CHECK(s->hs.out_len == 0);
	if (step == HS_WANT_REACH)
		CHECK(hs_candidate(&s->hs)->chid == s->hs.local->gid.chid);
	if ((step == HS_SEND || s->over) && s->hs.out_len) {
		check_sent(s);
		memcpy(other->mail, s->hs.out, s->hs.out_len);
		other->mail_len = s->hs.out_len;
	}
}

/* A message in memory of just its size. */
static void deliver(struct side *s, struct side *other, const uint8_t *msg, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	CHECK(copy);
	if (len)
		memcpy(copy, msg, len);
	take(s, other, hs_input(&s->hs, copy, len));
	free(copy);
}

static void answer(struct side *s, struct side *other, struct input *in)
{
	switch (s->step) {
	case HS_WANT_REACH:
		take(s, other, hs_reach(&s->hs, in8(in) & 1));
		return;
	case HS_WANT_DMB:
		s->hs.first_contact = in8(in) & 1;
		in_bytes(in, s->hs.lgr_id, sizeof(s->hs.lgr_id));
		s->dmb = true;
		take(s, other, hs_dmb(&s->hs, in64(in), in8(in) % 8));
		return;
	default:
		return;
	}
}

static void step(struct side *s, struct side *other, struct input *in, uint64_t *now)
{
	uint8_t msg[CLC_MAX_LEN];
	uint8_t *block;
	size_t len;

	switch (in8(in) % 8) {
	case 0:
	case 1:
		if (s->mail_len)
			deliver(s, other, s->mail, s->mail_len);
		if (in8(in) & 1)
			s->mail_len = 0;
		return;
	case 2: /* one byte changed */
		memcpy(msg, s->mail, s->mail_len);
		if (s->mail_len)
			msg[in16(in) % s->mail_len] = in8(in);
		deliver(s, other, msg, s->mail_len);
		return;
	case 3:
		block = in_block(in, in8(in) * 4u, &len);
		take(s, other, hs_input(&s->hs, block, len));
		free(block);
		return;
	case 4:
		if (s->step == HS_WANT_DMB && in8(in) & 1)
			take(s, other, hs_dmb_failed(&s->hs, in32(in)));
		else if (in8(in) & 1)
			take(s, other, hs_refuse(&s->hs, in32(in)));
		return;
	case 5:
		*now += (uint64_t)in8(in) * 50000000;
		take(s, other, hs_tick(&s->hs, *now));
		return;
	default:
		answer(s, other, in);
	}
}

static struct hs_local local_of(uint8_t how, uint64_t gid)
{
	struct hs_local l = {
		.gid = { .gid = gid, .chid = how & 1 ? 0xff01 : 0x07c1,
			.gid_ext = how & 1 ? ~gid : 0 },
		.ueid = ueids + (how >> 1 & 1),
		.nr_ueid = how & 2 ? 1 : how >> 2 & 3,
		.seid_valid = how & 16,
		.host = "host",
	};

	l.nr_ueid = l.nr_ueid > 2 ? 2 : l.nr_ueid;
	memcpy(l.seid, "IBM-SYSZ-ISMSEID000000001AB23931", CLC_EID_LEN);
	return l;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct side c, s;
	struct input in = { data, size };
	struct hs_local cl = local_of(in8(&in), 0x0123456789abcdef);
	struct hs_local sl = local_of(in8(&in), 0xfedcba9876543210);
	uint64_t now = 1000000000;
	unsigned int i;

	memset(&c, 0, sizeof(c));
	memset(&s, 0, sizeof(s));
	take(&s, &c, hs_start_server(&s.hs, &sl, now, TIMEOUT_MS));
	take(&c, &s, hs_start_client(&c.hs, &cl, now, TIMEOUT_MS));
	for (i = 0; in.left && i < STEPS_MAX; i++) {
		if (in8(&in) & 1)
			step(&c, &s, &in, &now);
		else
			step(&s, &c, &in, &now);
	}
	return 0;
}
