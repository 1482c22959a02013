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

// Levinson-Durbin. With a[] goes b[], a[] backwards, so that nothing is turned round on the way.
template <int N>
void predict(Synthesis *synthesis, const float *r, int order) {
  using V = Lanes<float, N>;
  constexpr int kRoom = kMaxOrder + 16;
  const int width = (order + 16) / 16 * 16;
  float *a = synthesis->coefficients;
  alignas(64) float backwards[1 + kRoom] = {};  // b[j] = a[i - j] at backwards[j + 1], i coefficients done
  alignas(64) float turned[2 * kRoom] = {};     // r[order - k] at k
  for (int k = 0; k <= order; ++k) {
    turned[k] = r[order - k];
  }
  for (float &each : synthesis->coefficients) {
    each = 0.0f;
  }
  a[0] = backwards[1] = 1.0f;
  float error = r[0];
  for (int i = 1; i <= order && error > 0; ++i) {
    // Of a[j] * r[i - j], j < i.
    V sums[16 / N];
    for (V &sum : sums) {
      sum = splat<V>(0.0f);
    }
    for (int j = 0; j < width; j += 16) {
      for (int v = 0; v < 16 / N; ++v) {
        sums[v] = sums[v] + load<V>(a + j + v * N) * load<V>(turned + order - i + j + v * N);
      }
    }
    float flat[16];
    for (int v = 0; v < 16 / N; ++v) {
      store(flat + v * N, sums[v]);
    }
    const float wanted = -add_up(flat) / error;
    const float below = wanted < 0.9999f ? wanted : 0.9999f;
    const float reflection = below > -0.9999f ? below : -0.9999f;
    const V factor = splat<V>(reflection);
    // From the top, for b[] moves up by one.
    for (int j = width - N; j >= 0; j -= N) {
      const V forward = load<V>(a + j), back = load<V>(backwards + j);
      store(a + j, forward + factor * back);
      store(backwards + 1 + j, back + factor * forward);
    }
    backwards[0] = 0.0f;
    error *= 1 - reflection * reflection;
  }
  // What an impulse gives: each sample of it takes its part from all that follow.
  constexpr int kSteps = static_cast<int>(kStep);
  alignas(64) float later[2 * kSteps] = {};  // a[] without a[0] behind kSteps zeros
  for (int j = 1; j < kSteps; ++j) {
    later[kSteps + j] = a[j];
  }
  float *response = synthesis->response;
  for (int n = 0; n < 2 * kSteps; ++n) {
    response[n] = n == kSteps ? 1.0f : 0.0f;
  }
  response += kSteps;
  for (int n = 0; n + 1 < kSteps; ++n) {
    const V given = splat<V>(response[n]);
    for (int m = 0; m < kSteps; m += N) {
      store(response + m, load<V>(response + m) - given * load<V>(later + kSteps - n + m));
    }
  }
}

void square(int32_t *__restrict y, const float *__restrict x, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    const auto whole = static_cast<int32_t>(x[n]);
    y[n] = whole * whole;
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

void excite(float *__restrict y, float gain, float noise_gain, uint32_t seed, size_t count) {
  constexpr Leap kLeap = leap(kStep);
  uint32_t seeds[kStep];
  for (size_t i = 0; i < kStep; ++i) {
    seed = seed * 1664525u + 1013904223u;
    seeds[i] = seed;
  }
  const float scale = noise_gain * 0x1p-31f;
  for (size_t n = 0; n < count; n += kStep) {
    for (size_t i = 0; i < kStep; ++i) {
      y[n + i] = gain * y[n + i] + scale * static_cast<float>(static_cast<int32_t>(seeds[i]));
      seeds[i] = seeds[i] * kLeap.factor + kLeap.rest;
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
  return {isa,        widen,  widen_back,   multiply, correlate<N>,  correlate_few<N>, autocorrelate<N>,
          predict<N>, square, normalise<N>, excite,   synthesise<N>, cross_fade<N>,    fade<N>,
          reverse};
}

}  // namespace

CR_DEFINE_KERNELS(ConcealKernel, conceal, kernel<kWidth32>, kernel<1>)

}  // namespace callreplay::CR_ISA
