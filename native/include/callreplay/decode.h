/* The C face of the room `decode`: legs of packets in, chunks of PCM out.
 *
 * A leg is columns of packets over the capture's bytes (model.LegColumns). It is checked once, by
 * cr_leg_check() or by whatever takes it, and trusted from then on; nothing is copied, so its memory must
 * live and stay unchanged until the last handle that took it is destroyed. */
#ifndef CALLREPLAY_DECODE_H
#define CALLREPLAY_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "callreplay/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the payload of a span is. Values are part of the ABI. */
typedef enum cr_codec {
  CR_CODEC_ULAW = 0,     /* G.711 mu-law: an octet a sample; several channels are averaged to one */
  CR_CODEC_ALAW = 1,     /* G.711 A-law */
  CR_CODEC_L16 = 2,      /* RFC 3551 4.5.11: big-endian; several channels are averaged to one */
  CR_CODEC_G722 = 3,     /* an octet is two samples at 16 kHz */
  CR_CODEC_G729 = 4,     /* n frames of 10 octets, then at most one SID of 2 */
  CR_CODEC_EXTERNAL = 5, /* decoded elsewhere: cr_span.pcm holds the samples */
  CR_CODEC_G726 = 6      /* 2 to 5 bits a sample; every payload begins at an octet */
} cr_codec;

/* Bits of cr_leg.flags that the decoder looks at (model.PacketFlag). */
#define CR_PACKET_SPILL 2 /* the offset counts into spill */
#define CR_PACKET_NOISE 8 /* RFC 3389 comfort noise */

/* Why a stretch of media time has no packet (model.GapReason). */
typedef enum cr_gap_reason {
  CR_GAP_LOST = 1,
  CR_GAP_SILENCE = 2,
  CR_GAP_HOLD = 3,
  CR_GAP_LATE_START = 4,
  CR_GAP_EARLY_END = 5,
  CR_GAP_CAPTURE = 6
} cr_gap_reason;

/* How a lost G.729 frame sounds: as the recommendation says, or bridged from both sides. */
#define CR_G729_EXACT 0
#define CR_G729_BRIDGED 1

/* cr_span.mode of G.726 is the bits of a sample, 2 to 5, and this where they fill octets from the most
 * significant bit on (AAL2-G726-xx), not from the least (G726-xx). */
#define CR_G726_AAL2 8

/* A run of one codec: rows first to stop (exclusive) of the leg. Ticks count at clock_rate_hz from 0. The
 * absolute time of tick t is anchor_ns + t / clock_rate_hz / (1 + drift_ppb * 1e-9) seconds. */
typedef struct cr_span {
  int32_t codec;          /* cr_codec */
  int32_t clock_rate_hz;  /* RTP ticks per second: sample_rate_hz; G.722 8000 or 16000; EXTERNAL anything */
  int32_t sample_rate_hz; /* samples per second, 8000 to 48000; G.722 16000, G.729 8000 */
  int32_t mode; /* G.722: 0, 1, 2 for 64, 56, 48 kbit/s; G.711, L16: channels, 1 to 8; G.729: CR_G729_...;
                   G.726: bits and CR_G726_AAL2; else 0 */
  int64_t first, stop;
  int64_t end_tick; /* media ends here, 0 to 2^36 */
  int64_t anchor_ns;
  int64_t drift_ppb;  /* the sender's clock error, parts per 10^9, within +-10^7 */
  const int16_t *pcm; /* EXTERNAL: pcm_count samples from tick 0 on; may be NULL (silence). Else NULL */
  int64_t pcm_count;
  uint64_t seed; /* of this span's comfort noise */
} cr_span;

/* One leg. Columns have `rows` elements; `sequence` may be NULL, then unexplained gaps count as lost.
 * Timestamps are media ticks of the row's span, 0 to 2^36; the decoder never goes back, so what overlaps is
 * trimmed. The gap columns have `gap_count` elements, sorted by span, then start. */
typedef struct cr_leg {
  const uint8_t *data;
  size_t data_size;
  const uint8_t *spill;
  size_t spill_size;
  size_t rows;
  const int64_t *offset;
  const uint16_t *size;
  const int64_t *timestamp;
  const int64_t *sequence;
  const uint8_t *flags;
  size_t span_count;
  const cr_span *spans;
  size_t gap_count;
  const int32_t *gap_span;
  const int64_t *gap_start;
  const int64_t *gap_ticks;
  const uint8_t *gap_reason;
} cr_leg;

/* CR_OK; CR_BOUNDS when a payload lies outside data or spill; CR_ARGUMENT when a span, a gap or a timestamp
 * is out of its range; CR_UNSUPPORTED for an unknown codec. *bad (may be NULL) is the row or span that is
 * wrong. */
cr_status cr_leg_check(const cr_leg *leg, size_t *bad);

typedef enum cr_chunk_kind {
  CR_CHUNK_DECODED = 0,
  CR_CHUNK_CONCEALED = 1, /* made up for what was lost */
  CR_CHUNK_NOISE = 2      /* comfort noise for what was not sent */
} cr_chunk_kind;

/* A stretch of samples of one span. Media time that no chunk covers is silent. Chunks of a span come in order
 * and do not overlap; the spans of a leg come one after the other. */
typedef struct cr_chunk {
  uint32_t leg;         /* in the order of cr_conveyor_add */
  uint32_t span;        /* of that leg */
  int64_t first_sample; /* from the span's tick 0, at its sample rate */
  const int16_t *pcm;   /* valid until the next call that takes the conveyor */
  uint32_t count;
  uint8_t kind; /* cr_chunk_kind */
} cr_chunk;

/* What became of the packets of one leg, in samples of the spans' own rates, and packets. */
typedef struct cr_leg_counts {
  uint64_t decoded_samples;
  uint64_t concealed_samples;
  uint64_t noise_samples;
  uint64_t trimmed_packets;   /* wholly or partly inside what was decoded already */
  uint64_t malformed_packets; /* octets were left over that are no frame */
} cr_leg_counts;

#ifdef __cplusplus
}
#endif
#endif
