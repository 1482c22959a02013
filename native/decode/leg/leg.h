// The limits of a leg's view, and its check.
#pragma once

#include "callreplay/decode.h"

namespace callreplay {

// 2^36 ticks are 99 days at 8 kHz and 16 at 48: products with any rate stay inside int64, and those of
// mix/timeline.h inside 128 bits.
constexpr int64_t kMaxTick = int64_t{1} << 36;
constexpr int64_t kMaxDriftPpb = 10'000'000;
constexpr int64_t kMaxAnchorNs = int64_t{1} << 62;

// The sample at a tick. Exact but for EXTERNAL spans, whose clock may be anything. 2^37 * 48000 < 2^53. Asked
// of every packet, and nearly always of a clock that counts samples: no division then.
inline int64_t tick_to_sample(const cr_span &span, int64_t tick) {
  return span.sample_rate_hz == span.clock_rate_hz ? tick : tick * span.sample_rate_hz / span.clock_rate_hz;
}

// G.726: bits of a sample.
inline int32_t code_bits(const cr_span &span) {
  return span.mode & 7;
}

// Bits of one sample of a waveform codec, all channels of it. G.722: of the two of an octet.
int32_t sample_bits(const cr_span &span);

// Whole samples that `octets` octets of a waveform codec hold, `bits` each.
inline int64_t payload_samples(const cr_span &span, int32_t bits, int64_t octets) {
  return span.codec == CR_CODEC_G722 ? 2 * octets : bits == 8 ? octets : 8 * octets / bits;
}

}  // namespace callreplay
