#include "decode/conceal/kernels.h"
#include "lanes/f32.h"
#include "lanes/fir.h"
#include "lanes/round.h"

namespace callreplay::CR_ISA {
namespace {

void widen(float *__restrict x, const int16_t *__restrict pcm, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    x[n] = pcm[n];
  }
}

void widen_back(float *__restrict x, const int16_t *__restrict pcm, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    x[n] = pcm[count - 1 - n];
  }
}

void multiply(float *__restrict y, const float *__restrict x, const float *__restrict w, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    y[n] = x[n] * w[n];
  }
}

template <int N>
void correlate(float *__restrict y, const float *__restrict x, const float *__restrict taps,
               size_t taps_count, size_t count) {
  for (size_t n = 0; n < (count + 63) / 64 * 64; ++n) {
    y[n] = 0.0f;
  }
  fir<N>(y, x, taps, taps_count, count);
}

// Four partial sums an output.
template <int N>
void correlate_few(float *__restrict y, const float *__restrict x, const float *__restrict taps,
                   size_t taps_count, size_t count) {
  using V = Lanes<float, N>;
  constexpr int kVectors = N == 8 ? 2 : 1;
  for (size_t n = 0; n < (count + 15) / 16 * 16; n += kVectors * N) {
    V sums[kVectors][4];
    for (int i = 0; i < kVectors; ++i) {
      for (int part = 0; part < 4; ++part) {
        sums[i][part] = splat<V>(0.0f);
      }
    }
    for (size_t t = 0; t < taps_count; t += 4) {
      for (int part = 0; part < 4; ++part) {
        const V tap = splat<V>(taps[t + static_cast<size_t>(part)]);
        for (int i = 0; i < kVectors; ++i) {
          sums[i][part] = sums[i][part] + tap * load<V>(x + n + t + part + i * N);
        }
      }
    }
    for (int i = 0; i < kVectors; ++i) {
      store(y + n + i * N, (sums[i][0] + sums[i][2]) + (sums[i][1] + sums[i][3]));
    }
  }
}

// kLags of them, from lag `from` on.
template <int N, int kLags>
CR_LANE void autocorrelate_some(float *r, const float *x, size_t count, int from) {
  using V = Lanes<float, N>;
  constexpr int kVectors = 16 / N;
  V sums[kLags][kVectors];
  for (auto &sum : sums) {
    for (V &part : sum) {
      part = splat<V>(0.0f);
    }
  }
  for (size_t n = 0; n < count; n += 16) {
    for (int i = 0; i < kVectors; ++i) {
      const V now = load<V>(x + n + i * N);
      for (int lag = 0; lag < kLags; ++lag) {
        sums[lag][i] = sums[lag][i] + now * load<V>(x + n + i * N + from + lag);
      }
    }
  }
  for (int lag = 0; lag < kLags; ++lag) {
    float flat[16];
    for (int i = 0; i < kVectors; ++i) {
      store(flat + i * N, sums[lag][i]);
    }
    r[lag] = add_up(flat);
  }
}

template <int N>
void autocorrelate(float *r, const float *x, size_t count, int order) {
  constexpr int kLags = N == 16 ? 13 : N == 8 ? 7 : 3;  // as many sums as there are registers
  float some[kLags];
  for (int lag = 0; lag <= order; lag += kLags) {
    autocorrelate_some<N, kLags>(some, x, count, lag);
    for (int i = 0; i < kLags && lag + i <= order; ++i) {
      r[lag + i] = some[i];
    }
  }
}

// One step of Levinson-Durbin, the i-th.
template <int N>
CR_LANE void levinson_step(const float (*r)[N], Lanes<float, N> *a, Lanes<float, N> &error, int i) {
  using V = Lanes<float, N>;
  constexpr int kParts = 16;
  const V zero = splat<V>(0.0f);
  // Of a[j] * load<V>(r[i - j]), j < i, in the order of add_up().
  V parts[kParts];
#pragma GCC unroll 16
  for (int j = 0; j < kParts; ++j) {
    parts[j] = j < i ? a[j] * load<V>(r[i - j]) : zero;
  }
  for (int j = kParts; j < i; ++j) {
    parts[j % kParts] = parts[j % kParts] + a[j] * load<V>(r[i - j]);
  }
#pragma GCC unroll 4
  for (int half = kParts / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (int j = 0; j < half; ++j) {
      parts[j] = parts[j] + parts[j + half];
    }
  }
  const V limit = splat<V>(0.9999f);
  const V wanted = max(min(-parts[0] / error, limit), -limit);
  const V reflection = select(error > zero, wanted, zero);
#pragma GCC unroll 8
  for (int j = 1; 2 * j <= i; ++j) {
    const V low = a[j], high = a[i - j];
    a[j] = low + reflection * high;
    a[i - j] = high + reflection * low;
  }
  a[i] = reflection;
  error = error * (splat<V>(1.0f) - reflection * reflection);
}

