// Compiled once per instruction set; every operation is exact, so all instances agree.
#include "raster/extremes.h"

#include "lanes/i16.h"

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

// Halve `lanes` until as many are left as there are channels; lane j belongs to channel j % channels
// throughout.
template <int kLanes>
inline void fold(int16_t *low, int16_t *high) {
  for (int j = 0; j < kLanes; ++j) {
    low[j] = low[j + kLanes] < low[j] ? low[j + kLanes] : low[j];
    high[j] = high[j + kLanes] > high[j] ? high[j + kLanes] : high[j];
  }
}

// Of 2 * kLanes lanes, down to one or two channels.
template <int kLanes>
inline void fold_all(int16_t *low, int16_t *high, int channels) {
  if constexpr (kLanes == 1) {
    if (channels == 1) {
      fold<1>(low, high);
    }
  } else {
    fold<kLanes>(low, high);
    fold_all<kLanes / 2>(low, high, channels);
  }
}

constexpr int kHalf = kWidth16 / 2;

// What was found in whole registers.
struct Found {
  I16 low, high;
  uint64_t even[kHalf] = {};  // squares, of even and of odd lanes
  uint64_t odd[kHalf] = {};

  CR_LANE void take(Squares<kWidth16> &squares, I16 x) {
    low = min(low, x);
    high = max(high, x);
    add_squares(squares, x);
  }

  CR_LANE void drain(const Squares<kWidth16> &squares) {
    uint32_t of_even[kHalf];
    uint32_t of_odd[kHalf];
    store_squares(of_even, of_odd, squares);
    for (int j = 0; j < kHalf; ++j) {
      even[j] += of_even[j];
      odd[j] += of_odd[j];
    }
  }
};

// -1 in the last lanes: from `kLast + n` in the last n.
constexpr struct LastLanes {
  int16_t v[2 * kWidth16] = {};
  constexpr LastLanes() {
    for (int j = kWidth16; j < 2 * kWidth16; ++j) {
      v[j] = -1;
    }
  }
} kLast;

// Of one or two channels, so that lane j of any register belongs to channel j % channels. The last register overlaps the
// one before, which changes no extremes; of its squares only those that are new count.
void in_registers(Extremes *into, const int16_t *pcm, size_t frames, int channels) {
  const size_t samples = frames * static_cast<size_t>(channels);
  if (channels > 2 || samples < kWidth16) {
    scalar(into, pcm, frames, channels);
    return;
  }
  Found found{load<I16>(pcm), load<I16>(pcm)};
  size_t at = 0;
  // A square is at most 2^30, so three of them fit 32 bits; then they move on to 64.
  for (; at + 3 * kWidth16 <= samples; at += 3 * kWidth16) {
    Squares<kWidth16> squares;
    clear(squares);
    for (int i = 0; i < 3; ++i) {
      found.take(squares, load<I16>(pcm + at + i * kWidth16));
    }
    found.drain(squares);
  }
  Squares<kWidth16> squares;
  clear(squares);
  for (; at + kWidth16 <= samples; at += kWidth16) {
    found.take(squares, load<I16>(pcm + at));
  }
  if (at < samples) {
    const I16 last = load<I16>(pcm + samples - kWidth16);
    found.low = min(found.low, last);
    found.high = max(found.high, last);
    add_squares(squares, last & load<I16>(kLast.v + (samples - at)));
  }
  found.drain(squares);
  int16_t low[kWidth16];
  int16_t high[kWidth16];
  store(low, found.low);
  store(high, found.high);
  fold_all<kHalf>(low, high, channels);
  uint64_t energy[2] = {};
  for (int j = 0; j < kHalf; ++j) {
    energy[0] += found.even[j];
    energy[1] += found.odd[j];
  }
  into->energy[channels - 1] += energy[1];
  into->energy[0] += energy[0];
  for (int c = 0; c < channels; ++c) {
    into->low[c] = low[c] < into->low[c] ? low[c] : into->low[c];
    into->high[c] = high[c] > into->high[c] ? high[c] : into->high[c];
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
    fold_all<kLanes / 2>(low, high, channels);
    for (int c = 0; c < channels; ++c) {
      *out++ = static_cast<int8_t>(low[c] / 256);
      *out++ = static_cast<int8_t>(high[c] / 256);
    }
    pcm += samples;
  }
}

constexpr RasterKernel registers(cr_isa isa) {
  return {isa, in_registers, pixels};
}
constexpr RasterKernel one_by_one(cr_isa isa) {
  return {isa, scalar, pixels};
}

}  // namespace

CR_DEFINE_KERNELS(RasterKernel, raster, registers, one_by_one)

}  // namespace callreplay::CR_ISA
