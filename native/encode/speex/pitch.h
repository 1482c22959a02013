// Long-term prediction: open-loop lags, the closed-loop search for lag and three taps, and
// the prediction itself.
#pragma once

#include "encode/speex/filters.h"
#include "encode/speex/modes.h"
#include "lanes/transpose.h"

namespace callreplay::CR_ISA {

inline constexpr int kMinLag = 17;
inline constexpr int kMaxLag = 144;
inline constexpr int kLags = kMaxLag - kMinLag + 1;
// Past samples that a three-tap prediction at the longest lag reads, and one more that the decoder keeps.
inline constexpr int kHistory = 146;
inline constexpr int kLagTagBits = 7;

// Correlations of x[0..count) with x[-lag..], and energies of the latter, for all lags. Slot u holds lag 144
// - u.
template <class V>
struct LagScores {
  V correlation[kLags];
  V energy[kLags];
};

// Keeps in `best` the M lags with the largest correlation^2 / (1 + energy), as packed scores whose tag is lag
// - 17; a lag above `limit` counts as uncorrelated.
template <int M, class V, class W>
inline void rank_lags(const V *current, const V *past, int count, V limit, bool limited, LagScores<V> &scores,
                      V (&best)[M]) {
  constexpr int kBlock = kSame<V, W> ? 8 : (kStep<V, W> < 16 ? 4 : 2);
  constexpr int kWidth = kBlock * kStep<V, W>;
  static_assert(kLags % kWidth == 0);
  V energy = splat<V>(0.0f);
  for (int n = 0; n < count; ++n) {
    energy += past[n - kMinLag] * past[n - kMinLag];
  }
  W list[M];
  clear_list(list);
  // From the shortest lags on: the energies of a block, each of which waits for the one before, are worked out
  // beside its correlations.
  for (int u = kLags - kWidth; u >= 0; u -= kWidth) {
    const auto next_energy = [&](int slot) __attribute__((always_inline)) {
      const int lag = kMaxLag - slot;
      scores.energy[slot] = energy;
      const V in = past[-lag - 1];
      const V out = past[count - 1 - lag];
      energy = max(energy + in * in - out * out, splat<V>(0.0f));
    };
    W sum[kBlock];
    for (int r = 0; r < kBlock; ++r) {
      sum[r] = splat<W>(0.0f);
    }
    const V *x = past - kMaxLag + u;
    const auto correlate = [&](int first, int last) __attribute__((always_inline)) {
      for (int n = first; n < last; ++n) {
        const W s = against<V, W>(current[n]);
#pragma GCC unroll 8
        for (int r = 0; r < kBlock; ++r) {
          sum[r] += s * neighbours<V, W>(x + n + r * kStep<V, W>);
        }
      }
    };
    if constexpr (kSame<V, W>) {
      const int each = count / kWidth;
      for (int i = 0; i < kWidth; ++i) {
        next_energy(u + kWidth - 1 - i);
        correlate(i * each, (i + 1) * each);
      }
    } else {
      for (int slot = u + kWidth - 1; slot >= u; --slot) {
        next_energy(slot);
      }
      correlate(0, count);
    }
    // Unrolled, so that the sums need no addresses and stay in registers.
#pragma GCC unroll 8
    for (int r = 0; r < kBlock; ++r) {
      put_neighbours<V, W>(scores.correlation + u + r * kStep<V, W>, sum[r]);
    }
    for (int slot = u; slot < u + kWidth; slot += kStep<V, W>) {
      // Tags fall as slots rise.
      const IntOf<W> tag = kSame<V, W> ? tags_from<V, W>(kLags - 1 - slot)
                                       : splat<IntOf<W>>(kLags - 1) - tags_from<V, W>(slot);
      const W c = neighbours<V, W>(scores.correlation + slot);
      W score = splat<W>(0.0f) - c * c / (splat<W>(1.0f) + neighbours<V, W>(scores.energy + slot));
      if (limited) {
        score = select(to_float(tag) > against<V, W>(limit - splat<V>(kMinLag)), splat<W>(0.0f), score);
      }
      insert(list, pack_tag(score, kLagTagBits, tag));
    }
  }
  reduce<V, W>(list, best);
}

// Open-loop pitch over a frame: the lag, made as short as its rivals allow, and its normalised correlation.
template <class V>
struct OpenLoop {
  IntOf<V> lag;
  V gain;
};

template <class V, class W>
inline OpenLoop<V> open_loop_pitch(const V *weighted, int count) {
  constexpr int kRivals = 6;
  LagScores<V> scores;
  V best[kRivals];
  rank_lags<kRivals, V, W>(weighted, weighted, count, splat<V>(kMaxLag), false, scores, best);
  const V root0 = sqrt(dot(weighted, weighted, count));
  OpenLoop<V> out{splat<IntOf<V>>(0), splat<V>(0.0f)};
  IntOf<V> best_lag = splat<IntOf<V>>(0);
  for (int i = 0; i < kRivals; ++i) {
    const IntOf<V> tag = tag_of(best[i], kLagTagBits);
    const IntOf<V> slot = splat<IntOf<V>>(kLags - 1) - tag;
    const V c = max(splat<V>(0.0f), gather_own(scores.correlation, slot) /
                                        (splat<V>(10.0f) + root0 * sqrt(gather_own(scores.energy, slot))));
    const IntOf<V> lag = tag + splat<IntOf<V>>(kMinLag);
    if (i == 0) {
      out.gain = c;
      out.lag = best_lag = lag;
      continue;
    }
    // De-multipling: a rival at about T/2 .. T/5 with nearly the correlation of T takes its place.
    const auto strong = c > splat<V>(0.85f) * out.gain;
    for (int k = 2; k <= 5; ++k) {
      const IntOf<V> distance = lag * splat<IntOf<V>>(k) - best_lag;
      const auto multiple = (distance < splat<IntOf<V>>(k + 1)) & (distance > splat<IntOf<V>>(-k - 1));
      out.lag = select(strong & multiple, lag, out.lag);
    }
  }
  return out;
}

// The samples of a frame and before it, a row for each lane. AVX-512's gather takes 17 cycles; from rows, sixteen
// samples of sixteen lanes are there in as many.
template <class V>
struct LaneRows {
  void forget() {}
  void take(const V *, int) {}
};
#if defined(CR_AVX512)
template <>
struct LaneRows<F32> {
  static constexpr int kRow = kHistory + speex::kNarrowbandFrame + 14;  // a multiple of 16
  static_assert(kRow % 16 == 0);
  int known;
  alignas(64) float rows[F32::kLanes][kRow];