// Of N sounds, one a lane; a lane that is none repeats the last one. The orders of 8 and 16 kHz are
// laid out flat.
template <int N, int kOrder>
void predict_some(Synthesis *const *sounds, const float *const *r, size_t sound_count, int any_order) {
  using V = Lanes<float, N>;
  constexpr int kSteps = static_cast<int>(kStep);
  const int order = kOrder > 0 ? kOrder : any_order;
  alignas(64) float flat[kMaxOrder + 1][N];
  for (size_t lane = 0; lane < N; ++lane) {
    const float *from = r[lane < sound_count ? lane : sound_count - 1];
    for (int k = 0; k <= order; ++k) {
      flat[k][lane] = from[k];
    }
  }
  V a[kMaxOrder + 1];
  a[0] = splat<V>(1.0f);
  V error = load<V>(flat[0]);
#pragma GCC unroll 20
  for (int i = 1; i <= order; ++i) {
    levinson_step<N>(flat, a, error, i);
  }
  // What an impulse gives: each sample of it takes its part from all that follow.
  V response[kSteps];
  response[0] = a[0];
  for (int n = 1; n < kSteps; ++n) {
    response[n] = splat<V>(0.0f);
  }
#pragma GCC unroll 16
  for (int n = 0; n + 1 < kSteps; ++n) {
#pragma GCC unroll 16
    for (int m = n + 1; m < kSteps; ++m) {
      response[m] = m - n <= order ? response[m] - response[n] * a[m - n] : response[m];
    }
  }
  alignas(64) float answer[kSteps][N];
#pragma GCC unroll 16
  for (int k = 0; k <= order; ++k) {
    store(flat[k], a[k]);
  }
#pragma GCC unroll 16
  for (int n = 0; n < kSteps; ++n) {
    store(answer[n], response[n]);
  }
  for (size_t lane = 0; lane < sound_count; ++lane) {
    Synthesis &sound = *sounds[lane];
    sound = {sound.y, {}, {}, order};
#pragma GCC unroll 16
    for (int k = 0; k <= order; ++k) {
      sound.coefficients[k] = flat[k][lane];
    }
#pragma GCC unroll 16
    for (int n = 0; n < kSteps; ++n) {
      sound.response[kSteps + n] = answer[n][lane];
    }
  }
}

template <int N>
void predict(Synthesis *const *sounds, const float *const *r, size_t sound_count, int order) {
  for (size_t from = 0; from < sound_count; from += N) {
    const auto some = order == 12   ? predict_some<N, 12>
                      : order == 20 ? predict_some<N, 20>
                                    : predict_some<N, 0>;
    some(sounds + from, r + from, sound_count - from < N ? sound_count - from : N, order);
  }
}

// Whole: the sums stay below 2^52, where a double holds them and has room for the exponent that is put on them. Each
// window is the one before and what it has more, so that only that addition waits for another.
void energies(float *__restrict y, const float *__restrict x, size_t span, size_t count) {
  constexpr int64_t kExponent = 0x4330000000000000;  // of 2^52
  constexpr size_t kMost = 512;
  int32_t squares[kMost];
  int32_t more[kMost];  // that a window has than the one before
  int64_t windows[kMost];
  const size_t all = span + count - 1;
  for (size_t n = 0; n < all; ++n) {
    const auto whole = static_cast<int32_t>(x[n]);
    squares[n] = whole * whole;
  }
  for (size_t n = 1; n < count; ++n) {
    more[n] = squares[n + span - 1] - squares[n - 1];
  }
  int64_t sum = kExponent | 1;
  for (size_t n = 0; n < span; ++n) {
    sum += squares[n];
  }
  windows[0] = sum;
  for (size_t n = 1; n < count; ++n) {
    sum += more[n];
    windows[n] = sum;
  }
  for (size_t n = 0; n < count; ++n) {
    y[n] = static_cast<float>(__builtin_bit_cast(double, windows[n]) - 0x1p52);
  }
}

template <int N>
float normalise(float *__restrict y, const float *__restrict energy, size_t count) {
  using V = Lanes<float, N>;
  const V zero = splat<V>(0.0f);
  V tops = zero;
  for (size_t n = 0; n < count; n += N) {
    const V likeness = load<V>(y + n);
    const V ratio = likeness * max(likeness, zero - likeness) / load<V>(energy + n);
    store(y + n, ratio);
    tops = max(ratio, tops);
  }
  float flat[N];
  store(flat, tops);
  float top = 0.0f;
  for (const float each : flat) {
    top = top < each ? each : top;
  }
  return top;
}

// seed -> 1664525 * seed + 1013904223, kStep generators of which each makes kStep steps at once.
struct Leap {
  uint32_t factor = 1, rest = 0;
};
constexpr Leap leap(size_t steps) {
  Leap all;
  for (size_t i = 0; i < steps; ++i) {
    all = {all.factor * 1664525u, all.rest * 1664525u + 1013904223u};
  }
  return all;
}

struct Leaps {
  int32_t factor[kStep], rest[kStep];
};
constexpr Leaps first_leaps() {
  Leaps all{};
  for (size_t i = 0; i < kStep; ++i) {
    const Leap each = leap(i + 1);
    all.factor[i] = static_cast<int32_t>(each.factor);
    all.rest[i] = static_cast<int32_t>(each.rest);
  }
  return all;
}

