// The loops of the mixer that touch every sample, one table per instruction set. All tables give the same
// samples: sums run in the same order whatever the width, and products are not fused.
#pragma once

#include <cstddef>
#include <cstdint>

#include "callreplay/isa.h"

namespace callreplay {

struct MixKernel {
  cr_isa isa;
  // sum[n] += pcm[n]
  void (*add)(int32_t *sum, const int16_t *pcm, size_t count);
  // pcm[n] = sum[n], saturated
  void (*saturate)(int16_t *pcm, const int32_t *sum, size_t count);
  // pcm[2n] = left[n], pcm[2n + 1] = right[n], saturated
  void (*interleave)(int16_t *pcm, const int32_t *left, const int32_t *right, size_t count);
  // The same as floats: what saturate and interleave give, divided by 32768.
  void (*saturate_f32)(float *x, const int32_t *sum, size_t count);
  void (*interleave_f32)(float *x, const int32_t *left, const int32_t *right, size_t count);
  // x[n] = pcm[n]
  void (*widen)(float *x, const int16_t *pcm, size_t count);
  // pcm[n] = y[n] to nearest (ties to even), saturated; |y| < 2^22
  void (*round)(int16_t *pcm, const float *y, size_t count);
  // y[n] = x[2n + m]
  void (*every_second)(float *y, const float *x, size_t m, size_t count);
  // y[2n] = even[n], y[2n + 1] = odd[n]
  void (*zip)(float *y, const float *even, const float *odd, size_t count);
  // y[n] += sum over t of taps[t] * x[n + t], n < count, t < taps_count. Reads x and writes y up to the next
  // multiple of 64 of count.
  void (*fir)(float *y, const float *x, const float *taps, size_t taps_count, size_t count);
  // sum over t of (low[t] + part * (high[t] - low[t])) * x[t]; taps_count is a multiple of 16
  float (*lerp_dot)(const float *x, const float *low, const float *high, float part, size_t taps_count);
  // y[n] = sum over t of taps[n * taps_count + t] * x[n + t]; taps_count is a multiple of 16
  void (*dots)(float *y, const float *x, const float *taps, size_t taps_count, size_t count);
};

// Null when this CPU cannot run it; CR_ISA_SCALAR is always there.
const MixKernel *mix_kernel(cr_isa isa);

}  // namespace callreplay