  void forget() { known = 0; }
  // samples[0] is the first of each row; `upto` of them are known now.
  void take(const F32 *samples, int upto) {
    for (int n = known / 16 * 16; n < upto; n += 16) {
      F32 tile[16];
      for (int i = 0; i < 16; ++i) {
        tile[i] = samples[n + i];
      }
      transpose(tile);
      for (int lane = 0; lane < F32::kLanes; ++lane) {
        store(rows[lane] + n, tile[lane]);
      }
    }
    known = upto;
  }
};
#endif

// What three-tap prediction reads at lag T: f(m) = e[m] for m < 0, e[m - T] for 0 <= m < T, 0 beyond. Element
// i is f(i - T - 1), so the vector for delay T - 1 + k begins at element 2 - k. `excitation` points at the
// sub-frame and has kHistory samples before it; every index read is within -145..-1.
inline constexpr int kPastWindow = kSubframe + 2;
template <class V>
inline void past_window(const V *excitation, [[maybe_unused]] const LaneRows<V> &own_rows, IntOf<V> lag,
                        V (&window)[kPastWindow]) {
#if defined(CR_AVX512)
  if constexpr (V::kLanes > 1) {
    static_assert(kPastWindow <= 48);
    alignas(64) int32_t lags[V::kLanes];
    store(lags, lag);
    F32 tiles[3][16];
    for (int lane = 0; lane < V::kLanes; ++lane) {
      const int own = lags[lane];
      const float *direct = own_rows.rows[lane] + own_rows.known - 1 - own;
      const float *wrapped = direct - (own < 48 ? own : 0);
      const uint64_t known = (uint64_t{2} << (own < 62 ? own : 62)) - 1;
      const uint64_t inside = (uint64_t{2} << (own < 31 ? 2 * own : 62)) - 1;
      const uint64_t again = inside & ~known;
#pragma GCC unroll 3
      for (int b = 0; b < 3; ++b) {
        const __m512 some = _mm512_maskz_loadu_ps(static_cast<__mmask16>(known >> (16 * b)), direct + 16 * b);
        tiles[b][lane].v =
            _mm512_mask_loadu_ps(some, static_cast<__mmask16>(again >> (16 * b)), wrapped + 16 * b);
      }
    }
    for (int b = 0; b < 3; ++b) {
      transpose(tiles[b]);
      for (int i = 0; i < 16 && 16 * b + i < kPastWindow; ++i) {
        window[16 * b + i] = tiles[b][i];
      }
    }
    return;
  }
#endif
  const V *base = excitation - kHistory;
  const IntOf<V> start = splat<IntOf<V>>(kHistory - 1) - lag;
  const IntOf<V> now = splat<IntOf<V>>(kHistory);
  // Up to the shortest of the lanes' lags all of it lies before the sub-frame.
  alignas(64) int32_t lags[V::kLanes];
  store(lags, lag);
  int shortest = kPastWindow - 1;
  for (int lane = 0; lane < V::kLanes; ++lane) {
    shortest = lags[lane] < shortest ? lags[lane] : shortest;
  }
  const RowsOf<V> own(reinterpret_cast<const float *>(base),
                      start * splat<IntOf<V>>(V::kLanes) + iota<IntOf<V>>());
  for (int i = 0; i <= shortest; ++i) {
    window[i] = own.at(i * V::kLanes);
  }
  for (int i = shortest + 1; i < kPastWindow; ++i) {
    const IntOf<V> direct = start + splat<IntOf<V>>(i);
    const auto known = direct < now;
    const IntOf<V> wrapped = direct - lag;
    const IntOf<V> index = min(select(known, direct, wrapped), splat<IntOf<V>>(kHistory - 1));
    const auto inside = known | (wrapped < now);
    window[i] = select(inside, gather_own(base, index), splat<V>(0.0f));
  }
}

// One lag under trial: its past samples, the three basis vectors filtered by W/A, and what the
// gain search needs.
template <class V>
struct LagTrial {
  IntOf<V> lag;
  V window[kPastWindow];
  V basis[3][kSubframe + 2 * kMargin];
  V terms[speex::kGainTerms];
};

template <class V, class W>
inline void try_lag(const V *excitation, const LaneRows<V> &rows, IntOf<V> lag, const V *target,
                    const Response<V> &response, LagTrial<V> &trial) {
  trial.lag = lag;
  past_window(excitation, rows, lag, trial.window);
  convolve<V, W>(trial.window + 2, response, trial.basis[0]);
  for (int k = 1; k < 3; ++k) {
    const V first = trial.window[2 - k];
    trial.basis[k][0] = response.h[0] * first;
    for (int j = 0; j < kSubframe - 1; ++j) {
      trial.basis[k][j + 1] = trial.basis[k - 1][j] + response.h[j + 1] * first;
    }
  }
  V b0, b1, b2, r00, r11, r22, r01, r12, r02;
  b0 = b1 = b2 = r00 = r11 = r22 = r01 = r12 = r02 = splat<V>(0.0f);
  for (int n = 0; n < kSubframe; ++n) {
    const V x0 = trial.basis[0][n], x1 = trial.basis[1][n], x2 = trial.basis[2][n], t = target[n];
    b0 += x0 * t;
    b1 += x1 * t;
    b2 += x2 * t;
    r00 += x0 * x0;
    r11 += x1 * x1;
    r22 += x2 * x2;
    r01 += x0 * x1;
    r12 += x1 * x2;
    r02 += x0 * x2;
  }
  const V all[9] = {b0, b1, b2, r01, r12, r02, r00, r11, r22};
  for (int i = 0; i < 9; ++i) {
    trial.terms[i] = all[i];
  }
}

// The best row of the gain table for each of `count` trials.
template <int kCount, class V, class W>
inline void search_gains(const speex::GainTable &table, const LagTrial<V> *trials, V growth_penalty,
                         bool limited, IntOf<V> (&rows)[kCount]) {
  constexpr int kTagBits = 7;
  constexpr int kBlock = block_of<V, W>(4 / kCount, 32);
  constexpr int kTerms = speex::kGainTerms;
  W list[kCount][1];
  W z[kTerms - 1][kCount];
  for (int c = 0; c < kCount; ++c) {
    clear_list(list[c]);
    for (int i = 0; i < kTerms - 1; ++i) {
      z[i][c] = against<V, W>(trials[c].terms[i]);
    }
  }
  for (int k = 0; k < table.terms.size; k += kBlock * kStep<V, W>) {
    W score[kBlock][kCount];
    // A sum that is nothing is +0 all the same: the squares are, which come last.
#pragma GCC unroll 4
    for (int r = 0; r < kBlock; ++r) {
      const W term = entry<V, W>(table.terms, kTerms, k + r * kStep<V, W>, 0);
      for (int c = 0; c < kCount; ++c) {
        score[r][c] = term * z[0][c];
      }
    }
    const auto add = [&](int i, const W(&factor)[kCount]) {
#pragma GCC unroll 4
      for (int r = 0; r < kBlock; ++r) {
        const W term = entry<V, W>(table.terms, kTerms, k + r * kStep<V, W>, i);
        for (int c = 0; c < kCount; ++c) {
          score[r][c] += term * factor[c];
        }
      }
    };
#pragma GCC unroll 9
    for (int i = 1; i < kTerms - 1; ++i) {
      add(i, z[i]);
    }
    if (limited) {
      W penalty[kCount];
      for (W &each : penalty) {
        each = against<V, W>(growth_penalty);
      }
      add(kTerms - 1, penalty);
    }
#pragma GCC unroll 4
    for (int r = 0; r < kBlock; ++r) {
      for (int c = 0; c < kCount; ++c) {
        insert(list[c], pack_tag(score[r][c], kTagBits, tags_from<V, W>(k + r * kStep<V, W>)));
      }
    }
  }
  for (int c = 0; c < kCount; ++c) {
    V best[1];
    reduce<V, W>(list[c], best);
    rows[c] = tag_of(best[0], kTagBits);
  }
}

template <class V>
struct Prediction {
  IntOf<V> lag;
  IntOf<V> row;
};

// The product of tap sums may build up to 256 times its start before only contracting rows are allowed; it
// bounds how far a decoder that lost a packet drifts away.
inline constexpr float kGrowthUnit = 1024.0f;
inline constexpr float kGrowthLimit = 262144.0f;

// Chooses the taps of each trial and the better trial; writes v, subtracts the filtered v from `target` and
// tracks the growth. Lanes with `silent` set (no past to predict from) get lag 17, row 0 and v = 0.
template <int kCount, class V, class W>
inline Prediction<V> choose_prediction(const speex::GainTable &table, const LagTrial<V> *trials,
                                       MaskOf<V> silent, V &growth, V *target, V *v) {
  const auto over = growth > splat<V>(kGrowthLimit);
  const V penalty = select(over, splat<V>(1.0e30f), splat<V>(0.0f));
  IntOf<V> rows[kCount];
  if constexpr (kOperandsOfOne && kSame<V, W>) {
    for (int c = 0; c < kCount; ++c) {
      IntOf<V> row[1];
      search_gains<1, V, W>(table, trials + c, penalty, any(over), row);
      rows[c] = row[0];
    }
  } else {
    search_gains<kCount, V, W>(table, trials, penalty, any(over), rows);
  }
  V taps[kCount][3];
  V error[kCount];
  for (int c = 0; c < kCount; ++c) {
    const V *z = trials[c].terms;
    const RowsOf<V> row(table.taps, rows[c] * splat<IntOf<V>>(3));
    for (int k = 0; k < 3; ++k) {
      taps[c][k] = row.at(k);
    }
    const V t0 = taps[c][0], t1 = taps[c][1], t2 = taps[c][2];
    const V linear = t0 * z[0] + t1 * z[1] + t2 * z[2];
    const V cross = t0 * t1 * z[3] + t1 * t2 * z[4] + t0 * t2 * z[5];
    const V square = t0 * t0 * z[6] + t1 * t1 * z[7] + t2 * t2 * z[8];
    error[c] = square + splat<V>(2.0f) * (cross - linear);
  }
  MaskOf<V> second{};
  if constexpr (kCount == 2) {
    second = error[1] < error[0];
  }
  const V zero = splat<V>(0.0f);
  const int other = kCount - 1;
  Prediction<V> out{select(second, trials[other].lag, trials[0].lag), select(second, rows[other], rows[0])};
  V t[3];
  for (int k = 0; k < 3; ++k) {
    t[k] = select(silent, zero, select(second, taps[other][k], taps[0][k]));
  }
  const auto pick = [&](V first, V last) {
    if constexpr (kCount == 2) {
      return select(second, last, first);
    } else {
      return first;
    }
  };
  const V loudest = splat<V>(32000.0f);  // where the decoder clamps
  V window[kPastWindow];
  for (int i = 0; i < kPastWindow; ++i) {
    window[i] = pick(trials[0].window[i], trials[other].window[i]);
  }
  for (int j = 0; j < kSubframe; ++j) {
    const V sum = t[0] * window[j + 2] + t[1] * window[j + 1] + t[2] * window[j];
    v[j] = min(max(sum, zero - loudest), loudest);
    V filtered = zero;
    for (int k = 0; k < 3; ++k) {
      filtered += t[k] * pick(trials[0].basis[k][j], trials[other].basis[k][j]);
    }
    target[j] -= filtered;
  }
  const V next = splat<V>(0.03125f) * max(splat<V>(kGrowthUnit), growth) * gather(table.growth, out.row);
  growth = select(silent, growth, next);
  out.lag = select(silent, splat<IntOf<V>>(kMinLag), out.lag);
  out.row = select(silent, splat<IntOf<V>>(0), out.row);
  return out;
}

// Single tap: v[j] = g e[j - T], continuing with v itself. Sub-modes 1 and 8. `excitation` is
// written in place.
template <class V>
inline void predict_single_tap(V *excitation, IntOf<V> lag, V gain, V *v) {
  const V *base = excitation - kHistory;
  for (int j = 0; j < kSubframe; ++j) {
    const V past = gather_own(base, splat<IntOf<V>>(kHistory + j) - lag);
    excitation[j] = v[j] = gain * past;
  }
}

}  // namespace callreplay::CR_ISA
