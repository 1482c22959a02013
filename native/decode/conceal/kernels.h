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

// One sound that goes on: y[n] = e[n] - sum of a[j] * y[n - j], j from 1 to the order.
struct Synthesis {
  float *y = nullptr;  // in: excitation, from 0 on, and what came before, the newest at y[-1]; out: sound
  float coefficients[kMaxOrder + 2 * kStep + 1];  // a[0] = 1 to a[order], then zeros
  float response[2 * kStep];                      // of 1 / A: kStep zeros, then what an impulse gives
  int order = 0;
};

struct ConcealKernel {
  cr_isa isa;
  // x[n] = pcm[n], and backwards: x[n] = pcm[count - 1 - n]
  void (*widen)(float *x, const int16_t *pcm, size_t count);
  void (*widen_back)(float *x, const int16_t *pcm, size_t count);
  // y[n] = x[n] * w[n]
  void (*multiply)(float *y, const float *x, const float *w, size_t count);
  // y[n] = sum over t of taps[t] * x[n + t]; kSlack
  void (*correlate)(float *y, const float *x, const float *taps, size_t taps_count, size_t count);
  // The same of few outputs and many taps: count to the next multiple of 16, taps_count to that of 4 (zeros).
  void (*correlate_few)(float *y, const float *x, const float *taps, size_t taps_count, size_t count);
  // r[lag] = sum over n of x[n] * x[n + lag], lag <= order; count to the next multiple of 16, and x goes on
  // with zeros for kSlack
  void (*autocorrelate)(float *r, const float *x, size_t count, int order);
  // The coefficients and the response of the predictors of `order`, order >= 1, for these autocorrelations, r[i][0] > 0.
  // Several sounds side by side, because each step waits for the one before.
  void (*predict)(Synthesis *const *sounds, const float *const *r, size_t sound_count, int order);
  // y[n] = 1 + sum over t < span of x[n + t] ^ 2 of whole numbers of 16 bits, rounded once; span + count <= 512
  void (*energies)(float *y, const float *x, size_t span, size_t count);
  // y[n] = y[n] * |y[n]| / energy[n]; the largest of them, or 0. To the next multiple of 16 of count; what is
  // beyond count must not be the largest.
  float (*normalise)(float *y, const float *energy, size_t count);
  // y[n] = gain * y[n] + noise_gain * (uniform noise in [-1, 1)); kSlack
  void (*excite)(float *y, float gain, float noise_gain, uint32_t seed, size_t count);
  // `sounds` side by side, so that one need not wait for the other; count to the next multiple of kStep.
  void (*synthesise)(const Synthesis *const *sounds, size_t sound_count, size_t count);
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