template <int N>
void excite(float *__restrict y, float gain, float noise_gain, uint32_t seed, size_t count) {
  using V = Lanes<float, N>;
  using I = IntOf<V>;
  constexpr Leap kLeap = leap(kStep);
  static constexpr Leaps kFirst = first_leaps();
  constexpr int kVectors = static_cast<int>(kStep) / N;
  const I factor = splat<I>(static_cast<int32_t>(kLeap.factor)),
          rest = splat<I>(static_cast<int32_t>(kLeap.rest));
  I seeds[kVectors];
  for (int i = 0; i < kVectors; ++i) {
    seeds[i] =
        splat<I>(static_cast<int32_t>(seed)) * load<I>(kFirst.factor + i * N) + load<I>(kFirst.rest + i * N);
  }
  const V loud = splat<V>(gain), scale = splat<V>(noise_gain * 0x1p-31f);
  for (size_t n = 0; n < count; n += kStep) {
    for (int i = 0; i < kVectors; ++i) {
      float *at = y + n + i * N;
      store(at, loud * load<V>(at) + scale * to_float(seeds[i]));
      seeds[i] = seeds[i] * factor + rest;
    }
  }
}

// kStep samples at once: what the past gives to each of them, u, is a sum without a wait; then y is u through
// the first kStep samples of the response of 1 / A.
template <int N>
CR_LANE void synthesise_step(const Synthesis &sound, float *y) {
  using V = Lanes<float, N>;
  constexpr int kVectors = N == 8 ? 2 : 1;
  alignas(64) float u[kStep];
  for (int at = 0; at < static_cast<int>(kStep); at += kVectors * N) {
    V sums[kVectors][2];
    for (int i = 0; i < kVectors; ++i) {
      sums[i][0] = load<V>(y + at + i * N);
      sums[i][1] = splat<V>(0.0f);
    }
    for (int j = 1; j <= sound.order; j += 2) {
      for (int part = 0; part < 2; ++part) {
        const V past = splat<V>(y[-j - part]);
        for (int i = 0; i < kVectors; ++i) {
          sums[i][part] = sums[i][part] - past * load<V>(sound.coefficients + j + part + at + i * N);
        }
      }
    }
    for (int i = 0; i < kVectors; ++i) {
      store(u + at + i * N, sums[i][0] + sums[i][1]);
    }
  }
  // y[n] = sum over k <= n of u[k] * response[n - k].
  for (int at = 0; at < static_cast<int>(kStep); at += N) {
    V sums[2] = {splat<V>(0.0f), splat<V>(0.0f)};
    const int last = at + N < 2 ? 2 : at + N;
    for (int k = 0; k < last; k += 2) {
      for (int part = 0; part < 2; ++part) {
        sums[part] = sums[part] + splat<V>(u[k + part]) *
                                      load<V>(sound.response + static_cast<int>(kStep) - k - part + at);
      }
    }
    // Between steps, so that a filter on the edge of stability cannot run away.
    store(y + at, max(min(sums[0] + sums[1], splat<V>(32767.0f)), splat<V>(-32768.0f)));
  }
}

template <int N>
void synthesise(const Synthesis *const *sounds, size_t sound_count, size_t count) {
  for (size_t n = 0; n < count; n += kStep) {
    for (size_t s = 0; s < sound_count; ++s) {
      synthesise_step<N>(*sounds[s], sounds[s]->y + n);
    }
  }
}

template <int N>
void cross_fade(int16_t *__restrict pcm, float *__restrict left, float *__restrict right,
                const float *__restrict fade, size_t count) {
  const float part = 1.0f / static_cast<float>(count);
  const auto length = static_cast<int32_t>(count);
  for (int32_t n = 0; n < length; ++n) {
    const float weight = (static_cast<float>(length - n) - 0.5f) * part * fade[n];
    left[n] *= weight;
    right[n] *= weight;
  }
  for (int32_t n = 0; n < length; ++n) {
    left[n] += right[length - 1 - n];
  }
  round_samples<N>(pcm, left, count);
}

template <int N>
void fade(int16_t *__restrict pcm, float *__restrict x, const float *__restrict fade, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    x[n] *= fade[n];
  }
  round_samples<N>(pcm, x, count);
}

void reverse(int16_t *pcm, size_t count) {
  for (size_t n = 0; n < count / 2; ++n) {
    const int16_t low = pcm[n];
    pcm[n] = pcm[count - 1 - n];
    pcm[count - 1 - n] = low;
  }
}

template <int N>
constexpr ConcealKernel kernel(cr_isa isa) {
  return {isa,        widen,    widen_back,   multiply,  correlate<N>,  correlate_few<N>, autocorrelate<N>,
          predict<N>, energies, normalise<N>, excite<N>, synthesise<N>, cross_fade<N>,    fade<N>,
          reverse};
}

}  // namespace

CR_DEFINE_KERNELS(ConcealKernel, conceal, kernel<kWidth32>, kernel<1>)

}  // namespace callreplay::CR_ISA
