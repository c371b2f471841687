/* SPDX-License-Identifier: MIT */
/*
 * The close machine against the protocol's tables (SMC-D 6.3, 6.4), which are written down here
 * cell by cell: every state with every history of flags, every event.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "smcd/proto/cdc.h"
#include "smcd/proto/close.h"

#define D CDC_SENDING_DONE
#define C CDC_CONN_CLOSED
#define A CDC_ABNORMAL

enum {
	INIT = SMC_INIT,
	LISTEN = SMC_LISTEN,
	ACTIVE = SMC_ACTIVE,
	CLOSED = SMC_CLOSED,
	PCW1 = SMC_PEERCLOSEWAIT1,
	PCW2 = SMC_PEERCLOSEWAIT2,
	ACW1 = SMC_APPCLOSEWAIT1,
	ACW2 = SMC_APPCLOSEWAIT2,
	AFCW = SMC_APPFINCLOSEWAIT,
	PFCW = SMC_PEERFINCLOSEWAIT,
	PAW = SMC_PEERABORTWAIT,
	PABT = SMC_PROCESSABORT,
};

/* A cell that depends on what was sent or seen before. */
#define IF_ONLY_D	(-2) /* only D sent so far: PROCESSABORT, else CLOSED */
#define IF_APP_AND_SENT (-3) /* application closed and C/A sent: CLOSED, else APPFINCLOSEWAIT */
#define IF_SEEN		(-4) /* peer's C/A seen: CLOSED, else PEERFINCLOSEWAIT */

/* What is sent. */
enum what { NOTHING, FINAL, FINAL_IF_ONLY_D, DONE, ABORT_ };

struct row {
	int state;
	/* Local: close, then shutdown for writing. */
	int close_to;
	enum what close_sends;
	int shut_to;
	enum what shut_sends; /* shut_to -1: ENOTCONN */
	/* Peer: D only, C with or without D, A. */
	int on_d, on_c, on_a;
};

static const struct row table[] = {
	{ INIT, CLOSED, NOTHING, -1, NOTHING, ACW1, ACW1, PABT },
	{ LISTEN, CLOSED, NOTHING, -1, NOTHING, LISTEN, LISTEN, LISTEN },
	{ ACTIVE, PCW1, FINAL, PCW1, DONE, ACW1, ACW1, PABT },
	{ PCW1, PCW1, FINAL_IF_ONLY_D, PCW1, NOTHING, PCW2, IF_APP_AND_SENT, IF_ONLY_D },
	{ PCW2, PCW2, FINAL_IF_ONLY_D, PCW2, NOTHING, PCW2, IF_APP_AND_SENT, IF_ONLY_D },
	{ ACW1, IF_SEEN, FINAL, ACW2, DONE, ACW1, ACW1, PABT },
	{ ACW2, IF_SEEN, FINAL, ACW2, NOTHING, ACW2, ACW2, CLOSED },
	{ AFCW, CLOSED, FINAL_IF_ONLY_D, AFCW, NOTHING, AFCW, AFCW, PABT },
	{ PFCW, PFCW, NOTHING, PFCW, NOTHING, PFCW, CLOSED, CLOSED },
	{ PABT, CLOSED, ABORT_, PABT, NOTHING, PABT, PABT, PABT },
	{ PAW, CLOSED, NOTHING, PAW, NOTHING, PAW, PAW, CLOSED },
	{ CLOSED, CLOSED, NOTHING, CLOSED, NOTHING, CLOSED, CLOSED, CLOSED },
};
#define NR_ROWS (sizeof(table) / sizeof(table[0]))

/* All eight sets of D, C, A. */
static uint8_t flag_set(unsigned int i)
{
	return (uint8_t)((i & 1 ? D : 0) | (i & 2 ? C : 0) | (i & 4 ? A : 0));
}

