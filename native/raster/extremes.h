// The inner loop of the peaks: extremes and energy of a run of interleaved samples.
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

constexpr size_t kPixelBlock = 32;

struct RasterKernel {
  cr_isa isa;
  // Widen `into` by `frames` frames of interleaved channels.
  void (*extremes)(Extremes *into, const int16_t *pcm, size_t frames, int channels);
  // What cr_peaks8 does for whole pixels whose samples are a multiple of `kPixelBlock`, of 1 or 2 channels.
  void (*pixels)(int8_t *out, const int16_t *pcm, size_t count, size_t samples, int channels);
};

// Null when this CPU cannot run it; CR_ISA_SCALAR is always there.
const RasterKernel *raster_kernel(cr_isa isa);

}  // namespace callreplay
