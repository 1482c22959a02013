#include "lanes/f32.h"
#include "lanes/fir.h"
#include "lanes/round.h"
#include "mix/kernels.h"

namespace callreplay::CR_ISA {
namespace {

int16_t saturate_one(int32_t sum) {
  return static_cast<int16_t>(sum > 32767 ? 32767 : sum < -32768 ? -32768 : sum);
}

void add(int32_t *__restrict sum, const int16_t *__restrict pcm, size_t count) {
  size_t n = 0;
  for (; n + 2 * kWidth32 <= count; n += 2 * kWidth32) {
    store(sum + n, load<I32>(sum + n) + load16<I32>(pcm + n));
    store(sum + n + kWidth32, load<I32>(sum + n + kWidth32) + load16<I32>(pcm + n + kWidth32));
  }
  for (; n < count; ++n) {
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
  size_t n = 0;
  for (; n + kWidth32 <= count; n += kWidth32) {
    store_halves(pcm + 2 * n, pair(sat(load<I32>(left + n)), sat(load<I32>(right + n))));
  }
  for (; n < count; ++n) {
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

// y[n] = x[2n + m]
void every_second(float *__restrict y, const float *__restrict x, size_t m, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    y[n] = x[2 * n + m];
  }
}

void zip(float *__restrict y, const float *__restrict even, const float *__restrict odd, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    y[2 * n] = even[n];
    y[2 * n + 1] = odd[n];
  }
}

template <int N>
float lerp_dot(const float *__restrict x, const float *__restrict low, const float *__restrict high,
               float part, size_t taps_count) {
  using V = Lanes<float, N>;
  const V share = splat<V>(part);
  return dot_with<N>(x, taps_count, [&](size_t t) {
    const V from = load<V>(low + t);
    return from + share * (load<V>(high + t) - from);
  });
}

template <int N>
void dots(float *__restrict y, const float *__restrict x, const float *__restrict taps, size_t taps_count,
          size_t count) {
  for (size_t n = 0; n < count; ++n, taps += taps_count) {
    y[n] = dot_with<N>(x + n, taps_count, [&](size_t t) { return load<Lanes<float, N>>(taps + t); });
  }
}

template <int N>
constexpr MixKernel kernel(cr_isa isa) {
  return {isa,          add, saturate, interleave,  saturate_f32, interleave_f32, widen, round_samples<N>,
          every_second, zip, fir<N>,   lerp_dot<N>, dots<N>};
}

}  // namespace

CR_DEFINE_KERNELS(MixKernel, mix, kernel<kWidth32>, kernel<1>)

}  // namespace callreplay::CR_ISA