static int resolve(int cell, const struct smc_close *before)
{
	uint8_t tx = before->tx_flags & (D | C | A);

	switch (cell) {
	case IF_ONLY_D:
		return tx == D ? PABT : CLOSED;
	case IF_APP_AND_SENT:
		return before->app_closed && (tx & (C | A)) ? CLOSED : AFCW;
	case IF_SEEN:
		return before->rx_flags & (C | A) ? CLOSED : PFCW;
	default:
		return cell;
	}
}

static uint8_t sent(enum what what, const struct smc_close *before, bool unread)
{
	uint8_t final = unread ? A : C;

	switch (what) {
	case FINAL:
		return before->tx_flags | final;
	case FINAL_IF_ONLY_D:
		return before->tx_flags == D ? D | final : 0;
	case DONE:
		return before->tx_flags | D;
	case ABORT_:
		return before->tx_flags | A;
	default:
		return 0;
	}
}

/* Calls @check for every history that a row can be entered with. */
static void each(void (*check)(const struct row *row, const struct smc_close *before))
{
	unsigned int tx, rx, app;
	size_t i;

	for (i = 0; i < NR_ROWS; i++) {
		for (tx = 0; tx < 8; tx++) {
			for (rx = 0; rx < 8; rx++) {
				for (app = 0; app < 2; app++) {
					struct smc_close c = {
						.state = (enum smc_state)table[i].state,
						.tx_flags = flag_set(tx),
						.rx_flags = flag_set(rx),
						.app_closed = app,
					};

					check(&table[i], &c);
				}
			}
		}
	}
}

static void check_close(const struct row *row, const struct smc_close *before)
{
	int unread;

	for (unread = 0; unread < 2; unread++) {
		struct smc_close c = *before;
		uint8_t want = sent(row->close_sends, before, unread);

		assert_int_equal(smc_close_local(&c, SMC_EV_CLOSE, unread), want);
		assert_int_equal(c.state, resolve(row->close_to, before));
		assert_int_equal(c.tx_flags, want ? want : before->tx_flags);
		assert_int_equal(c.rx_flags, before->rx_flags);
		assert_true(c.app_closed);
	}
}

static void check_shutdown(const struct row *row, const struct smc_close *before)
{
	struct smc_close c = *before;
	uint8_t want = sent(row->shut_sends, before, false);
	int r = smc_close_local(&c, SMC_EV_SHUTDOWN_WR, true);

	if (row->shut_to < 0) {
		assert_int_equal(r, -ENOTCONN);
		assert_memory_equal(&c, before, sizeof(c));
		return;
	}
	assert_int_equal(r, want);
	assert_int_equal(c.state, row->shut_to);
	assert_int_equal(c.tx_flags, want ? want : before->tx_flags);
	assert_int_equal(c.app_closed, before->app_closed);
}

static void check_peer(const struct row *row, const struct smc_close *before)
{
	unsigned int f;

	for (f = 0; f < 8; f++) {
		struct smc_close c = *before;
		uint8_t all = before->rx_flags | flag_set(f); /* sticky */
		int want = row->state;
		bool changed = smc_close_peer(&c, (uint8_t)(flag_set(f) | 0x1f)); /* others: noise */

		if (all & A)
			want = resolve(row->on_a, before);
		else if (all & C)
			want = resolve(row->on_c, before);
		else if (all & D)
			want = row->on_d;
		assert_int_equal(c.state, want);
		assert_int_equal(changed, want != row->state);
		assert_int_equal(c.rx_flags, all);
		assert_int_equal(c.tx_flags, before->tx_flags);
		assert_int_equal(c.app_closed, before->app_closed);
	}
}

/* 6.6: A is written and its answer awaited if the peer may still be written to and has not had one. */
static void check_abort(const struct row *row, const struct smc_close *before)
{
	struct smc_close c = *before;
	bool connected = row->state != INIT && row->state != LISTEN && row->state != CLOSED;
	bool both_done = (before->tx_flags & (C | A)) && (before->rx_flags & (C | A));
	bool say = connected && !both_done && !(before->tx_flags & A);

	assert_int_equal(smc_close_local(&c, SMC_EV_ABORT, true), say ? before->tx_flags | A : 0);
	assert_int_equal(c.state, say ? PAW : CLOSED);
	assert_int_equal(c.app_closed, before->app_closed);
	/* Once is enough. */
	assert_int_equal(smc_close_local(&c, SMC_EV_ABORT, true), 0);
	assert_int_equal(c.state, CLOSED);
}

