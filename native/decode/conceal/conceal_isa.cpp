#include <utility>

#include "decode/conceal/kernels.h"
#include "lanes/f32.h"
#include "lanes/fir.h"
#include "lanes/round.h"

namespace callreplay::CR_ISA {
namespace {

void reverse_copy(int16_t *__restrict y, const int16_t *__restrict x, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    y[n] = x[count - 1 - n];
  }
}

void widen(float *__restrict x, const int16_t *__restrict pcm, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    x[n] = pcm[n];
  }
}

void window(float *__restrict x, float *__restrict y, const int16_t *__restrict pcm,
            const float *__restrict w, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    x[n] = pcm[n];
    y[n] = x[n] * w[n];
  }
}

// N samples from `from` + k on. A load of 64 octets that crosses a line takes two turns, and nearly all do: of AVX-512
// every second one is put together of two registers instead.
template <int N>
struct Behind {
  using V = Lanes<float, N>;
  const float *from;
  V first, second;
  CR_LANE explicit Behind(const float *x) : from(x), first(load<V>(x)), second(first) {
    if constexpr (N == 16) {
      second = load<V>(x + N);
    }
  }
  template <int k>
  CR_LANE V at() const {
    if constexpr (k == 0) {
      return first;
    } else if constexpr (N == 16 && k < 16 && k % 2 == 1) {
      return follow<k>(first, second);
    } else {
      return load<V>(from + k);
    }
  }
};

template <class F, size_t... k>
CR_LANE void each_of(F &&f, std::index_sequence<k...>) {
  (f(std::integral_constant<int, static_cast<int>(k)>()), ...);
}
template <int kCount, class F>
CR_LANE void each_below(F &&f) {
  each_of(f, std::make_index_sequence<kCount>());
}

// kTaps, or 0 for any number.
template <int N, int kTaps>
CR_LANE void filter_some(float *__restrict y, const float *__restrict x, const float *__restrict taps,
                         size_t taps_count, size_t count) {
  using V = Lanes<float, N>;
  constexpr int kVectors = N == 1 ? 8 : 32 / N;
  for (size_t n = 0; n < count; n += kVectors * N) {
    V sums[kVectors];
    for (V &sum : sums) {
      sum = splat<V>(0.0f);
    }
    if constexpr (kTaps > 0) {
      const Behind<N> low(x + n), high(x + n + N);
      each_below<kTaps>([&](auto k) __attribute__((always_inline)) {
        const V tap = splat<V>(taps[k]);
        sums[0] = sums[0] + tap * low.template at<k>();
        sums[1] = sums[1] + tap * high.template at<k>();
      });
    } else {
      fir_taps<N, kVectors>(sums, x + n, x + n, taps, taps_count);
    }
    for (int i = 0; i < kVectors; ++i) {
      store(y + n + i * N, sums[i]);
    }
  }
}

template <int N>
void filter(float *__restrict y, const float *__restrict x, const float *__restrict taps, size_t taps_count,
            size_t count) {
  if (N == 16 && taps_count == 13) {
    filter_some<N, N == 16 ? 13 : 0>(y, x, taps, taps_count, count);
  } else {
    filter_some<N, 0>(y, x, taps, taps_count, count);
  }
}

template <int N>
void repeat(float *__restrict y, const float *__restrict x, size_t period, size_t count) {
  using V = Lanes<float, N>;
  for (size_t at = 0; at < count; at += period) {
    const size_t some = period < count - at ? period : count - at;
    for (size_t n = 0; n < some; n += N) {
      store(y + at + n, load<V>(x + n));
    }
  }
}

int width(const int16_t *x, size_t count) {
  int16_t all = 0;
  for (size_t n = 0; n < count; ++n) {
    all = static_cast<int16_t>(all | (x[n] ^ (x[n] >> 15)));
  }
  return all == 0 ? 0 : 32 - __builtin_clz(static_cast<uint32_t>(all));
}

void pair_up(int32_t *__restrict z, const int16_t *__restrict x, int shift, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    const uint32_t low = static_cast<uint16_t>(x[n] >> shift);
    const uint32_t high = static_cast<uint16_t>(x[n + 1] >> shift);
    z[n] = static_cast<int32_t>(low | high << 16);
  }
}

