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

// What cr_peaks8 does for whole pixels whose samples are a multiple of `kPixelBlock`, of 1 or 2 channels.
constexpr size_t kPixelBlock = 32;
using PixelsKernel = void (*)(int8_t *out, const int16_t *pcm, size_t pixels, size_t samples, int channels);

PixelsKernel pixels_kernel(cr_isa isa);

}  // namespace callreplay