static void check_predicates(const struct row *row, const struct smc_close *c)
{
	bool tx_final = c->tx_flags & (C | A), rx_final = c->rx_flags & (C | A);
	bool open = row->state == ACTIVE || row->state == ACW1;

	assert_int_equal(smc_can_send(c), open && !rx_final);
	assert_int_equal(smc_rx_shutdown(c), row->state == CLOSED || c->rx_flags != 0);
	assert_int_equal(smc_tx_forbidden(c), row->state == CLOSED || (tx_final && rx_final) ||
		((c->tx_flags | c->rx_flags) & A) != 0);
}

static void test_close_table(void **state)
{
	each(check_close);
}

static void test_shutdown_table(void **state)
{
	each(check_shutdown);
}

static void test_peer_table(void **state)
{
	each(check_peer);
}

static void test_abort(void **state)
{
	each(check_abort);
}

static void test_predicates(void **state)
{
	each(check_predicates);
}

static void test_unknown_event(void **state)
{
	struct smc_close c = { .state = SMC_ACTIVE };

	assert_int_equal(smc_close_local(&c, (enum smc_local_event)9, false), -EINVAL);
	assert_int_equal(c.state, SMC_ACTIVE);
	assert_false(c.app_closed);
}

/* ---- pairs ----------------------------------------------------------------------------------- */

/*
 * Two machines and the flag byte that each has written into the other's CDC block: a slot, not a
 * queue, looked at any time later. From ACTIVE/ACTIVE, every local call at either end and every
 * look, in every order, each judged by the table; then properties of the pair.
 */
struct pair {
	struct smc_close end[2];
	uint8_t slot[2]; /* written by end i, read by the other */
};

enum { CLOSE_READ, CLOSE_UNREAD, SHUTDOWN, ABORT, LOOK, NR_EVENTS };

#define NR_PAIRS 20000
static struct pair seen[NR_PAIRS];
static unsigned int nr_seen;

static bool same_end(const struct smc_close *a, const struct smc_close *b)
{
	return a->state == b->state && a->tx_flags == b->tx_flags &&
	       a->rx_flags == b->rx_flags && a->app_closed == b->app_closed;
}

static void note(const struct pair *p)
{
	unsigned int i;

	for (i = 0; i < nr_seen; i++) {
		if (same_end(&seen[i].end[0], &p->end[0]) && same_end(&seen[i].end[1], &p->end[1]) &&
			!memcmp(seen[i].slot, p->slot, sizeof(p->slot)))
			return;
	}
	assert_true(nr_seen < NR_PAIRS);
	seen[nr_seen++] = *p;
}

static const struct row *row_of(const struct smc_close *c)
{
	size_t i;

	for (i = 0; i < NR_ROWS; i++) {
		if (table[i].state == (int)c->state)
			return &table[i];
	}
	fail_msg("state %d is not in the table", c->state);
	return NULL;
}

/* What the table makes of an event; the flags to be sent in *say. */
static struct smc_close by_table(const struct smc_close *c, int event, uint8_t slot, uint8_t *say)
{
	const struct row *row = row_of(c);
	struct smc_close after = *c;
	int to;

	*say = 0;
	switch (event) {
	case CLOSE_READ:
	case CLOSE_UNREAD:
		*say = sent(row->close_sends, c, event == CLOSE_UNREAD);
		to = resolve(row->close_to, c);
		after.app_closed = true;
		break;
	case SHUTDOWN:
		*say = sent(row->shut_sends, c, false);
		to = row->shut_to;
		break;
	case LOOK:
		after.rx_flags |= slot;
		to = after.rx_flags & A ? resolve(row->on_a, c) : after.rx_flags & C ?
			resolve(row->on_c, c) : after.rx_flags & D ? row->on_d : row->state;
		break;
	default:
		if (row->state != CLOSED && !(c->tx_flags & A) &&
			!((c->tx_flags & C) && (c->rx_flags & (C | A))))
			*say = c->tx_flags | A;
		to = *say ? PAW : CLOSED;
	}
	after.state = (enum smc_state)to;
	after.tx_flags |= *say;
	return after;
}