// kBlock vectors of lags and kTaps taps. Their inputs overlap: that of one vector and a tap is that of the next one and the
// tap N samples before, so what is loaded serves all taps.
template <int kTaps, int kBlock, int N>
CR_LANE void correlate_phase(Lanes<int32_t, N> (&sums)[kBlock], const int32_t *from,
                             const int32_t *tap_from) {
  using V = Lanes<int32_t, N>;
  V tap[kTaps];
  for (int q = 0; q < kTaps; ++q) {
    tap[q] = splat<V>(tap_from[q * N]);
  }
#pragma GCC unroll 12
  for (int j = 0; j < kBlock + kTaps - 1; ++j) {
    const V some = load<V>(from + j * N);
#pragma GCC unroll 4
    for (int q = 0; q < kTaps; ++q) {
      if (j >= q && j - q < kBlock) {
        sums[j - q] = sums[j - q] + madd(some, tap[q]);
      }
    }
  }
}

// `meanwhile` is called after each phase.
template <int N, int kBlock, class F>
CR_LANE void correlate_block(int32_t *y, const int32_t *z, const int32_t *taps, size_t span, F &&meanwhile) {
  using V = Lanes<int32_t, N>;
  constexpr size_t kPhases = N / 2, kTaps = 4;
  V sums[kBlock];
  for (V &sum : sums) {
    sum = splat<V>(0);
  }
  for (size_t t = 0; t < span; t += 2 * kTaps * kPhases) {
    for (size_t at = t; at < t + 2 * kPhases; at += 2) {
      // The last tap may be one of the zeros behind the span. (Of few lags that costs nothing.)
      if (kBlock * N <= 16 || at + (kTaps - 1) * N < span) {
        correlate_phase<kTaps>(sums, z + at, taps + at);
      } else {
        correlate_phase<kTaps - 1>(sums, z + at, taps + at);
      }
      meanwhile();
    }
  }
  for (int i = 0; i < kBlock; ++i) {
    store(y + i * N, sums[i]);
  }
}

template <int N, class F>
CR_LANE void correlate_with(Search &search, F &&meanwhile) {
  int32_t *__restrict y = search.likeness;
  const int32_t *__restrict z = search.then, *__restrict taps = search.now;
  const size_t count = search.count, span = search.span;
  if constexpr (N == 1) {
    // Without the pairs it is a loop that compilers know.
    int16_t x[2 * kMostPairs] = {}, tap[kMostPairs];
    for (size_t n = 0; n < count + span - 1; ++n) {
      x[n] = static_cast<int16_t>(z[n]);
    }
    for (size_t t = 0; t < span; ++t) {
      tap[t] = static_cast<int16_t>(taps[t]);
    }
    for (size_t n = 0; n < count; ++n) {
      int32_t sum = 0;
      for (size_t t = 0; t < span; ++t) {
        sum += x[n + t] * tap[t];
      }
      y[n] = sum;
    }
  } else {
    constexpr int kFew = 16 / N, kBlock = 8;
    if (count <= 16) {
      correlate_block<N, kFew>(y, z, taps, span, meanwhile);
      return;
    }
    for (size_t n = 0; n < count; n += kBlock * N) {
      correlate_block<N, kBlock>(y + n, z + n, taps, span, meanwhile);
    }
  }
}

