// Compiled once per instruction set. Written as element-wise loops over blocks of 64 samples, which compilers
// turn into vectors of whatever width the flags allow; every operation is exact, so all instances agree.
#include "raster/extremes.h"

#include "lanes/lanes.h"

namespace callreplay::CR_ISA {

namespace {

template <int kChannels>
void scalar(Extremes *into, const int16_t *pcm, size_t frames) {
  // In registers: `into` might be what pcm points to, for all that the compiler knows.
  int16_t low[kChannels];
  int16_t high[kChannels];
  uint64_t energy[kChannels] = {};
  for (int c = 0; c < kChannels; ++c) {
    low[c] = into->low[c];
    high[c] = into->high[c];
  }
  for (size_t i = 0; i < frames; ++i, pcm += kChannels) {
    for (int c = 0; c < kChannels; ++c) {
      const int16_t x = pcm[c];
      low[c] = x < low[c] ? x : low[c];
      high[c] = x > high[c] ? x : high[c];
      energy[c] += static_cast<uint32_t>(static_cast<int32_t>(x) * x);
    }
  }
  for (int c = 0; c < kChannels; ++c) {
    into->low[c] = low[c];
    into->high[c] = high[c];
    into->energy[c] += energy[c];
  }
}

void scalar(Extremes *into, const int16_t *pcm, size_t frames, int channels) {
  if (channels == 1) {
    scalar<1>(into, pcm, frames);
  } else if (channels == 2) {
    scalar<2>(into, pcm, frames);
  } else {
    for (size_t i = 0; i < frames; ++i) {
      for (int c = 0; c < channels; ++c) {
        const int16_t x = pcm[i * channels + c];
        into->low[c] = x < into->low[c] ? x : into->low[c];
        into->high[c] = x > into->high[c] ? x : into->high[c];
        into->energy[c] += static_cast<uint64_t>(static_cast<int32_t>(x) * x);
      }
    }
  }
}

constexpr int kBlock =
    64;  // a multiple of 1, 2, 4 and 8 channels: lane j always belongs to channel j % channels

// Whole blocks of the samples; returns how many samples those are.
size_t blockwise(Extremes *into, const int16_t *pcm, size_t samples, int channels) {
  const size_t blocks = samples / kBlock;
  if (blocks == 0) {
    return 0;
  }
  alignas(64) int16_t low[kBlock];
  alignas(64) int16_t high[kBlock];
  alignas(64) uint32_t part[kBlock];
  alignas(64) uint64_t energy[kBlock] = {};
  for (int j = 0; j < kBlock; ++j) {
    low[j] = high[j] = pcm[j];
  }
  // A square is at most 2^30, so three of them fit 32 bits; then they move on to 64.
  for (size_t b = 0; b < blocks;) {
    for (int j = 0; j < kBlock; ++j) {
      part[j] = 0;
    }
    const size_t stop = b + 3 < blocks ? b + 3 : blocks;
    for (; b < stop; ++b) {
      const int16_t *x = pcm + b * kBlock;
      for (int j = 0; j < kBlock; ++j) {
        low[j] = x[j] < low[j] ? x[j] : low[j];
        high[j] = x[j] > high[j] ? x[j] : high[j];
        part[j] += static_cast<uint32_t>(static_cast<int32_t>(x[j]) * x[j]);
      }
    }
    for (int j = 0; j < kBlock; ++j) {
      energy[j] += part[j];
    }
  }
  for (int j = 0; j < kBlock; ++j) {
    const int c = j % channels;
    into->low[c] = low[j] < into->low[c] ? low[j] : into->low[c];
    into->high[c] = high[j] > into->high[c] ? high[j] : into->high[c];
    into->energy[c] += energy[j];
  }
  return blocks * kBlock;
}

void in_blocks(Extremes *into, const int16_t *pcm, size_t frames, int channels) {
  size_t done = 0;
  if (kBlock % channels == 0) {
    done = blockwise(into, pcm, frames * channels, channels);
  }
  scalar(into, pcm + done, frames - done / channels, channels);
}

// Halve `lanes` until as many are left as there are channels; lane j belongs to channel j % channels
// throughout.
template <int kLanes>
inline void fold(int16_t *low, int16_t *high) {
  for (int j = 0; j < kLanes; ++j) {
    low[j] = low[j + kLanes] < low[j] ? low[j + kLanes] : low[j];
    high[j] = high[j + kLanes] > high[j] ? high[j + kLanes] : high[j];
  }
}

void pixels(int8_t *out, const int16_t *pcm, size_t count, size_t samples, int channels) {
  constexpr int kLanes = static_cast<int>(kPixelBlock);
  for (size_t n = 0; n < count; ++n) {
    alignas(64) int16_t low[kLanes];
    alignas(64) int16_t high[kLanes];
    for (int j = 0; j < kLanes; ++j) {
      low[j] = high[j] = pcm[j];
    }
    for (size_t at = kPixelBlock; at < samples; at += kPixelBlock) {
      for (int j = 0; j < kLanes; ++j) {
        const int16_t x = pcm[at + j];
        low[j] = x < low[j] ? x : low[j];
        high[j] = x > high[j] ? x : high[j];
      }
    }
    fold<16>(low, high);
    fold<8>(low, high);
    fold<4>(low, high);
    fold<2>(low, high);
    if (channels == 1) {
      fold<1>(low, high);
    }
    for (int c = 0; c < channels; ++c) {
      *out++ = static_cast<int8_t>(low[c] / 256);
      *out++ = static_cast<int8_t>(high[c] / 256);
    }
    pcm += samples;
  }
}

constexpr RasterKernel blocks(cr_isa isa) {
  return {isa, in_blocks, pixels};
}
constexpr RasterKernel one_by_one(cr_isa isa) {
  return {isa, scalar, pixels};
}

}  // namespace

CR_DEFINE_KERNELS(RasterKernel, raster, blocks, one_by_one)

}  // namespace callreplay::CR_ISA