static int by_machine(struct smc_close *c, int event, uint8_t slot)
{
	switch (event) {
	case CLOSE_READ:
	case CLOSE_UNREAD:
		return smc_close_local(c, SMC_EV_CLOSE, event == CLOSE_UNREAD);
	case SHUTDOWN:
		return smc_close_local(c, SMC_EV_SHUTDOWN_WR, false);
	case LOOK:
		smc_close_peer(c, slot);
		return 0;
	default:
		return smc_close_local(c, SMC_EV_ABORT, true);
	}
}

static void step(const struct pair *from, int i, int event)
{
	struct pair to = *from;
	uint8_t want;
	struct smc_close table_says = by_table(&from->end[i], event, from->slot[1 - i], &want);

	assert_int_equal(by_machine(&to.end[i], event, from->slot[1 - i]), want);
	assert_int_equal(to.end[i].state, table_says.state);
	assert_int_equal(to.end[i].tx_flags, table_says.tx_flags);
	assert_int_equal(to.end[i].rx_flags, table_says.rx_flags);
	assert_int_equal(to.end[i].app_closed, table_says.app_closed);
	/* Nothing follows an A, and what was said is never taken back. */
	if (want) {
		assert_int_equal(from->end[i].tx_flags & A, 0);
		assert_int_equal(from->slot[i] & ~want, 0);
		to.slot[i] = want;
	}
	note(&to);
}

/* Both applications let go, both ends look until nothing changes: both are CLOSED. */
static void ends(struct pair p)
{
	int i, turn;

	for (turn = 0; turn < 4; turn++) {
		for (i = 0; i < 2; i++) {
			int say = turn ? 0 : smc_close_local(&p.end[i], SMC_EV_CLOSE, false);

			if (say > 0)
				p.slot[i] = (uint8_t)say;
			smc_close_peer(&p.end[i], p.slot[1 - i]);
			if ((int)p.end[i].state == PABT) /* 6.4: close() of an application that closed */
				say = smc_close_local(&p.end[i], SMC_EV_CLOSE, true);
			if (say > 0)
				p.slot[i] = (uint8_t)say;
		}
	}
	for (i = 0; i < 2; i++) {
		/*
		 * Who has sent A may be left without an answer (6.4: APPCLOSEWAIT2 goes CLOSED at
		 * once) and needs none: it gives up after a while.
		 */
		bool alone = p.slot[i] & A;

		if ((int)p.end[i].state != CLOSED && !alone)
			fail_msg("%s beside %s for ever", smc_state_name(p.end[i].state),
				smc_state_name(p.end[1 - i].state));
		assert_true(smc_tx_forbidden(&p.end[i]));
		assert_false(smc_can_send(&p.end[i]));
	}
}

static bool reached(int a, int b)
{
	unsigned int i;

	for (i = 0; i < nr_seen; i++) {
		if ((int)seen[i].end[0].state == a && (int)seen[i].end[1].state == b)
			return true;
	}
	return false;
}

