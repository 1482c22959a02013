// The filters of the coder. All that the decoder runs as well are in transposed direct form II: its states
// are carried across the switch of coefficients at a sub-frame, and another form tracks the decoder only to
// 26 dB.
#pragma once

#include "encode/speex/search.h"

namespace callreplay::CR_ISA {

inline constexpr int kSubframe = 40;

// Keeps a carried value out of the denormals, and turns what an overflow left into silence. The bounds are
// far outside what audio in 16-bit units reaches: |y| <= 32767 times the gain of a stabilised filter.
template <class V>
CR_LANE V sane(V a) {
  const V size = abs(a);
  return select((size > splat<V>(1.0e-8f)) & (size < splat<V>(1.0e9f)), a, splat<V>(0.0f));
}

template <class V, int N>
CR_LANE void sanitise(V (&state)[N]) {
  for (int i = 0; i < N; ++i) {
    state[i] = sane(state[i]);
  }
}

// y = x filtered by A(z) = 1 + a_1 z^-1 + ...
template <int N, class V>
inline void filter_fir(const V *x, const V (&a)[N], V (&state)[N], V *y, int count) {
  V m[N];
  for (int j = 0; j < N; ++j) {
    m[j] = state[j];
  }
  for (int n = 0; n < count; ++n) {
    const V in = x[n];
    y[n] = in + m[0];
#pragma GCC unroll 16
    for (int j = 0; j < N - 1; ++j) {
      m[j] = m[j + 1] + a[j] * in;
    }
    m[N - 1] = a[N - 1] * in;
  }
  for (int j = 0; j < N; ++j) {
    state[j] = m[j];
  }
}

// y = x filtered by 1 / A(z).
template <int N, class V>
inline void filter_iir(const V *x, const V (&a)[N], V (&state)[N], V *y, int count) {
  V m[N];
  for (int j = 0; j < N; ++j) {
    m[j] = state[j];
  }
  for (int n = 0; n < count; ++n) {
    const V out = x[n] + m[0];
    y[n] = out;
#pragma GCC unroll 16
    for (int j = 0; j < N - 1; ++j) {
      m[j] = m[j + 1] - a[j] * out;
    }
    m[N - 1] = splat<V>(0.0f) - a[N - 1] * out;
  }
  for (int j = 0; j < N; ++j) {
    state[j] = m[j];
  }
}

// y = x filtered by B(z) / A(z), both with a leading 1.
template <int N, class V>
inline void filter_pole_zero(const V *x, const V (&b)[N], const V (&a)[N], V (&state)[N], V *y, int count) {
  V m[N];
  for (int j = 0; j < N; ++j) {
    m[j] = state[j];
  }
  for (int n = 0; n < count; ++n) {
    const V in = x[n];
    const V out = in + m[0];
    y[n] = out;
#pragma GCC unroll 16
    for (int j = 0; j < N - 1; ++j) {
      m[j] = m[j + 1] + b[j] * in - a[j] * out;
    }
    m[N - 1] = b[N - 1] * in - a[N - 1] * out;
  }
  for (int j = 0; j < N; ++j) {
    state[j] = m[j];
  }
}

// a_k * gamma^k
template <int N, class V>
CR_LANE void bandwidth_expand(const V (&a)[N], float gamma, V (&out)[N]) {
  float power = gamma;
  for (int k = 0; k < N; ++k) {
    out[k] = a[k] * splat<V>(power);
    power *= gamma;
  }
}

// An impulse response with zeros before and after it, so that a group of candidates may read past both ends.
inline constexpr int kMargin = 16;
template <class V>
struct Response {
  V before[kMargin];
  V h[kSubframe];
  V after[kMargin + 24];
};

// h = impulse response of B(z) / (C(z) A(z)) over one sub-frame.
template <int N, class V>
inline void impulse_response(const V (&b)[N], const V (&c)[N], const V (&a)[N], Response<V> &out) {
  // After the pulse nothing comes in: what of it is still to come out is the state of 1 / C(z).
  V state[N];
  for (int j = 0; j < N; ++j) {
    state[j] = b[j] - c[j];
  }
  out.h[0] = splat<V>(1.0f);
  for (int n = 1; n < kSubframe; ++n) {
    out.h[n] = splat<V>(0.0f);
  }
  filter_iir(out.h + 1, c, state, out.h + 1, kSubframe - 1);
  for (int j = 0; j < N; ++j) {
    state[j] = splat<V>(0.0f);
  }
  filter_iir(out.h, a, state, out.h, kSubframe);
  for (int n = 0; n < kMargin; ++n) {
    out.before[n] = splat<V>(0.0f);
  }
  for (V &v : out.after) {
    v = splat<V>(0.0f);
  }
}

// y[j] = sum over i <= j of u[i] h[j - i], one sub-frame; y has room for kMargin more.
template <class V, class W>
inline void convolve(const V *u, const Response<V> &response, V *y) {
  constexpr int kBlock = kSame<V, W> ? 8 : 1;
  constexpr int kWidth = kBlock * kStep<V, W>;
  const V *h = response.h;
  for (int j = 0; j < kSubframe; j += kWidth) {
    W sum[kBlock];
    for (int r = 0; r < kBlock; ++r) {
      sum[r] = splat<W>(0.0f);
    }
    // With a lane per stream the last products of a block, of what is before the response, are left out.
    const int whole = kSame<V, W> ? j : (j + kWidth < kSubframe ? j + kWidth : kSubframe);
    for (int i = 0; i < whole; ++i) {
      const W scale = against<V, W>(u[i]);
#pragma GCC unroll 8
      for (int r = 0; r < kBlock; ++r) {
        sum[r] += scale * neighbours<V, W>(h + j + r * kStep<V, W> - i);
      }
    }
    if constexpr (kSame<V, W>) {
#pragma GCC unroll 8
      for (int i = 0; i < kBlock; ++i) {
#pragma GCC unroll 8
        for (int r = i; r < kBlock; ++r) {
          sum[r] += u[j + i] * h[r - i];
        }
      }
    }
    for (int r = 0; r < kBlock; ++r) {
      put_neighbours<V, W>(y + j + r * kStep<V, W>, sum[r]);
    }
  }
}

template <class V>
CR_LANE V dot(const V *a, const V *b, int count) {
  V sum = splat<V>(0.0f);
  for (int n = 0; n < count; ++n) {
    sum += a[n] * b[n];
  }
  return sum;
}

// sqrt(0.1 + mean square): the rms of the bitstream's gains.
template <class V>
CR_LANE V rms(const V *x, int count) {
  return sqrt(splat<V>(0.1f) + dot(x, x, count) * splat<V>(1.0f / static_cast<float>(count)));
}

// How many of the ascending `bounds` the value exceeds.
template <class V>
CR_LANE IntOf<V> count_exceeded(V value, const float *bounds, int count) {
  IntOf<V> exceeded = splat<IntOf<V>>(0);
  for (int i = 0; i < count; ++i) {
    exceeded = exceeded + select(value > splat<V>(bounds[i]), splat<IntOf<V>>(1), splat<IntOf<V>>(0));
  }
  return exceeded;
}

}  // namespace callreplay::CR_ISA
