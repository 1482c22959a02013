// Linear prediction: autocorrelation, Levinson-Durbin, line spectral pairs and their quantisation.
#pragma once

#include "encode/speex/filters.h"

namespace callreplay::CR_ISA {

inline constexpr float kPi = 3.14159265358979f;
inline constexpr int kWindow = 200;

// r[0..N] of the windowed samples. `tail` is 16 or more: the sums of all lags run over the same range of n,
// with zeros before the first sample.
template <int N, class V, class W>
inline void autocorrelation(const V *samples, V (&r)[N + 1]) {
  // reversed[kWindow - 1 - n] = windowed sample n, zeros behind; lag k reads neighbours at distance k.
  V reversed[kWindow + 32];
  for (int n = 0; n < kWindow; ++n) {
    reversed[kWindow - 1 - n] = samples[n] * splat<V>(speex::kLpcWindow[n]);
  }
  for (int n = kWindow; n < kWindow + 32; ++n) {
    reversed[n] = splat<V>(0.0f);
  }
  constexpr int kGroups = (N + 1 + kStep<V, W> - 1) / kStep<V, W>;
  W sum[kGroups];
  for (W &s : sum) {
    s = splat<W>(0.0f);
  }
  for (int n = 0; n < kWindow; ++n) {
    const W x = against<V, W>(reversed[n]);
#pragma GCC unroll 16
    for (int g = 0; g < kGroups; ++g) {
      sum[g] += x * neighbours<V, W>(reversed + n + g * kStep<V, W>);
    }
  }
  V lags[kGroups * kStep<V, W>];
  for (int g = 0; g < kGroups; ++g) {
    put_neighbours<V, W>(lags + g * kStep<V, W>, sum[g]);
  }
  for (int k = 0; k <= N; ++k) {
    r[k] = lags[k];
  }
}

// White-noise floor, lag window and a division softened by 0.003 r[0], which conditions the filter.
template <int N, class V>
inline void levinson(V (&r)[N + 1], float floor, V (&a)[N]) {
  r[0] = (r[0] + splat<V>(10.0f)) * splat<V>(1.0002f);
  for (int k = 0; k <= N; ++k) {
    r[k] = r[k] * splat<V>(speex::kLagWindow[k]);
  }
  r[0] += splat<V>(floor);
  const V softening = splat<V>(0.003f) * r[0];
  V err = r[0];
  for (int i = 0; i < N; ++i) {
    V sum = r[i + 1];
    for (int j = 0; j < i; ++j) {
      sum += a[j] * r[i - j];
    }
    const V k = splat<V>(0.0f) - sum / (err + softening);
    a[i] = k;
    for (int j = 0; j < (i + 1) / 2; ++j) {
      const V low = a[j];
      const V high = a[i - 1 - j];
      a[j] = low + k * high;
      a[i - 1 - j] = high + k * low;
    }
    err -= k * k * err;
  }
}

// The cosine of the decoder: a polynomial with an error of about 1e-5, x in 0..pi.
template <class V>
CR_LANE V speex_cosine(V x) {
  const auto upper = x >= splat<V>(1.5707963268f);
  const V t = select(upper, splat<V>(kPi) - x, x);
  const V y = t * t;
  const V c = splat<V>(0.9999932946f) +
              y * (splat<V>(-0.4999124376f) + y * (splat<V>(0.0414877472f) - splat<V>(0.0012712095f) * y));
  return select(upper, splat<V>(0.0f) - c, c);
}

// arccos on -1..1, Abramowitz and Stegun 4.4.46, error below 1e-7.
template <class V>
CR_LANE V arccosine(V x) {
  constexpr float kTerms[8] = {1.5707963050f, -0.2145988016f, 0.0889789874f, -0.0501743046f,
                               0.0308918810f, -0.0170881256f, 0.0066700901f, -0.0012624911f};
  const V t = min(abs(x), splat<V>(1.0f));
  V p = splat<V>(kTerms[7]);
  for (int i = 6; i >= 0; --i) {
    p = p * t + splat<V>(kTerms[i]);
  }
  const V angle = sqrt(splat<V>(1.0f) - t) * p;
  return select(x < splat<V>(0.0f), splat<V>(kPi) - angle, angle);
}

// A(z) from line spectral pairs: the two products of symmetric quadratics.
template <int N, class V>
inline void lpc_from_lsp(const V (&lsp)[N], V (&a)[N]) {
  V p[N + 2], q[N + 2];
  for (int k = 0; k < N + 2; ++k) {
    p[k] = q[k] = splat<V>(0.0f);
  }
  p[0] = q[0] = splat<V>(1.0f);
#pragma GCC unroll 5
  for (int i = 0; i < N / 2; ++i) {
    const V cp = splat<V>(-2.0f) * speex_cosine(lsp[2 * i]);
    const V cq = splat<V>(-2.0f) * speex_cosine(lsp[2 * i + 1]);
    // Only the first half is computed, highest degree first; the products are palindromic.
    for (int k = i + 1; k >= 1; --k) {
      const V p2 = k >= 2 ? p[k - 2] : splat<V>(0.0f);
      const V q2 = k >= 2 ? q[k - 2] : splat<V>(0.0f);
      // Degree k = i + 1 is the middle of a product of i + 1 quadratics: its own old value is p[i
      // - 1]'s mirror.
      const V pk = k == i + 1 ? (i >= 1 ? p[i - 1] : splat<V>(0.0f)) : p[k];
      const V qk = k == i + 1 ? (i >= 1 ? q[i - 1] : splat<V>(0.0f)) : q[k];
      p[k] = pk + cp * p[k - 1] + p2;
      q[k] = qk + cq * q[k - 1] + q2;
    }
  }
  for (int k = N / 2 + 1; k <= N; ++k) {
    p[k] = p[N - k];
    q[k] = q[N - k];
  }
  for (int k = 1; k <= N; ++k) {
    a[k - 1] = (p[k] + p[k - 1] + q[k] - q[k - 1]) * splat<V>(0.5f);
  }
}

// Value at x of the polynomial with coefficients c, highest degree first.
template <int M, class V>
CR_LANE V horner(const V (&c)[M + 1], V x) {
  V y = c[0];
  for (int i = 1; i <= M; ++i) {
    y = y * x + c[i];
  }
  return y;
}

// f(x) = s_M + 2 sum of s_{M-k} T_k(x), as coefficients of powers of x, highest first. M is 4 or 5.
template <int M, class V>
CR_LANE void powers_from_chebyshev(const V (&s)[M + 1], V (&c)[M + 1]) {
  const auto k = [](float value) { return splat<V>(value); };
  if constexpr (M == 5) {
    // T5 = 16x^5 - 20x^3 + 5x, T4 = 8x^4 - 8x^2 + 1, T3 = 4x^3 - 3x, T2 = 2x^2 - 1
    c[0] = k(32.0f) * s[0];
    c[1] = k(16.0f) * s[1];
    c[2] = k(8.0f) * s[2] - k(40.0f) * s[0];
    c[3] = k(4.0f) * s[3] - k(16.0f) * s[1];
    c[4] = k(2.0f) * s[4] - k(6.0f) * s[2] + k(10.0f) * s[0];
    c[5] = s[5] - k(2.0f) * s[3] + k(2.0f) * s[1];
  } else {
    static_assert(M == 4);
    c[0] = k(16.0f) * s[0];
    c[1] = k(8.0f) * s[1];
    c[2] = k(4.0f) * s[2] - k(16.0f) * s[0];
    c[3] = k(2.0f) * s[3] - k(6.0f) * s[1];
    c[4] = s[4] - k(2.0f) * s[2] + k(2.0f) * s[0];
  }
}

// The M roots of one polynomial in decreasing x. Returns how many cells of the grid hold a sign change.
template <int M, class V>
inline IntOf<V> roots_on_grid(const V (&c)[M + 1], V (&root)[M]) {
  using speex::kRootCells;
  using speex::kRootGrid;
  constexpr int kHalvings = 5;
  V left[M], right[M], f_left[M];
  for (int i = 0; i < M; ++i) {
    left[i] = right[i] = f_left[i] = splat<V>(0.0f);
  }
  const V zero = splat<V>(0.0f);
  const IntOf<V> one = splat<IntOf<V>>(1);
  IntOf<V> found = splat<IntOf<V>>(0);
  V previous = horner<M>(c, splat<V>(kRootGrid[0]));
  for (int g = 0; g < kRootCells; ++g) {
    const V value = horner<M>(c, splat<V>(kRootGrid[g + 1]));
    const auto change = ((previous < zero) & (value >= zero)) | ((previous >= zero) & (value < zero));
    // Slot 0 ends as the last root found, so the lists are read backwards below.
#pragma GCC unroll 5
    for (int i = M - 1; i > 0; --i) {
      left[i] = select(change, left[i - 1], left[i]);
      right[i] = select(change, right[i - 1], right[i]);
      f_left[i] = select(change, f_left[i - 1], f_left[i]);
    }
    left[0] = select(change, splat<V>(kRootGrid[g]), left[0]);
    right[0] = select(change, splat<V>(kRootGrid[g + 1]), right[0]);
    f_left[0] = select(change, previous, f_left[0]);
    found = found + select(change, one, splat<IntOf<V>>(0));
    previous = value;
  }
  for (int i = 0; i < M; ++i) {
    V l = left[M - 1 - i];
    V r = right[M - 1 - i];
    const V f = f_left[M - 1 - i];
    for (int step = 0; step < kHalvings; ++step) {
      const V middle = (l + r) * splat<V>(0.5f);
      const V y = horner<M>(c, middle);
      const auto same = ((y < zero) & (f < zero)) | ((y >= zero) & (f >= zero));
      l = select(same, middle, l);
      r = select(same, r, middle);
    }
    // A last step by the secant; the interval is small enough for the curve to be a line.
    const V fl = horner<M>(c, l);
    const V fr = horner<M>(c, r);
    const V slope = fr - fl;
    const auto flat = abs(slope) < splat<V>(1.0e-20f);
    const V secant = l - fl * (r - l) / select(flat, splat<V>(1.0f), slope);
    root[i] = select(flat, l, min(max(secant, r), l));
  }
  return found;
}

// Line spectral pairs of A(z), increasing. A lane in which fewer than N roots were found keeps `old`.
template <int N, class V>
inline void lsp_from_lpc(const V (&a)[N], const V (&old)[N], V (&lsp)[N]) {
  constexpr int kHalf = N / 2;
  V p[kHalf + 1], q[kHalf + 1];
  p[0] = q[0] = splat<V>(1.0f);
  for (int i = 0; i < kHalf; ++i) {
    p[i + 1] = (a[i] + a[N - 1 - i]) - p[i];
    q[i + 1] = (a[i] - a[N - 1 - i]) + q[i];
  }
  V cp[kHalf + 1], cq[kHalf + 1];
  powers_from_chebyshev<kHalf>(p, cp);
  powers_from_chebyshev<kHalf>(q, cq);
  V even[kHalf], odd[kHalf];
  const IntOf<V> half = splat<IntOf<V>>(kHalf);
  auto complete = roots_on_grid<kHalf>(cp, even) == half;
  complete = complete & (roots_on_grid<kHalf>(cq, odd) == half);
  for (int i = 0; i < kHalf; ++i) {
    lsp[2 * i] = select(complete, arccosine(even[i]), old[2 * i]);
    lsp[2 * i + 1] = select(complete, arccosine(odd[i]), old[2 * i + 1]);
  }
}

// (1 - w) previous + w current, then kept apart by `margin`: the decoder's rule, in its order.
template <int N, class V>
inline void interpolate_lsp(const V (&previous)[N], const V (&current)[N], float w, float margin,
                            V (&out)[N]) {
  const V m = splat<V>(margin);
  for (int i = 0; i < N; ++i) {
    out[i] = splat<V>(1.0f - w) * previous[i] + splat<V>(w) * current[i];
  }
  out[0] = max(out[0], m);
  out[N - 1] = min(out[N - 1], splat<V>(kPi - margin));
  for (int i = 1; i < N - 1; ++i) {
    out[i] = max(out[i], out[i - 1] + m);
    const V limit = out[i + 1] - m;
    out[i] = select(out[i] > limit, (out[i] + limit) * splat<V>(0.5f), out[i]);
  }
}

template <int N, class V>
inline void lsp_weights(const V (&lsp)[N], V (&weight)[N]) {
  for (int i = 0; i < N; ++i) {
    const V below = i == 0 ? lsp[0] : lsp[i] - lsp[i - 1];
    const V above = i == N - 1 ? splat<V>(kPi) - lsp[i] : lsp[i + 1] - lsp[i];
    weight[i] = splat<V>(10.0f) / (splat<V>(0.04f) + min(below, above));
  }
}

// Nearest of 64 rows to z (weighted squared error); subtracts it and doubles the rest for the
// next, finer stage.
template <int N, class V, class W>
inline IntOf<V> quantise_lsp_stage(const speex::SearchTable &table, V *z, const V *weight) {
  constexpr int kTagBits = 6;
  W target[N], w[N];
  for (int i = 0; i < N; ++i) {
    target[i] = against<V, W>(z[i]);
    w[i] = weight == nullptr ? splat<W>(1.0f) : against<V, W>(weight[i]);
  }
  W list[1];
  clear_list(list);
  constexpr int kBlock = block_of<V, W>(4, 64);
  for (int k = 0; k < 64; k += kBlock * kStep<V, W>) {
    W error[kBlock];
    for (int r = 0; r < kBlock; ++r) {
      error[r] = splat<W>(0.0f);
    }
#pragma GCC unroll 10
    for (int i = 0; i < N; ++i) {
#pragma GCC unroll 4
      for (int r = 0; r < kBlock; ++r) {
        const W d = target[i] - entry<V, W>(table, N, k + r * kStep<V, W>, i);
        error[r] += weight == nullptr ? d * d : w[i] * (d * d);
      }
    }
    for (int r = 0; r < kBlock; ++r) {
      insert(list, pack_tag(error[r], kTagBits, tags_from<V, W>(k + r * kStep<V, W>)));
    }
  }
  V best[1];
  reduce<V, W>(list, best);
  const IntOf<V> index = tag_of(best[0], kTagBits);
  const ChosenRow<64, V> row(table, index);
  for (int i = 0; i < N; ++i) {
    z[i] = (z[i] - row.at(i)) * splat<V>(2.0f);
  }
  return index;
}

}  // namespace callreplay::CR_ISA
