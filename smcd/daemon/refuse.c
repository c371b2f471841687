/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/refuse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "smcd/daemon/client.h"
#include "smcd/proto/diag.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

/* ---- keeping --------------------------------------------------------------------------------- */

static void write_log(const struct failure *f)
{
	if (f->server)
		log_info("%s at %s: %s (diagnosis 0x%08" PRIx32 ")", f->peer, f->service, f->text,
			f->diag);
	else
		log_info("connect %s@%s (uid %u): %s (diagnosis 0x%08" PRIx32 ")", f->service,
			f->peer, (unsigned int)f->uid, f->text, f->diag);
}

void failure_note(struct daemon *d, const struct failure *f)
{
	struct failure *slot = &d->failures.last[d->failures.total++ % FAILURES_MAX];

	*slot = *f;
	slot->when_ns = clock_ns();
	if (f->diag)
		write_log(f);
}

static struct failure about(const struct channel *ch, int err, uint32_t diag, bool by_peer)
{
	struct failure f = { .server = ch->server, .by_peer = by_peer, .diag = diag, .error = err,
		.uid = ch->uid, .peer_gid = ch->peer_gid, .port = ch->port };

	memcpy(f.peer, ch->peer, sizeof(f.peer));
	memcpy(f.service, ch->service, sizeof(f.service));
	return f;
}

void failure_of_channel(struct channel *ch, int err, bool by_peer, const char *text)
{
	struct failure f = about(ch, err, 0, by_peer);

	snprintf(f.text, sizeof(f.text), "%s", text);
	failure_note(ch->d, &f);
}

/* ---- attempts of ours ------------------------------------------------------------------------ */

static void refuse(struct channel *ch, struct failure *f)
{
	ch->d->stats.connects_refused++;
	failure_note(ch->d, f);
	if (ch->sock.fd >= 0) {
		loop_del(ch->d->loop, &ch->sock);
		ipc_refuse(fd_steal(&ch->sock.fd), f->error, f->diag, f->text);
	}
	channel_detach(ch, f->error);
}

void refuse_app(struct channel *ch, int err, uint32_t diag, const char *fmt, ...)
{
	struct failure f = about(ch, err, diag, false);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f.text, sizeof(f.text), fmt, ap);
	va_end(ap);
	refuse(ch, &f);
}

static int errno_of(uint32_t diag)
{
	switch (diag) {
	case CLC_DECL_PEERNOSMC:
	case CLC_DECL_MEM:
		return ECONNREFUSED;
	case CLC_DECL_MAX_DMB:
		return ENOSPC;
	default:
		return EPROTO;
	}
}

void refuse_declined(struct channel *ch)
{
	struct failure f = about(ch, errno_of(ch->hs.diag), ch->hs.diag, true);

	switch (f.diag) {
	case CLC_DECL_PEERNOSMC:
		snprintf(f.text, sizeof(f.text), "no service '%s' (port %u) at %s", f.service,
			f.port, f.peer);
		break;
	case CLC_DECL_MEM:
		snprintf(f.text, sizeof(f.text), "%s has no room for another channel of '%s': its "
			"backlog, its user's limit or its memory is used up", f.peer, f.service);
		break;
	case CLC_DECL_MAX_DMB:
		snprintf(f.text, sizeof(f.text), "no DMB left at %s: close other channels", f.peer);
		break;
	case CLC_DECL_NOSMCDDEV:
	case CLC_DECL_NOUEID:
		snprintf(f.text, sizeof(f.text), "no enterprise id in common with %s: configure "
			"the same ueid on both sides (smcd-userctl stats names ours)", f.peer);
		break;
	default:
		snprintf(f.text, sizeof(f.text), "%s declined '%s': %s", f.peer, f.service,
			clc_diag_text(f.diag));
	}
	refuse(ch, &f);
}

/* ---- attempts of peers ----------------------------------------------------------------------- */

void refuse_peer(struct channel *ch, int err, uint32_t diag, bool by_peer, const char *fmt, ...)
{
	struct failure f = about(ch, err, diag, by_peer);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f.text, sizeof(f.text), fmt, ap);
	va_end(ap);
	if (!by_peer)
		ch->d->stats.connects_refused++;
	failure_note(ch->d, &f);
	channel_detach(ch, err);
}

void refuse_proposal(struct link *l, const struct rdv_record *rec, uint32_t diag, const char *fmt,
	...)
{
	struct failure f = { .server = true, .diag = diag, .error = ECONNREFUSED,
		.uid = (uid_t)-1, .peer_gid = l->gid, .port = rec->port };
	va_list ap;

	snprintf(f.peer, sizeof(f.peer), "%s", link_peer(l));
	snprintf(f.service, sizeof(f.service), "%s", rec->name);
	va_start(ap, fmt);
	vsnprintf(f.text, sizeof(f.text), fmt, ap);
	va_end(ap);
	l->fn->d->stats.connects_refused++;
	failure_note(l->fn->d, &f);
}
