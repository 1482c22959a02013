// The loops of the concealer, one table per instruction set. All tables give the same samples: every sum runs
// in an order of its own that no width changes, and products are not fused.
#pragma once

#include <cstddef>
#include <cstdint>

#include "callreplay/isa.h"

namespace callreplay {

constexpr int kMaxOrder = 32;   // of the linear prediction
constexpr size_t kStep = 16;    // samples that are synthesised at a time
constexpr size_t kSlack = 128;  // floats behind what a kernel is told that it may read or write

// Numbers of 16 bits as pairs, each with the one that follows (in the upper half): two products an instruction, and whole,
// so that no order of sums matters. Of kPitchBits and a sign, 112 squares stay below 2^31; of kFineBits, 336.
constexpr size_t kMostPairs = 512;
constexpr int kPitchBits = 12, kFineBits = 11;

// The largest of likeness[n] * |likeness[n]| / energy[n], or 0, and the last n that has it.
struct Likest {
  float ratio;
  size_t at;
};

// What is compared to find a period; pairs. likeness[n] = sum over t < span of then[n + t] * now[t].
struct Search {
  const int32_t *now = nullptr, *then = nullptr;
  size_t span = 0, count = 0;  // samples of `now`, lags
  alignas(64) int32_t likeness[kMostPairs];
};

// One sound that goes on: y[n] = e[n] - sum of a[j] * y[n - j], j from 1 to the order.
struct Synthesis {
  float *y = nullptr;  // in: excitation, from 0 on, and what came before, the newest at y[-1]; out: sound
  int order = 0;
  float coefficients[kMaxOrder + 1];  // a[0] = 1 to a[order]
  float response[2 * kStep];          // of 1 / A: kStep zeros, then what an impulse gives
  alignas(64) float driven[kStep][kStep];
  alignas(64) float free[kMaxOrder][kStep];
};

struct ConcealKernel {
  cr_isa isa;
  // y[n] = x[count - 1 - n]
  void (*reverse_copy)(int16_t *y, const int16_t *x, size_t count);
  // x[n] = pcm[n]
  void (*widen)(float *x, const int16_t *pcm, size_t count);
  // The same, and y[n] = x[n] * w[n]
  void (*window)(float *x, float *y, const int16_t *pcm, const float *w, size_t count);
  // y[n] = sum over t of taps[t] * x[n + t]; kSlack
  void (*filter)(float *y, const float *x, const float *taps, size_t taps_count, size_t count);
  // Bits that the largest of them needs beside its sign.
  int (*width)(const int16_t *x, size_t count);
  // z[n] = the pair of x[n] >> shift and x[n + 1] >> shift
  void (*pair_up)(int32_t *z, const int16_t *x, int shift, size_t count);
  // The likeness of all lags. `now` goes on with zeros to the next multiple of 64 of its span. Writes likeness up to 16 or to
  // the next multiple of 128 of count, and reads `then` as far as that needs.
  void (*correlate)(Search *search);
  // y[n] = 1 + sum over t < span of the square of the lower half of z[n + t]; span + count <= kMostPairs
  void (*energies)(int32_t *y, const int32_t *z, size_t span, size_t count);
  // To the next multiple of 16 of count; what is beyond count must not be the largest.
  Likest (*likest)(const int32_t *likeness, const int32_t *energy, size_t count);
  // r[lag] = sum over n of x[n] * x[n + lag], lag <= order; count to the next multiple of 16, and x goes on
  // with zeros for the order and 32; kSlack
  void (*autocorrelate)(float *r, const float *x, size_t count, int order);
  // The coefficients and the response of the predictors of `order`, order >= 1, of one or two sounds for these
  // autocorrelations, r[i][0] > 0; and the likeness of all lags of their searches. One after the other or, because each step
  // of a predictor waits for the one before, the predictors while a search goes on.
  void (*predict)(Synthesis *const *sounds, const float *const *r, Search *const *searches,
                  size_t sound_count, int order);
  // Sum of x[n] ^ 2; to the next multiple of 16 of count
  float (*energy)(const float *x, size_t count);
  // y[n] = x[n % period]; kSlack
  void (*repeat)(float *y, const float *x, size_t period, size_t count);
  // y[n] = gain * y[n] + noise_gain * (uniform noise in [-1, 1)); kSlack
  void (*excite)(float *y, float gain, float noise_gain, uint32_t seed, size_t count);
  // One or two sounds side by side, so that one need not wait for the other; count to the next multiple of kStep.
  void (*synthesise)(Synthesis *const *sounds, size_t sound_count, size_t count);
  // pcm[n] = of left[n] and right[count - 1 - n], weighted linearly from the one to the other and each by its
  // fade; rounded and saturated. Changes both.
  void (*cross_fade)(int16_t *pcm, float *left, float *right, const float *fade, size_t count);
  // pcm[n] = x[n] * fade[n]; changes x
  void (*fade)(int16_t *pcm, float *x, const float *fade, size_t count);
  void (*reverse)(int16_t *pcm, size_t count);
};

// Null when this CPU cannot run it; CR_ISA_SCALAR is always there.
const ConcealKernel *conceal_kernel(cr_isa isa);

}  // namespace callreplay
