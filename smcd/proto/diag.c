/* SPDX-License-Identifier: MIT */
#include "smcd/proto/diag.h"

#include <stddef.h>

#define SMCR "SMC-R only: see the kernel's smcr and smc_pnet tools"

const struct diag diags[] = {
	{ CLC_DECL_MEM, true,
		"no memory, or no buffer could be made",
		"a limit is used up: see 'smcd-userctl stats' for users, and [limits] and "
		"backlogs; in a kernel, net.smc.rmem and free memory" },
	{ CLC_DECL_TIMEOUT, true,
		"the other side did not answer in time",
		"is its daemon stopped or overloaded? In a kernel this is SMC-R's link setup" },
	{ 0x02020000, false, "time ran out while a link was added", SMCR },
	{ CLC_DECL_CNFERR, true,
		"the configuration does not allow it, or the attempt was cancelled",
		"is the peer configured ([peer NAME] with its gid)? The daemon's log has the "
		"details" },
	{ CLC_DECL_PEERNOSMC, true,
		"the peer offers nothing this side can use, or nobody listens",
		"does the peer's daemon run, and the service's application? A kernel needs an "
		"AF_SMC socket (smc_run)" },
	{ 0x03020000, false, "an IPsec policy is on the socket, which SMC would circumvent",
		"take the policy off, or stay with TCP" },
	{ CLC_DECL_NOSMCDEV, true,
		"there is no SMC device",
		"does the ISM function exist and run ('smcd-userctl device', 'smcd device')?" },
	{ CLC_DECL_NOSMCDDEV, true,
		"no SMC-D device in common, or no enterprise ID in common",
		"configure the same ueid on both sides ('smcd-userctl info', 'smcd ueid')" },
	{ 0x03030002, false, "there is no SMC-R device", SMCR },
	{ CLC_DECL_NOISM2SUPP, false,
		"the hardware does not support ISM version 2",
		"SMC-Dv2 needs a machine whose ISM accepts the reserved VLAN ID 0x1FFF" },
	{ CLC_DECL_NOV2EXT, false,
		"the proposal lacks the SMCv2 extension",
		"the peer speaks version 1 only" },
	{ CLC_DECL_NOV2DEXT, true,
		"the proposal lacks the SMC-Dv2 extension",
		"the peer offers SMC-R or version 1 only: it has no usable ISM function" },
	{ 0x03030006, false, "there is no system enterprise ID", "see 'smcd seid'" },
	{ CLC_DECL_NOV2DDEV, true,
		"no SMC-Dv2 device matches: another fabric, or the GID is not reachable",
		"compare CHID and GID on both sides ('smcd-userctl device')" },
	{ CLC_DECL_NOUEID, true,
		"no enterprise ID was offered, or one that was not offered was chosen",
		"configure a ueid or seid in [smc] ('smcd ueid add' in a kernel)" },
	{ CLC_DECL_RELEASEERR, true,
		"the SMCv2 releases do not agree",
		"one of the sides is faulty: report it" },
	{ 0x0303000a, false, "the numbers of connections for a link group do not agree", SMCR },
	{ 0x0303000b, false, "the numbers of links for a link group do not agree", SMCR },
	{ CLC_DECL_MODEUNSUPP, true,
		"a transport, version or path was chosen that this side does not take",
		"for smcd-userd: an attached path was required but not offered; see path in [smc]" },
	{ 0x03050000, false, "a buffer carries an eyecatcher", SMCR },
	{ 0x03060000, false, "a socket option rules SMC out (TCP Fast Open among them)",
		"leave the option away, or stay with TCP" },
	{ 0x03070000, false, "the IP subnets of the sides differ, which version 1 does not allow",
		"use SMC version 2" },
	{ 0x03080000, false, "the VLAN of the IP interface cannot be told",
		"see 'ip -d link' on the side that sent it" },
	{ CLC_DECL_ISMVLANERR, true,
		"the VLAN could not be registered on the ISM device",
		"see vlan in [function NAME] and [peer NAME]; a device knows 64 VLANs at most" },
	{ 0x030a0000, false, "there is no active link in the link group", SMCR },
	{ 0x030b0000, false, "the link that the server named is not known", SMCR },
	{ 0x030c0000, false, "the SMC versions do not agree", "see 'smcd info' on both sides" },
	{ CLC_DECL_MAX_DMB, true,
		"the device has no DMB left",
		"close connections ('smcd-userctl dmb'): a function has room for 1888" },
	{ 0x030e0000, false, "there is no route for SMC-Rv2", SMCR },
	{ 0x030f0000, false, "the route for SMC-Rv2 is indirect", SMCR },
	{ CLC_DECL_SYNCERR, true,
		"the sides disagree about an existing link group",
		"it begins anew with the next connection; if this repeats, two daemons may use "
		"one GID" },
	{ CLC_DECL_PEERDECL, false,
		"the peer declined",
		"its own code says why: see the peer's side" },
	{ CLC_DECL_INTERR, true,
		"internal error, or the other side broke the protocol",
		"the logs of both daemons say which" },
	{ 0x09990001, false, "a remote token could not be handled", SMCR },
	{ 0x09990002, false, "a link could not be made ready", SMCR },
	{ 0x09990003, false, "a buffer could not be registered", SMCR },
	{ 0, false, NULL, NULL },
};

const struct diag *diag_find(uint32_t code)
{
	const struct diag *d;

	for (d = diags; d->text; d++) {
		if (d->code == code)
			return d;
	}
	return NULL;
}

const char *clc_diag_text(uint32_t diag)
{
	const struct diag *d = diag_find(diag);

	if (d)
		return d->text;
	return diag == 0 ? "no diagnosis" : "unknown diagnosis";
}