template <int N>
void correlate(Search *search) {
  correlate_with<N>(*search, []() __attribute__((always_inline)){});
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
      Behind<N> behind(x + n + i * N + from);
      each_below<kLags>([&](auto lag) __attribute__((always_inline)) {
        sums[lag][i] = sums[lag][i] + now * behind.template at<lag>();
      });
    }
  }
  if constexpr (N == 16) {
    add_up_each<kLags>(r, sums);
    return;
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

// kOrder, or 0 for any.
template <int N, int kOrder>
void predict_some(Synthesis *const *sounds, const float *const *r, size_t sound_count, int any_order) {
  using V = Lanes<float, N>;
  constexpr int kSteps = static_cast<int>(kStep);
  const int order = kOrder > 0 ? kOrder : any_order;
  const float *first = r[0], *last = r[sound_count - 1];
  const MaskOf<V> is_first = mask_of<V>(1);
  // Schur's recursion: u and v are what the predictors of each order, forwards and backwards, leave of the
  // autocorrelation. Unlike Levinson's it has no sums, so that a step waits for one division, product and sum.
  V a[kMaxOrder + 1], u[kMaxOrder + 1], v[kMaxOrder + 1];
#pragma GCC unroll 16
  for (int k = 0; k <= order; ++k) {
    u[k] = v[k] = select(is_first, splat<V>(first[k]), splat<V>(last[k]));
  }
  a[0] = splat<V>(1.0f);
  const V limit = splat<V>(0.9999f), zero = splat<V>(0.0f);
#pragma GCC unroll 16
  for (int i = 1; i <= order; ++i) {
    const V wanted = max(min(-u[i] / v[i - 1], limit), -limit);
    const V reflection = select(v[i - 1] > zero, wanted, zero);
#pragma GCC unroll 16
    for (int n = order; n >= i; --n) {
      const V before = v[n - 1];
      v[n] = before + reflection * u[n];
      u[n] = u[n] + reflection * before;
    }
#pragma GCC unroll 8
    for (int j = 1; 2 * j <= i; ++j) {
      const V low = a[j], high = a[i - j];
      a[j] = low + reflection * high;
      a[i - j] = high + reflection * low;
    }
    a[i] = reflection;
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
  alignas(64) float coefficients[kMaxOrder + 1][N], answer[kSteps][N];
#pragma GCC unroll 16
  for (int k = 0; k <= order; ++k) {
    store(coefficients[k], a[k]);
  }
#pragma GCC unroll 16
  for (int n = 0; n < kSteps; ++n) {
    store(answer[n], response[n]);
  }
  for (size_t lane = 0; lane < sound_count; ++lane) {
    Synthesis &sound = *sounds[lane];
    sound.order = order;
#pragma GCC unroll 16
    for (int k = 0; k <= order; ++k) {
      sound.coefficients[k] = coefficients[k][lane];
    }
#pragma GCC unroll 16
    for (int n = 0; n < kSteps; ++n) {
      sound.response[n] = 0.0f;
      sound.response[kSteps + n] = answer[n][lane];
    }
  }
}

#if defined(CR_AVX512)
// The same predictor of up to 14 coefficients, one a lane, by steps of a few operations that leave registers to others.
// While u and v become shorter the coefficients become longer, and both change alike: they share registers.
class Predictor {
 public:
  static constexpr int kMostCoefficients = 14;

  CR_LANE Predictor(Synthesis &sound, const float *r, int order)
      : sound_(sound), order_(order), last_(uint32_t{1} << order) {
    const F32 zero = splat<F32>(0.0f), one = splat<F32>(1.0f);
    u_ = select(mask_of<F32>(last_ - 1), load<F32>(r + 1), select(mask_of<F32>(last_), one, zero));
    v_ = select(mask_of<F32>(last_ - 1), load<F32>(r), select(mask_of<F32>(2 * last_), one, zero));
  }

  // Step i of the order, from 1 on: u_ begins with u[i] and goes on, behind u[order], with a[0] = 1 to a[i - 1]; v_ begins
  // with v[i - 1] and goes on, behind v[order - 1], with 0 and the same coefficients backwards, a[i - 1] to a[0].
  CR_LANE void step() {
    const float u = first_lane(u_), v = first_lane(v_), ratio = -u / v;
    const float below = ratio < 0.9999f ? ratio : 0.9999f;
    const float wanted = below > -0.9999f ? below : -0.9999f;
    const F32 reflection = splat<F32>(v > 0.0f ? wanted : 0.0f), before = v_, zero = splat<F32>(0.0f);
    last_ >>= 1;
    v_ = select(mask_of<F32>(~last_), before + reflection * u_, zero);
    u_ = follow<1>(u_ + reflection * before, zero);
  }

  CR_LANE void coefficients_done() {
    const F32 zero = splat<F32>(0.0f);
    sound_.order = order_;
    store(sound_.coefficients, u_);
    store(sound_.response, zero);
    v_ = follow<1>(u_, zero);
    u_ = select(mask_of<F32>(1), splat<F32>(1.0f), zero);
  }

  // Sample n of the response, from 0 on; u_ begins with it.
  CR_LANE void respond(int n) {
    const float here = first_lane(u_);
    sound_.response[kStep + static_cast<size_t>(n)] = here;
    u_ = follow<1>(u_, splat<F32>(0.0f)) - splat<F32>(here) * v_;
  }

 private:
  Synthesis &sound_;
  int order_;
  uint32_t last_;  // the lane behind u[order]
  F32 u_, v_;
};

void predict_meanwhile(Synthesis *const *sounds, const float *const *r, Search *const *searches,
                       size_t sound_count, int order) {
  // Some samples of the response take as long as a step.
  constexpr int kAtOnce = 4, kSteps = static_cast<int>(kStep);
  const size_t last = sound_count - 1;
  Predictor first(*sounds[0], r[0], order), second(*sounds[last], r[last], order);
  int done = 0;
  const int whole = order + kSteps / kAtOnce;
  const auto meanwhile = [&]() __attribute__((always_inline)) {
    if (done < order) {
      first.step();
      second.step();
      ++done;
      if (done == order) {
        first.coefficients_done();
        second.coefficients_done();
      }
    } else if (done < whole) {
      for (int n = (done - order) * kAtOnce, end = n + kAtOnce; n < end; ++n) {
        first.respond(n);
        second.respond(n);
      }
      ++done;
    }
  };
  for (size_t i = 0; i < sound_count; ++i) {
    correlate_with<kWidth32>(*searches[i], meanwhile);
  }
  while (done < whole) {
    meanwhile();
  }
}
#endif

template <int N>
void predict(Synthesis *const *sounds, const float *const *r, Search *const *searches, size_t sound_count,
             int order) {
#if defined(CR_AVX512)
  if (N == 16 && order <= Predictor::kMostCoefficients && sound_count > 0) {
    predict_meanwhile(sounds, r, searches, sound_count, order);
    return;
  }
#endif
  const auto some = order == 12   ? predict_some<N, 12>
                    : order == 20 ? predict_some<N, 20>
                                  : predict_some<N, 0>;
  constexpr size_t kTogether = N == 1 ? 1 : 2;
  for (size_t from = 0; from < sound_count; from += kTogether) {
    const size_t together = sound_count - from < kTogether ? sound_count - from : kTogether;
    some(sounds + from, r + from, together, order);
  }
  for (size_t i = 0; i < sound_count; ++i) {
    correlate<N>(searches[i]);
  }
}

// Each window is the one before and what it has more.
template <int N>
void energies(int32_t *__restrict y, const int32_t *__restrict z, size_t span, size_t count) {
  using V = Lanes<int32_t, N>;
  const V low = splat<V>(0xFFFF), zero = splat<V>(0);
  const auto squares = [low](const int32_t *from) __attribute__((always_inline)) {
    const V pair = load<V>(from);
    return madd(pair & low, pair);
  };
  V first = zero;
  size_t n = 0;
  for (; n + N <= span; n += N) {
    first = first + squares(z + n);
  }
  if (n < span) {
    first = first + select(mask_of<V>((uint32_t{1} << (span - n)) - 1), squares(z + n), zero);
  }
  V sum = splat<V>(1) + last_lane(running_sum(first));
  for (n = 0; n < count; n += N) {
    const V more = squares(z + n + span) - squares(z + n), grown = running_sum(more);
    store(y + n, sum + grown - more);
    sum = sum + last_lane(grown);
  }
}

template <int N>
Likest likest(const int32_t *__restrict likeness, const int32_t *__restrict energy, size_t count) {
  using V = Lanes<float, N>;
  using I = IntOf<V>;
  alignas(64) float ratios[kMostPairs];
  const V zero = splat<V>(0.0f);
  V tops = zero;
  for (size_t n = 0; n < count; n += N) {
    const V like = to_float(load<I>(likeness + n));
    const V ratio = like * max(like, zero - like) / to_float(load<I>(energy + n));
    store(ratios + n, ratio);
    tops = max(ratio, tops);
  }
  float flat[N];
  store(flat, tops);
#pragma GCC unroll 4
  for (int half = N / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) {
      flat[i] = flat[i] < flat[i + half] ? flat[i + half] : flat[i];
    }
  }
  Likest found{flat[0], 0};
  if (found.ratio > 0) {
    const V top = splat<V>(found.ratio);
    for (size_t block = (count + N - 1) / N; block-- > 0;) {
      const uint32_t here = bits(load<V>(ratios + block * N) >= top);
      if (here != 0) {
        found.at = block * N + 31 - static_cast<size_t>(__builtin_clz(here));
        break;
      }
    }
  }
  return found;
}

template <int N>
float energy(const float *x, size_t count) {
  return dot_with<N>(x, count, [x](size_t t) { return load<Lanes<float, N>>(x + t); });
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

// What each of the first kStep samples of excitation and of the last samples of sound gives to kStep samples.
template <int N>
CR_LANE void spread(Synthesis &sound) {
  using V = Lanes<float, N>;
  constexpr int kSteps = static_cast<int>(kStep);
  for (int k = 0; k < kSteps; ++k) {
    for (int at = 0; at < kSteps; at += N) {
      store(sound.driven[k] + at, load<V>(sound.response + kSteps - k + at));
    }
  }
  // y[-j] comes back through a[j], a[j + 1] one sample later, and so on; the response is what follows of each.
  const int rows = (sound.order + 3) / 4 * 4;
  if constexpr (N == 16) {
    // What y[-j] gives is what y[-j - 1] gives, one sample later, and a[j] more.
    V sum = splat<V>(0.0f);
    const V response = load<V>(sound.driven[0]);
    for (int j = rows; j >= 1; --j) {
      if (j <= sound.order) {
        sum = follow<15>(splat<V>(0.0f), sum) - splat<V>(sound.coefficients[j]) * response;
      }
      store(sound.free[j - 1], sum);
    }
  } else {
    for (int j = 1; j <= rows; ++j) {
      for (int at = 0; at < kSteps; at += N) {
        V sum = splat<V>(0.0f);
        const int most = sound.order - j < at + N - 1 ? sound.order - j : at + N - 1;
        for (int i = most; i >= 0; --i) {
          sum = sum - splat<V>(sound.coefficients[j + i]) * load<V>(sound.driven[i] + at);
        }
        store(sound.free[j - 1] + at, sum);
      }
    }
  }
}

#if defined(CR_AVX512)
// drive(): the second half of the excitation gives nothing to the first half of the sound, so half a register is
// enough for it.
CR_LANE void drive_by_halves(const Synthesis &sound, float *y) {
  constexpr int kSteps = static_cast<int>(kStep), kHalf = kSteps / 2;
  __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
#pragma GCC unroll 4
  for (int k = 0; k < kHalf; k += 2) {
    for (int part = 0; part < 2; ++part) {
      const __m512 row = _mm512_load_ps(sound.driven[k + part]);
      sums[part] = _mm512_add_ps(sums[part], _mm512_mul_ps(_mm512_set1_ps(y[k + part]), row));
    }
  }
  __m256 halves[2] = {_mm512_extractf32x8_ps(sums[0], 1), _mm512_extractf32x8_ps(sums[1], 1)};
#pragma GCC unroll 4
  for (int k = kHalf; k < kSteps; k += 2) {
    for (int part = 0; part < 2; ++part) {
      const __m256 row = _mm256_load_ps(sound.driven[k + part] + kHalf);
      halves[part] = _mm256_add_ps(halves[part], _mm256_mul_ps(_mm256_set1_ps(y[k + part]), row));
    }
  }
  const __m512 first = _mm512_add_ps(sums[0], sums[1]);
  _mm512_storeu_ps(y, _mm512_insertf32x8(first, _mm256_add_ps(halves[0], halves[1]), 1));
}
#endif

// What the excitation gives, kStep samples by themselves, as if silence came before them.
template <int N>
CR_LANE void drive(const Synthesis &sound, float *y) {
#if defined(CR_AVX512)
  if constexpr (N == 16) {
    drive_by_halves(sound, y);
    return;
  }
#endif
  using V = Lanes<float, N>;
  constexpr int kSteps = static_cast<int>(kStep);
  // The later samples first: they still find the excitation of the earlier ones.
  for (int at = kSteps - N; at >= 0; at -= N) {
    V sums[2] = {splat<V>(0.0f), splat<V>(0.0f)};
#pragma GCC unroll 8
    for (int k = 0; k < (at + N < 2 ? 2 : at + N); k += 2) {
      for (int part = 0; part < 2; ++part) {
        sums[part] = sums[part] + splat<V>(y[k + part]) * load<V>(sound.driven[k + part] + at);
      }
    }
    store(y + at, sums[0] + sums[1]);
  }
}

// And what the sound before them gives: only that waits for it. kOrder, or 0 for any.
template <int N, int kOrder>
class Free {
 public:
  CR_LANE explicit Free(const Synthesis &sound) : sound_(sound) {
    if constexpr (kHeld) {
#pragma GCC unroll 32
      for (int j = 0; j < kOrder; ++j) {
        rows_[j] = load<V>(sound.free[j]);
      }
    }
  }

  CR_LANE void step(float *y) const {
    const int order = kOrder > 0 ? kOrder : sound_.order;
    V all[kVectors];
    for (int i = 0; i < kVectors; ++i) {
      V sums[4];
      for (int part = 0; part < 4; ++part) {
        sums[part] = splat<V>(y[-1 - part]) * row(part, i);
      }
#pragma GCC unroll 5
      for (int j = 4; j < order; j += 4) {
#pragma GCC unroll 4
        for (int part = 0; part < 4; ++part) {
          sums[part] = sums[part] + splat<V>(y[-1 - j - part]) * row(j + part, i);
        }
      }
      all[i] = load<V>(y + i * N) + ((sums[0] + sums[2]) + (sums[1] + sums[3]));
    }
    // Between steps, so that a filter on the edge of stability cannot run away.
    for (int i = 0; i < kVectors; ++i) {
      store(y + i * N, max(min(all[i], splat<V>(32767.0f)), splat<V>(-32768.0f)));
    }
  }

 private:
  using V = Lanes<float, N>;
  static constexpr int kVectors = static_cast<int>(kStep) / N;
  // All in registers, of two sounds.
  static constexpr bool kHeld = N == 16 && kOrder == 12;

  CR_LANE V row(int j, int i) const {
    if constexpr (kHeld) {
      return rows_[j];
    } else {
      return load<V>(sound_.free[j] + i * N);
    }
  }

  const Synthesis &sound_;
  V rows_[kHeld ? kOrder : 1];
};

// The excitation is a step ahead of the sound, so that what need not wait fills the time of what must.
template <int N, int kOrder>
CR_LANE void go_on(const Synthesis &first, const Synthesis *second, size_t count) {
  const Synthesis &last = second == nullptr ? first : *second;
  const Free<N, kOrder> left(first), right(last);
  float *left_y = first.y, *right_y = last.y;
  drive<N>(first, left_y);
  if (second != nullptr) {
    drive<N>(last, right_y);
  }
  for (size_t n = 0; n < count; n += kStep) {
    const bool more = n + kStep < count;
    if (more) {
      drive<N>(first, left_y + n + kStep);
    }
    if (more && second != nullptr) {
      drive<N>(last, right_y + n + kStep);
    }
    left.step(left_y + n);
    if (second != nullptr) {
      right.step(right_y + n);
    }
  }
}

template <int N>
void synthesise(Synthesis *const *sounds, size_t sound_count, size_t count) {
  if (sound_count == 0 || count == 0) {
    return;
  }
  for (size_t s = 0; s < sound_count; ++s) {
    spread<N>(*sounds[s]);
  }
  const Synthesis *second = sound_count > 1 ? sounds[1] : nullptr;
  if (sounds[0]->order == 12) {
    go_on<N, 12>(*sounds[0], second, count);
  } else if (N < 16 && sounds[0]->order == 20) {
    go_on<N, 20>(*sounds[0], second, count);
  } else {
    go_on<N, 0>(*sounds[0], second, count);
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
  return {isa,          reverse_copy,  widen,         window,           filter<N>,  width,     pair_up,
          correlate<N>, energies<N>,   likest<N>,     autocorrelate<N>, predict<N>, energy<N>, repeat<N>,
          excite<N>,    synthesise<N>, cross_fade<N>, fade<N>,          reverse};
}

}  // namespace

CR_DEFINE_KERNELS(ConcealKernel, conceal, kernel<kWidth32>, kernel<1>)

}  // namespace callreplay::CR_ISA
