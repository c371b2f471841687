/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/query.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "smcd/daemon/channel.h"
#include "smcd/daemon/client.h"
#include "smcd/daemon/lgr.h"
#include "smcd/daemon/link.h"
#include "vfio/base/fd.h"

#define SMC_VERSION "2.1" /* SMCv2 in release CLC_RELEASE */

/* ---- small pieces ---------------------------------------------------------------------------- */

static void put_str(struct json_object *o, const char *key, const char *s)
{
	json_object_object_add(o, key, json_object_new_string(s));
}

static void put_int(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static void put_bool(struct json_object *o, const char *key, bool v)
{
	json_object_object_add(o, key, json_object_new_boolean(v));
}

/* 64-bit identities are text: many readers of JSON have only doubles. */
static void put_hex(struct json_object *o, const char *key, uint64_t v, int digits)
{
	char text[20];

	snprintf(text, sizeof(text), "0x%0*" PRIx64, digits, v);
	put_str(o, key, text);
}

static void put_counters(struct json_object *o, const struct zpci_counters *c)
{
	put_int(o, "pcistb", c->pcistb);
	put_int(o, "pcilg", c->pcilg);
	put_int(o, "pcistb_bytes", c->pcistb_bytes);
	put_int(o, "region_errors", c->region_errors);
	put_int(o, "pcistb_attached", c->attached);
	put_int(o, "pcistb_attached_bytes", c->attached_bytes);
	put_int(o, "batches", c->batches);
	put_int(o, "bounced", c->bounced);
	put_int(o, "bounced_bytes", c->bounced_bytes);
}

/* {"@key":[...]}; returns the array. */
static struct json_object *list(struct json_object *root, const char *key)
{
	struct json_object *a = json_object_new_array();

	json_object_object_add(root, key, a);
	return a;
}

static struct json_object *element(struct json_object *array)
{
	struct json_object *o = json_object_new_object();

	json_object_array_add(array, o);
	return o;
}

/* ---- devices and DMBs ------------------------------------------------------------------------ */

static struct json_object *profile(const struct ism_profile *p)
{
	struct json_object *o = json_object_new_object();

	put_bool(o, "loop_dmb", p->loop_dmb);
	put_bool(o, "unaligned_move", p->unaligned_move);
	put_bool(o, "full_move", p->full_move);
	put_bool(o, "signal_without_msi", p->signal_without_msi);
	put_int(o, "mask_idx0", p->mask_idx0);
	put_bool(o, "self_event", p->self_event);
	put_bool(o, "unreg_event", p->unreg_event);
	put_bool(o, "vlan_1fff", p->vlan_1fff);
	put_int(o, "max_len", p->max_len);
	put_int(o, "version", p->version);
	return o;
}

static void describe_device(struct json_object *o, struct function *fn)
{
	struct zpci_counters c = function_counters(fn);

	put_str(o, "name", fn->cfg->name);
	put_str(o, "path", config_place(fn->cfg));
	put_str(o, "state", function_up(fn) ? "up" : "down");
	put_hex(o, "gid", fn->gid, 16);
	put_hex(o, "chid", fn->chid, 4);
	put_str(o, "pnetid", fn->cfg->pnetid.id);
	put_int(o, "vlan", fn->cfg->vlan.id);
	put_counters(o, &c);
	if (!fn->dev)
		return;
	put_str(o, "transport", zpci_caps(ism_zpci(fn->dev))->transport);
	put_int(o, "max_store", zpci_caps(ism_zpci(fn->dev))->max_store);
	put_int(o, "dmbs", ism_counters(fn->dev)->dmbs);
	put_int(o, "quarantined", ism_counters(fn->dev)->quarantined);
	put_int(o, "commands", ism_counters(fn->dev)->commands);
	put_int(o, "moves", ism_counters(fn->dev)->moves);
	put_int(o, "signals", ism_counters(fn->dev)->signals);
	put_int(o, "events", ism_counters(fn->dev)->events);
	put_int(o, "irqs", ism_counters(fn->dev)->irqs);
	json_object_object_add(o, "profile", profile(ism_profile(fn->dev)));
}

static void report_devices(struct daemon *d, struct json_object *root, const char *key)
{
	struct json_object *a = list(root, key);
	struct function *fn;

	LL_FOREACH(d->functions, fn)
		describe_device(element(a), fn);
}

static void describe_dmb(struct json_object *o, const struct function *fn,
	const struct ism_dmb *dmb)
{
	const struct dmb_user *user = dmb->user;

	put_str(o, "device", fn->cfg->name);
	put_hex(o, "token", dmb->token, 16);
	put_int(o, "idx", dmb->idx);
	put_int(o, "size", dmb->size);
	put_hex(o, "rgid", dmb->rgid, 16);
	put_str(o, "use", user->use);
	put_int(o, "channel", user->channel);
}

static void report_dmbs(struct daemon *d, struct json_object *root)
{
	struct json_object *a = list(root, "dmbs");
	struct function *fn;
	struct channel *ch, *ctmp;
	struct link *l, *ltmp;

	LL_FOREACH(d->functions, fn) {
		HASH_ITER(hh, fn->links, l, ltmp) {
			if (l->dmb)
				describe_dmb(element(a), fn, l->dmb);
		}
		for (unsigned int i = 0; i < STOCK_SHELVES; i++) {
			for (unsigned int k = 0; k < fn->stock.shelf[i].n; k++)
				describe_dmb(element(a), fn, fn->stock.shelf[i].dmb[k]);
		}
	}
	HASH_ITER(hh, d->channels, ch, ctmp) {
		if (ch->dmb)
			describe_dmb(element(a), ch->fn, ch->dmb);
	}
}

/* ---- channels and peers ---------------------------------------------------------------------- */

/* What applications move themselves, only they have counted. */
static void describe_bytes(struct json_object *o, const struct channel *ch)
{
	if (ch->att.on && ch->ctl) {
		put_int(o, "tx_bytes", atomic_load_explicit(&ch->ctl->tx_pos, memory_order_relaxed));
		put_int(o, "rx_bytes", atomic_load_explicit(&ch->ctl->rx_pos, memory_order_relaxed));
		return;
	}
	put_int(o, "tx_bytes", ch->s.tx_sent);
	put_int(o, "rx_bytes", ch->s.rx_total);
	put_int(o, "tx_pending", ch->tx_pos - ch->s.tx_sent);
	put_int(o, "rx_pending", ch->s.rx_total - ch->s.rx_pos);
}

static void describe_channel(struct json_object *o, const struct channel *ch)
{
	put_int(o, "id", ch->id);
	put_str(o, "state", smc_state_name(ch->close.state));
	put_int(o, "state_nr", ch->close.state);
	put_str(o, "peer", ch->peer);
	put_hex(o, "peer_gid", ch->peer_gid, 16);
	put_hex(o, "local_gid", ch->local_gid, 16);
	put_str(o, "service", ch->service);
	put_int(o, "port", ch->port);
	put_str(o, "role", ch->server ? "server" : "client");
	put_str(o, "path", ch->att.on ? "attached" : "mediated");
	put_int(o, "uid", ch->uid);
	put_int(o, "pid", (uint64_t)ch->pid);
	put_int(o, "rx_size", ch->rx_size);
	put_int(o, "tx_size", ch->tx_size);
	describe_bytes(o, ch);
	put_int(o, "pcistb", ch->pcistb);
	put_int(o, "cdc_tx", ch->s.cdc_tx);
	put_int(o, "wakes", ch->wakes);
	put_int(o, "bounced", ch->bounced);
	put_int(o, "error", (uint64_t)ch->error);
}

static void report_channels(struct daemon *d, struct json_object *root)
{
	struct json_object *a = list(root, "channels");
	struct channel *ch, *tmp;

	channels_look(d);
	HASH_ITER(hh, d->channels, ch, tmp)
		describe_channel(element(a), ch);
}

static const char *link_state_name(const struct link *l)
{
	switch (l->state) {
	case LINK_UP:
		return "up";
	case LINK_CONNECTING:
		return "connecting";
	default:
		return "down";
	}
}

static void describe_peer(struct json_object *o, const char *name, uint64_t gid, const char *device,
	const char *state, unsigned int channels, bool configured)
{
	put_str(o, "name", name);
	put_hex(o, "gid", gid, 16);
	put_str(o, "device", device);
	put_str(o, "link", state);
	put_int(o, "channels", channels);
	put_bool(o, "configured", configured);
}

static unsigned int linked_peers(struct daemon *d, struct json_object *a, uint64_t only)
{
	struct function *fn;
	struct link *l, *tmp;
	unsigned int n = 0;

	LL_FOREACH(d->functions, fn) {
		HASH_ITER(hh, fn->links, l, tmp) {
			if (only && l->gid != only)
				continue;
			if (a)
				describe_peer(element(a), link_peer(l), l->gid, fn->cfg->name,
					link_state_name(l), l->channels, l->configured);
			n++;
		}
	}
	return n;
}

static void report_peers(struct daemon *d, struct json_object *root)
{
	struct json_object *a = list(root, "peers");
	unsigned int i;

	linked_peers(d, a, 0);
	for (i = 0; i < d->cfg->nr_peers; i++) {
		const struct config_peer *p = &d->cfg->peers[i];

		if (linked_peers(d, NULL, p->gid) == 0)
			describe_peer(element(a), p->name, p->gid, "", "down", 0, true);
	}
}

/* ---- link groups ----------------------------------------------------------------------------- */

/* Without the padding. */
static struct json_object *eid_text(const uint8_t eid[CLC_EID_LEN])
{
	int len = CLC_EID_LEN;

	while (len > 0 && eid[len - 1] == ' ')
		len--;
	return json_object_new_string_len((const char *)eid, len);
}

static void describe_linkgroup(struct json_object *o, const struct lgr *g)
{
	const struct link *l = g->l;
	uint64_t sndbuf, dmb;

	lgr_memory(g, &sndbuf, &dmb);
	put_hex(o, "id", g->nr, 8);
	put_str(o, "device", l->fn->cfg->name);
	put_hex(o, "gid", l->fn->gid, 16);
	put_str(o, "peer", link_peer(l));
	put_hex(o, "peer_gid", l->gid, 16);
	put_hex(o, "peer_id", lgr_number(g->peers, l->fn->order), 8);
	put_int(o, "vlan", g->vlan);
	put_int(o, "conns", g->conns);
	put_str(o, "pnetid", l->fn->cfg->pnetid.id);
	put_str(o, "state", lgr_state_name(g->state));
	put_str(o, "role", g->server ? "server" : "client");
	put_int(o, "age_s", (clock_ns() - g->since_ns) / 1000000000);
	put_int(o, "sndbuf", sndbuf);
	put_int(o, "dmb", dmb);
	if (g->state == LGR_MAKING)
		return;
	put_int(o, "version", 2);
	put_int(o, "peer_release", g->release);
	put_int(o, "peer_os", g->os);
	put_str(o, "peer_host", g->host);
	json_object_object_add(o, "eid", eid_text(g->eid));
}

static void report_linkgroups(struct daemon *d, struct json_object *root)
{
	struct json_object *a = list(root, "linkgroups");
	struct function *fn;
	struct link *l, *tmp;
	struct lgr *g;

	LL_FOREACH(d->functions, fn) {
		HASH_ITER(hh, fn->links, l, tmp) {
			LL_FOREACH(l->lgrs, g)
				describe_linkgroup(element(a), g);
		}
	}
}

/* ---- failures -------------------------------------------------------------------------------- */

static void describe_failure(struct json_object *o, const struct failure *f)
{
	put_int(o, "age_s", (clock_ns() - f->when_ns) / 1000000000);
	put_str(o, "role", f->server ? "server" : "client");
	put_str(o, "service", f->service);
	put_int(o, "port", f->port);
	put_str(o, "peer", f->peer);
	put_hex(o, "peer_gid", f->peer_gid, 16);
	if (f->uid != (uid_t)-1)
		put_int(o, "uid", f->uid);
	put_str(o, "by", f->by_peer ? "peer" : "us");
	if (f->diag)
		put_hex(o, "diag", f->diag, 8);
	put_int(o, "error", (uint64_t)f->error);
	put_str(o, "text", f->text);
}

/* The oldest first, as a log has them. */
static void report_failures(struct daemon *d, struct json_object *root)
{
	struct json_object *a = list(root, "failures");
	uint64_t n = d->failures.total, i;

	put_int(root, "total", n);
	for (i = n > FAILURES_MAX ? n - FAILURES_MAX : 0; i < n; i++)
		describe_failure(element(a), &d->failures.last[i % FAILURES_MAX]);
}

/* ---- totals ---------------------------------------------------------------------------------- */

static void put_eids(const struct config *cfg, struct json_object *o)
{
	struct json_object *a = list(o, "ueids");
	unsigned int i;

	for (i = 0; i < cfg->ueids.nr; i++)
		json_object_array_add(a, eid_text(cfg->ueids.eid[i]));
	if (cfg->seid.valid)
		json_object_object_add(o, "seid", eid_text(cfg->seid.eid));
}

/* Whether a function takes the VLAN ID that stands for SMC-Dv2, as a kernel wants it. */
static bool ism_v2(const struct daemon *d)
{
	const struct function *fn;

	LL_FOREACH(d->functions, fn) {
		if (fn->dev && ism_profile(fn->dev)->vlan_1fff)
			return true;
	}
	return false;
}

static void put_daemon(struct daemon *d, struct json_object *root)
{
	struct json_object *o = json_object_new_object();

	put_str(o, "name", d->cfg->name);
	put_int(o, "pid", (uint64_t)getpid());
	put_str(o, "version", SMCDU_VERSION);
	put_str(o, "smc_version", SMC_VERSION);
	put_bool(o, "ism_v2", ism_v2(d));
	put_str(o, "loop", loop_name(d->loop));
	put_eids(d->cfg, o);
	put_int(o, "uptime_s", (clock_ns() - d->started_ns) / 1000000000);
	json_object_object_add(root, "daemon", o);
}

static void put_sums(struct daemon *d, struct json_object *root)
{
	struct zpci_counters sum = { 0 };
	struct function *fn;
	uint64_t dmbs = 0;

	LL_FOREACH(d->functions, fn) {
		struct zpci_counters c = function_counters(fn);

		sum.pcistb += c.pcistb;
		sum.pcilg += c.pcilg;
		sum.pcistb_bytes += c.pcistb_bytes;
		sum.region_errors += c.region_errors;
		sum.attached += c.attached;
		sum.attached_bytes += c.attached_bytes;
		sum.batches += c.batches;
		sum.bounced += c.bounced;
		sum.bounced_bytes += c.bounced_bytes;
		dmbs += fn->dev ? ism_counters(fn->dev)->dmbs : 0;
	}
	put_counters(root, &sum);
	put_int(root, "dmbs", dmbs);
}

static void put_users(struct daemon *d, struct json_object *root)
{
	struct json_object *a = list(root, "users");
	struct account *acc, *tmp;

	HASH_ITER(hh, d->accounts.by_uid, acc, tmp) {
		struct json_object *o = element(a);

		put_int(o, "uid", acc->uid);
		put_int(o, "clients", acc->used[ACCOUNT_CLIENTS]);
		put_int(o, "channels", acc->used[ACCOUNT_CHANNELS]);
		put_int(o, "listeners", acc->used[ACCOUNT_LISTENERS]);
		put_int(o, "bytes", acc->used[ACCOUNT_BYTES]);
	}
}

static void report_stats(struct daemon *d, struct json_object *root)
{
	struct listener *l;
	uint64_t n;

	put_daemon(d, root);
	put_sums(d, root);
	put_int(root, "channels", HASH_COUNT(d->channels));
	DL_COUNT(d->listeners, l, n);
	put_int(root, "listeners", n);
	put_int(root, "peers", linked_peers(d, NULL, 0));
	put_int(root, "clients", clients_count(d));
	put_int(root, "sleeps", d->stats.sleeps);
	put_int(root, "wakes", d->stats.wakes);
	put_int(root, "channels_total", d->stats.channels_total);
	put_int(root, "connects_refused", d->stats.connects_refused);
	put_int(root, "downgrades", d->stats.downgrades);
	put_int(root, "from_stock", d->stats.from_stock);
	put_int(root, "reused", d->stats.reused);
	put_int(root, "send_kept", d->stats.send_kept);
	put_int(root, "protocol_errors", d->stats.protocol_errors);
	put_int(root, "held_back", d->stats.held_back);
	put_int(root, "spin_ns", d->spin.cur_ns);
	report_devices(d, root, "devices");
	put_users(d, root);
}

struct json_object *query_report(struct daemon *d, uint32_t what)
{
	struct json_object *root = json_object_new_object();

	switch (what) {
	case IPC_Q_DEVICE:
		report_devices(d, root, "devices");
		break;
	case IPC_Q_DMB:
		report_dmbs(d, root);
		break;
	case IPC_Q_CHANNEL:
		report_channels(d, root);
		break;
	case IPC_Q_PEER:
		report_peers(d, root);
		break;
	case IPC_Q_LINKGROUP:
		report_linkgroups(d, root);
		break;
	case IPC_Q_FAILURE:
		report_failures(d, root);
		break;
	default:
		report_stats(d, root);
	}
	return root;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static int text_memfd(const char *text)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), len = strlen(text) + 1;
	size_t size = (len + page - 1) / page * page;
	int fd = fd_memfd("smcd-user-report", size);
	void *map;

	if (fd < 0)
		return fd;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		fd_closep(&fd);
		return -ENOMEM;
	}
	memcpy(map, text, len);
	munmap(map, size);
	return fd;
}

void query_answer(struct daemon *d, int fd, uint32_t what)
{
	struct ipc_simple msg = { .hdr = ipc_hdr(IPC_RESULT) };
	struct json_object *root = query_report(d, what);
	int memfd;

	memfd = text_memfd(json_object_to_json_string_ext(root,
		JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(root);
	if (memfd < 0) {
		ipc_refuse(fd, -memfd, 0, "no memory for the report");
		return;
	}
	fd_send(fd, &msg, sizeof(msg), &memfd, 1, MSG_DONTWAIT);
	fd_closep(&memfd);
	fd_closep(&fd);
}