static void test_pairs(void **state)
{
	struct pair first = { .end = { { .state = SMC_ACTIVE }, { .state = SMC_ACTIVE } } };
	unsigned int i, states = 0;
	int side, event;
	size_t a, b;

	nr_seen = 0;
	note(&first);
	for (i = 0; i < nr_seen; i++) {
		for (side = 0; side < 2; side++) {
			for (event = 0; event < NR_EVENTS; event++)
				step(&seen[i], side, event);
		}
		ends(seen[i]);
	}
	for (a = 0; a < NR_ROWS; a++) {
		for (b = 0; b < NR_ROWS; b++)
			states += reached(table[a].state, table[b].state);
	}
	print_message("%u pairs with their histories, %u pairs of states\n", nr_seen, states);
	/* Possible, and not. */
	assert_true(reached(PCW1, ACW1) && reached(PCW2, ACW2) && reached(AFCW, PFCW));
	assert_true(reached(PCW1, PCW1) && reached(ACW1, ACW1) == false);
	assert_true(reached(PAW, PABT) && reached(PAW, PAW));
	assert_false(reached(PFCW, PFCW) || reached(AFCW, AFCW) || reached(PFCW, ACTIVE));
}

/* Two machines that hear each other at once, as on the wire (6.5). */
static void tell(struct smc_close *to, int flags)
{
	assert_true(flags > 0);
	smc_close_peer(to, (uint8_t)flags);
}

static void test_common_closes(void **state)
{
	struct smc_close a = { .state = SMC_ACTIVE }, b = a;

	/* One closes, the other reads the rest and closes. */
	tell(&b, smc_close_local(&a, SMC_EV_CLOSE, false));
	assert_int_equal(b.state, SMC_APPCLOSEWAIT1);
	assert_int_equal(b.rx_flags, C);
	tell(&a, smc_close_local(&b, SMC_EV_CLOSE, false));
	assert_int_equal(a.state, SMC_CLOSED);
	assert_int_equal(b.state, SMC_CLOSED);

	/* Half close, then the other side closes, then the first. */
	a = (struct smc_close){ .state = SMC_ACTIVE };
	b = a;
	tell(&b, smc_close_local(&a, SMC_EV_SHUTDOWN_WR, false));
	assert_true(smc_can_send(&b));
	assert_true(smc_rx_shutdown(&b));
	tell(&a, smc_close_local(&b, SMC_EV_CLOSE, false));
	assert_int_equal(a.state, SMC_APPFINCLOSEWAIT);
	assert_int_equal(b.state, SMC_PEERFINCLOSEWAIT);
	assert_int_equal(smc_close_local(&a, SMC_EV_CLOSE, false), D | C);
	smc_close_peer(&b, a.tx_flags);
	assert_int_equal(a.state, SMC_CLOSED);
	assert_int_equal(b.state, SMC_CLOSED);

	/* Closed with bytes unread: an abort at the other end. */
	a = (struct smc_close){ .state = SMC_ACTIVE };
	b = a;
	tell(&b, smc_close_local(&a, SMC_EV_CLOSE, true));
	assert_int_equal(b.state, SMC_PROCESSABORT);
	assert_false(smc_can_send(&b));
	tell(&a, smc_close_local(&b, SMC_EV_CLOSE, false));
	assert_int_equal(a.state, SMC_CLOSED);
	assert_int_equal(b.state, SMC_CLOSED);

	/* Both at once: the flags cross. */
	a = (struct smc_close){ .state = SMC_ACTIVE };
	b = a;
	smc_close_local(&a, SMC_EV_CLOSE, false);
	smc_close_local(&b, SMC_EV_CLOSE, false);
	tell(&a, b.tx_flags);
	tell(&b, a.tx_flags);
	assert_int_equal(a.state, SMC_CLOSED);
	assert_int_equal(b.state, SMC_CLOSED);
}

static void test_names(void **state)
{
	assert_string_equal(smc_state_name(SMC_ACTIVE), "ACTIVE");
	assert_string_equal(smc_state_name(SMC_PEERCLOSEWAIT1), "PEERCLW1");
	assert_string_equal(smc_state_name(SMC_APPCLOSEWAIT2), "APPLCLW2");
	assert_string_equal(smc_state_name(SMC_PROCESSABORT), "PROCESSABORT");
	assert_string_equal(smc_state_name((enum smc_state)3), "UNKNOWN");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_close_table),
		cmocka_unit_test(test_shutdown_table),
		cmocka_unit_test(test_peer_table),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_predicates),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_unknown_event),
		cmocka_unit_test(test_common_closes),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
