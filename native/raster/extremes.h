// The inner loop of the peaks: extremes and energy of a run of interleaved samples, one copy per instruction
// set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "callreplay/isa.h"

namespace callreplay {

constexpr int kMaxChannels = 8;

struct Extremes {
  int16_t low[kMaxChannels];
  int16_t high[kMaxChannels];
  uint64_t energy[kMaxChannels];
};

// Widen `into` by `frames` frames of interleaved channels.
using ExtremesKernel = void (*)(Extremes *into, const int16_t *pcm, size_t frames, int channels);

ExtremesKernel extremes_kernel(cr_isa isa);

}  // namespace callreplay
