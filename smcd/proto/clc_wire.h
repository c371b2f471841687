/* SPDX-License-Identifier: MIT */
/*
 * clc_wire.h - offsets and codes of CLC messages, shared by the encoder and the decoder
 *
 * Offsets are bytes from the start of the message, or of the part named. They are written as
 * numbers and not as packed structures because the parts move: two of them sit wherever the peer
 * says.
 */
#ifndef SMCDU_PROTO_CLC_WIRE_H
#define SMCDU_PROTO_CLC_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "smcd/proto/clc.h"

#define CLC_EYE_SMCR	0xe2d4c3d9u /* EBCDIC */
#define CLC_EYE_SMCD	0xe2d4c3c4u
#define CLC_TRAILER_LEN 4u

/* Header */
#define CLC_TYPE     4u
#define CLC_LENGTH   5u
#define CLC_VERSION  7u /* version << 4 | typev2 << 2 | typev1 */
#define CLC_FLAG_FC  0x08u
#define CLC_FLAG_OOS 0x08u

/* Type codes */
#define CLC_TYPE_R	 0u
#define CLC_TYPE_D	 1u
#define CLC_TYPE_NEITHER 2u
#define CLC_TYPE_BOTH	 3u

/* Proposal */
#define CLC_P_IPAREA_OFF  38u /* relative to CLC_P_SMCD */
#define CLC_P_SMCD	  40u /* GID, CHID */
#define CLC_P_V2EXT_OFF	  50u /* relative to CLC_P_V2EXT_BASE */
#define CLC_P_V2EXT_BASE  52u
#define CLC_P_FIXED_LEN	  80u
#define CLC_P_SMCD_LEN	  40u /* SMC-D area with the v2 offset in it, 40..79 */
#define CLC_PFX_COUNT	  7u  /* in the IP area */
#define CLC_PFX_FIXED_LEN 8u
#define CLC_PFX_LEN	  17u
#define CLC_MAX_PFX	  8u

/* SMCv2 extension */
#define CLC_V2_NR_UEID	 0u
#define CLC_V2_NR_GID	 1u
#define CLC_V2_RELEASE	 3u /* release << 4 | SEID present */
#define CLC_V2_DEXT_OFF	 6u /* relative to CLC_V2_DEXT_BASE */
#define CLC_V2_DEXT_BASE 8u
#define CLC_V2_FEATURES	 26u
#define CLC_V2_UEIDS	 40u
#define CLC_V2_FIXED_LEN 40u
#define CLC_V2_SEID_FLAG 0x01u

/* SMC-Dv2 extension */
#define CLC_D2_SEID	 0u
#define CLC_D2_GIDS	 48u
#define CLC_D2_FIXED_LEN 48u
#define CLC_GID_ENTRY	 10u

/* Accept and Confirm */
#define CLC_A_GID     8u
#define CLC_A_TOKEN   16u
#define CLC_A_IDX     24u
#define CLC_A_SIZE    25u /* code << 4 */
#define CLC_A_LGR     28u
#define CLC_A_CHID    32u
#define CLC_A_EID     34u
#define CLC_A_GID_EXT 66u
#define CLC_A_FCE     74u
#define CLC_A_V1_LEN  48u
#define CLC_A_V2_LEN  78u

/* First-contact extension */
#define CLC_FCE_RELEASE	 1u /* OS << 4 | release */
#define CLC_FCE_HOST	 4u
#define CLC_FCE_FEATURES 38u
#define CLC_FCE_LEN_R0	 36u
#define CLC_FCE_LEN_R1	 52u

/* Decline */
#define CLC_D_DIAG   16u
#define CLC_D_OS     20u /* OS << 4 */
#define CLC_D_V1_LEN 28u
#define CLC_D_V2_LEN 44u

#define CLC_OS_LINUX 2u

/* Types that include SMC-D. */
static inline bool clc_has_d(uint8_t type)
{
	return type == CLC_TYPE_D || type == CLC_TYPE_BOTH;
}

/* CHIDs whose GIDs have 128 bits. */
static inline bool clc_emulated(uint16_t chid)
{
	return chid >= 0xff00;
}

#endif
