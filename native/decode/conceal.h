// Waveform concealment for codecs that have none of their own (G.711, G.722, G.726, L16, and what was decoded
// elsewhere): functions of what was received on both sides of a loss and of nothing else, so a loss sounds
// the same wherever decoding began.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "callreplay/isa.h"

namespace callreplay {

struct ConcealKernel;
struct ConcealTables;

// Up to this length a loss is bridged; a longer one fades out after kFadeMs and in again kFadeMs before its
// end, with silence between.
constexpr int kBridgedMs = 120;
constexpr int kFadeMs = 60;

// As much of either side as can matter: two of the longest periods that are repeated.
constexpr int kContextMs = 36;
constexpr size_t kMaxContext = size_t{48000} * kContextMs / 1000;

// What was received around a loss, without a break: `before` ends where the loss begins, `after` begins where
// it ends. Either may be empty. More than kContextMs is not looked at.
struct Surroundings {
  const int16_t *before;
  size_t before_count;
  const int16_t *after;
  size_t after_count;
};

class Concealer {
 public:
  Concealer() = default;
  // At 8000 to 48000 Hz; the tables of the rates of telephony are made once a process. Every instruction set
  // gives the same samples.
  explicit Concealer(int sample_rate_hz, cr_isa isa = cr_isa_active());

  // Fill a loss of `count` samples, at most kBridgedMs (and a cross-fade). Each side is extrapolated into the
  // loss (linear prediction driven by the residual of the last pitch period), backwards from after it, and
  // the two are cross-faded; with one side only, it fades to silence within kFadeMs. The samples on both
  // sides are not touched and there is no seam to them. `seed` is of the noise. Returns false when there is
  // nothing to go on: `pcm` is silent then.
  bool bridge(const Surroundings &around, uint32_t seed, int16_t *pcm, size_t count) const;

 private:
  const ConcealKernel *kernel_ = nullptr;
  std::shared_ptr<const ConcealTables> tables_;
};

}  // namespace callreplay
