#include "lanes/f32_wide.h"
#include "lanes/isa_name.h"
#include "mix/kernels.h"

namespace callreplay::CR_ISA {
namespace {

int16_t saturate_one(int32_t sum) {
  return static_cast<int16_t>(sum > 32767 ? 32767 : sum < -32768 ? -32768 : sum);
}

void add(int32_t *__restrict sum, const int16_t *__restrict pcm, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    sum[n] += pcm[n];
  }
}

void saturate(int16_t *__restrict pcm, const int32_t *__restrict sum, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    pcm[n] = saturate_one(sum[n]);
  }
}

void interleave(int16_t *__restrict pcm, const int32_t *__restrict left, const int32_t *__restrict right,
                size_t count) {
  for (size_t n = 0; n < count; ++n) {
    pcm[2 * n] = saturate_one(left[n]);
    pcm[2 * n + 1] = saturate_one(right[n]);
  }
}

// Exact: 16 bits fit a float's 24, and the divisor is a power of two.
void saturate_f32(float *__restrict x, const int32_t *__restrict sum, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    x[n] = static_cast<float>(saturate_one(sum[n])) * (1.0f / 32768.0f);
  }
}

void interleave_f32(float *__restrict x, const int32_t *__restrict left, const int32_t *__restrict right,
                    size_t count) {
  for (size_t n = 0; n < count; ++n) {
    x[2 * n] = static_cast<float>(saturate_one(left[n])) * (1.0f / 32768.0f);
    x[2 * n + 1] = static_cast<float>(saturate_one(right[n])) * (1.0f / 32768.0f);
  }
}

void widen(float *__restrict x, const int16_t *__restrict pcm, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    x[n] = pcm[n];
  }
}

void round(int16_t *__restrict pcm, const float *__restrict y, size_t count) {
  // Adding 1.5 * 2^23 leaves the integer nearest to y, ties to even, in the low bits of the sum: |y| < 2^22.
  constexpr float kMagic = 12582912.0f;
  for (size_t n = 0; n < count; ++n) {
    const float limited = y[n] > 32767.0f ? 32767.0f : y[n] < -32768.0f ? -32768.0f : y[n];
    pcm[n] = static_cast<int16_t>((limited + kMagic) - kMagic);
  }
}

// Four vectors of outputs at a time: the taps are loaded once for 64 products.
template <int N>
void fir(float *__restrict y, const float *__restrict x, const float *__restrict taps, size_t taps_count,
         size_t count) {
  using V = Lanes<float, N>;
  for (size_t n = 0; n < count; n += 4 * N) {
    V y0 = V::load(y + n), y1 = V::load(y + n + N), y2 = V::load(y + n + 2 * N), y3 = V::load(y + n + 3 * N);
    const float *from = x + n;
    for (size_t t = 0; t < taps_count; ++t, ++from) {
      const V tap = V::all(taps[t]);
      y0 = y0 + tap * V::load(from);
      y1 = y1 + tap * V::load(from + N);
      y2 = y2 + tap * V::load(from + 2 * N);
      y3 = y3 + tap * V::load(from + 3 * N);
    }
    y0.store(y + n);
    y1.store(y + n + N);
    y2.store(y + n + 2 * N);
    y3.store(y + n + 3 * N);
  }
}

// Sixteen partial sums, added pairwise: the order that every width keeps.
float add_up(const float *sums) {
  float eight[8], four[4];
  for (int i = 0; i < 8; ++i) {
    eight[i] = sums[i] + sums[i + 8];
  }
  for (int i = 0; i < 4; ++i) {
    four[i] = eight[i] + eight[i + 4];
  }
  return (four[0] + four[2]) + (four[1] + four[3]);
}

template <int N>
float lerp_dot(const float *__restrict x, const float *__restrict low, const float *__restrict high,
               float part, size_t taps_count) {
  using V = Lanes<float, N>;
  constexpr int kVectors = 16 / N;
  V sums[kVectors];
  for (V &sum : sums) {
    sum = V::all(0.0f);
  }
  const V share = V::all(part);
  for (size_t t = 0; t < taps_count; t += 16) {
    for (int i = 0; i < kVectors; ++i) {
      const V from = V::load(low + t + i * N);
      const V tap = from + share * (V::load(high + t + i * N) - from);
      sums[i] = sums[i] + tap * V::load(x + t + i * N);
    }
  }
  float flat[16];
  for (int i = 0; i < kVectors; ++i) {
    sums[i].store(flat + i * N);
  }
  return add_up(flat);
}

template <int N>
constexpr MixKernel kernel(cr_isa isa) {
  return {isa, add, saturate, interleave, saturate_f32, interleave_f32, widen, round, fir<N>, lerp_dot<N>};
}

}  // namespace

extern const MixKernel mix_lanes;
constexpr MixKernel mix_lanes = kernel<16>(kIsa);

#if defined(CR_ISA_baseline)
extern const MixKernel mix_scalar;
constexpr MixKernel mix_scalar = kernel<1>(CR_ISA_SCALAR);
#endif

}  // namespace callreplay::CR_ISA
