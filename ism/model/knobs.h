/* SPDX-License-Identifier: MIT */
/*
 * knobs.h - the answers that only hardware can give, as adjustable values
 *
 * Nobody outside IBM knows how a real ISM function answers some questions (docs/ism.md lists them).
 * The model gives each such question a knob: the default is the most plausible answer, the others
 * exist so that drivers can be tested against every answer. A knob is a named number with a range;
 * this table is all there is to know about it.
 *
 * Values are read at the moment they matter, so a change applies to the next operation; those that
 * describe the function (bar2_size, max_store, iova_*, dma_maps, err_irq) apply to the next
 * connection.
 */
#ifndef SMCDU_MODEL_KNOBS_H
#define SMCDU_MODEL_KNOBS_H

#include <stddef.h>
#include <stdint.h>

/* K(identifier, default, minimum, maximum, what it changes); the name is the identifier. */
#define MODEL_KNOBS(K) \
	/* Return codes of refused commands: private to this model. */ \
	K(ret_command, 0x0101, 1, 0xfffe, "ret: unknown command") \
	K(ret_length, 0x0102, 1, 0xfffe, "ret: length or body does not fit the command") \
	K(ret_address, 0x0103, 1, 0xfffe, "ret: IOVA misaligned, not mapped or out of range") \
	K(ret_state, 0x0104, 1, 0xfffe, "ret: already, or not, registered") \
	K(ret_index, 0x0105, 1, 0xfffe, "ret: SBA index out of range or in use") \
	K(ret_gid, 0x0106, 1, 0xfffe, "ret: GID unknown or not reachable") \
	K(ret_vlan, 0x0107, 1, 0xfffe, "ret: VLAN missing, bad or already there") \
	K(ret_token, 0x0108, 1, 0xfffe, "ret: no such DMB of this function") \
	K(ret_size, 0x0109, 1, 0xfffe, "ret: DMB or IEQ length not possible") \
	K(ret_limit, 0x010a, 1, 0xfffe, "ret: no more DMBs or VLANs") \
	/* Command area. */ \
	K(echo_cmd, 1, 0, 1, "1: replies repeat the command code; 0: they say 0") \
	K(load_width8, 0, 0, 1, "1: refuse loads of BAR 2 that are not 8 bytes wide") \
	K(bar2_size, 4096, 4096, 1048576, "size of BAR 2 in bytes, a power of two") \
	K(split_body, 1, 0, 1, "1: a body may arrive in several stores; 0: refuse") \
	K(stale_body, 0, 0, 1, "1: a command may reuse the body of the one before it") \
	K(command_delay_ms, 0, 0, 600000, "how long the function is busy after each command") \
	K(query_rgid_delay_ms, 0, 0, 600000, "the same for QUERY_RGID alone") \
	/* Stores. */ \
	K(max_store, 4096, 8, 4096, "longest PCISTB in bytes") \
	K(strict_align, 0, 0, 1, "1: stores need a length > 8 and 8-aligned length and offset") \
	K(zero_length, 0, 0, 2, "zero-length moves: 0 refused, 1 ignored, 2 signal only") \
	K(torn_writes, 0, 0, 1, "1: moves arrive byte by byte, last byte first") \
	K(require_registered, 0, 0, 1, "1: a sender needs an SBA and an IEQ of its own") \
	/* What instructions cost: the "costed" mode. */ \
	K(store_ns, 0, 0, 1000000000, "time that each PCISTB takes, in ns") \
	K(store_ps_byte, 0, 0, 1000000, "and for each of its bytes, in ps") \
	K(load_ns, 0, 0, 1000000000, "time that each PCILG takes, in ns") \
	/* Tokens and signals. */ \
	K(token_low_bits, 32, 24, 44, "low bits that are clear in every token") \
	K(idx_limit, 15, 0, 255, "largest signal index of a move") \
	K(mask_base, 0x1000, 1, 0xffff, "mask for signal index 0, rotated right by the index") \
	K(sba_order, 0, 0, 2, "0: mask, bit, s; 1: bit, mask, s; 2: s, bit, mask") \
	K(sba_delay_us, 0, 0, 10000000, "SBA updates happen this much after their data") \
	K(sba_hold, 0, 0, 1, "1: bits wait while s is set, and are retried every ms") \
	K(require_msi, 0, 0, 1, "1: SBA bits are set only while an MSI is enabled") \
	K(require_master, 0, 0, 1, "1: SBA and IEQ are written only with bus mastering on") \
	K(irq_level, 0, 0, 1, "0: MSI when s goes from 0 to 1; 1: MSI with every signal") \
	/* Events. */ \
	K(event_coalesce, 1, 0, 2, \
		"trigger_irq 0: 0 notify as usual, 1 set e only, 2 leave both to the next event") \
	K(ieq_fill, 1, 0, 1, "1: REG_IEQ fills in ieq_len and entry_len") \
	K(ieq_overflow, 0, 0, 1, "a full IEQ: 0 overwrites the oldest, 1 drops the newest") \
	K(ieq_any_len, 0, 0, 1, "0: an IEQ has 512 bytes; 1: 64..4096 in steps of 32") \
	K(unreg_events, 1, 0, 1, "1: UNREG_DMB tells the writer") \
	K(death_events, 1, 0, 1, "1: reset, error and death of a function tell its peers") \
	/* DMBs. */ \
	K(dmb_max, 1048576, 4096, 8388608, "largest DMB in bytes") \
	K(dmb_granule, 4096, 1, 1048576, "DMB lengths are multiples of this") \
	K(dmb_align, 4096, 4096, 1048576, "DMB IOVAs are multiples of this, a power of two") \
	K(dmb_pow2, 0, 0, 1, "1: DMB lengths are powers of two") \
	K(dmb_cross_1m, 1, 0, 1, "0: a DMB must not cross a 1 MiB line") \
	K(dmb_limit, 1920, 0, 1920, "DMBs per function") \
	K(fabric_limit, 32768, 0, 65536, "DMBs on the fabric") \
	K(dmb_needs_sba, 0, 0, 1, "1: REG_DMB needs a registered SBA") \
	K(dmb_clear, 0, 0, 1, "1: REG_DMB zeroes the memory") \
	K(stale_bits, 0, 0, 2, "REG_DMB: 0 leaves bit and mask alone, 1 sets, 2 clears them") \
	K(low_idx, 1, 0, 1, "1: SBA indexes 0..31 may be used") \
	K(loop_gid, 1, 0, 1, "1: the own GID may be the writer") \
	K(rgid_zero, 0, 0, 1, "1: rgid 0 is accepted and lets everybody write") \
	K(late_store_us, 0, 0, 10000000, "a last signalled store lands this long after UNREG_DMB") \
	/* Addresses. */ \
	K(iova_start, 0, 0, UINT64_MAX, "first usable IOVA") \
	K(iova_end, UINT64_MAX, 0, UINT64_MAX, "last usable IOVA") \
	K(dma_maps, 65535, 1, 65535, "DMA maps a client may have; more fail with ENOSPC") \
	/* VLANs. */ \
	K(vlan_1fff, 1, 0, 1, "1: ADD_VLAN_ID accepts 0x1fff (an \"ISM v2\" function)") \
	K(vlan_required, 0, 0, 1, "1: DMBs need a VLAN") \
	K(vlan_set, 0, 0, 1, "1: SET_VLAN and RESET_VLAN succeed without effect; 0: unknown") \
	/* Not an unknown: what only a software fabric can do. */ \
	K(attach, 1, 0, 1, "1: DMBs are handed to their writers; 0: as hardware, PCISTB only") \
	K(attach_stores, 1, 0, 1, "1: also to writers' drivers; 0: their PCISTBs all come here") \
	/* Life. */ \
	K(info_version, 1, 0, 0xffffffff, "QUERY_INFO.version") \
	K(gid_change, 0, 0, 1, "1: a reset changes the GID") \
	K(err_irq, 0, 0, 1, "1: the function has an error interrupt (index 3); it never fires") \
	K(reset_supported, 1, 0, 1, "0: the function cannot be reset by its client") \
	K(reset_ms, 0, 0, 600000, "how long a reset takes") \
	K(reset_keeps, 0, 0, 1, "1: registrations survive a reset") \
	K(error_keeps, 0, 0, 1, "1: registrations survive the error state")

enum knob_id {
#define K(id, def, min, max, help) KNOB_##id,
	MODEL_KNOBS(K)
#undef K
	KNOB_COUNT,
};

struct knob_desc {
	const char *name;
	uint64_t def;
	uint64_t min;
	uint64_t max;
	const char *help;
};

extern const struct knob_desc knob_table[KNOB_COUNT];

struct knobs {
	uint64_t v[KNOB_COUNT];
};

void knobs_init(struct knobs *k);

/* The index of @name, or -ENOENT. */
int knob_find(const char *name);

/* -ERANGE outside its range, or not a power of two where it has to be. */
int knob_set(struct knobs *k, enum knob_id id, uint64_t value);

/* @text is "VALUE" (decimal, 0x…). 0, -ENOENT no such knob, -EINVAL not a number, -ERANGE. */
int knob_set_text(struct knobs *k, const char *name, const char *text);

#endif
