// G.729 3.2.4, 4.1.1, 4.4.1, B.4.2: line spectral frequencies from speech, lost and SID frames, and the two
// prediction filters of the frame.
#pragma once

#include "decode/g729/state.h"

namespace callreplay::CR_ISA::g729 {

// The codebook vector b, Q13, before spacing.
template <class V>
CR_LANE void lsf_codebooks(V row1, V row2_lower, V row2_upper, V *b) {
  const V five = splat<V>(5);
  const RowsOf<V> first(tables::kLsfRows1.at, mul16(row1, five)),
      lower(tables::kLsfRows2.at, mul16(row2_lower, five)),
      upper(tables::kLsfRows2.at, mul16(row2_upper, five));
  for (int i = 0; i < 5; ++i) {
    V second = i < 2 ? lower.at(i) : upper.at(i);
    if (i == 2) {
      second = cross(second, lower.at(i));
    }
    const V both = adds16(first.at(i), second);
    b[2 * i] = low(both);
    b[2 * i + 1] = high(both);
  }
}

// N1: b stays in [-917, 25756] for every codeword, so nothing here saturates.
template <class V>
CR_LANE void lsf_space(V *b, int gap, MaskOf<V> where) {
  for (int j = 1; j < 10; ++j) {
    V t = max(sar<1>(b[j - 1] - b[j] + splat<V>(gap)), splat<V>(0));
    t = select(where, t, splat<V>(0));
    b[j - 1] = b[j - 1] - t;
    b[j] = b[j] + t;
  }
}

template <class V>
CR_LANE void lsf_stabilise(V *w) {
  for (int j = 0; j < 9; ++j) {
    const V smaller = min(w[j], w[j + 1]);
    w[j + 1] = max(w[j], w[j + 1]);
    w[j] = smaller;
  }
  w[0] = max(w[0], splat<V>(40));
  for (int j = 0; j < 9; ++j) {
    const auto close = w[j + 1] - w[j] < splat<V>(321);
    w[j + 1] = select(close, min(w[j] + splat<V>(321), splat<V>(32767)), w[j + 1]);
  }
  w[9] = min(w[9], splat<V>(25681));
}

template <class V>
CR_LANE MaskOf<V> lsf_in_box(const V *w) {
  V outside = splat<V>(0);  // negative as soon as one bound is crossed
  for (int j = 0; j < 10; ++j) {
    outside = outside | (w[j] - splat<V>(tables::kLsfBoxLow[j])) | (splat<V>(tables::kLsfBoxHigh[j]) - w[j]);
  }
  return !(outside < splat<V>(0));
}

// The lanes are stabilised, so every w[j] >= 0.
template <class V>
CR_LANE void lsf_to_lsp(const V *w, V *lsp) {
  for (int j = 0; j < 10; ++j) {
    const V f = sar<15>(madd(w[j], splat<V>(20861)));
    const V entry = look_up(tables::kCosine.at, min(sar<8>(f), splat<V>(63)));
    lsp[j] = clamp16(high(entry) + sar<12>(madd(entry, f & splat<V>(255))));
  }
}

// 4.4.1: the vector that would have given prev_lsf, with every saturation, for lanes that lost their frame.
template <class V>
void lsf_of_lost(const State<V::kLanes> &state, V *b) {
  const auto mode1 = row<V>(state, kPrevMode) == splat<V>(1);
  for (int j = 0; j < 10; ++j) {
    V sum = shl<16>(row<V>(state, kPrevLsf + j));
    for (int k = 0; k < 4; ++k) {
      const V tap = select(mode1, splat<V>(tables::kLsfMa[1][k][j]), splat<V>(tables::kLsfMa[0][k][j]));
      sum = lmsu(sum, row<V>(state, kLsfMem + 10 * k + j), tap);
    }
    const V inverse =
        select(mode1, splat<V>(tables::kLsfMaSumInverse[1][j]), splat<V>(tables::kLsfMaSumInverse[0][j]));
    const V scaled = lmul(sar<16>(sum), inverse);
    b[j] = sar<16>(shl<3>(clamp(scaled, -(1 << 28), (1 << 28) - 1)));
  }
}

// N2: b and any int16 memory together stay below 2^31, so w = sum >> 15.
template <bool kWithSid, class V>
CR_LANE void lsf_compose(const State<V::kLanes> &state, MaskOf<V> sid, MaskOf<V> mode1, const V *b, V *w) {
  for (int j = 0; j < 10; ++j) {
    V sum = splat<V>(0);
    for (int k = 0; k < 5; ++k) {
      V tap = splat<V>(tables::kMaEntries.at[1][j][k]);
      if constexpr (kWithSid) {
        tap = select(sid, splat<V>(tables::kMaEntries.at[2][j][k]), tap);
      }
      tap = select(mode1, tap, splat<V>(tables::kMaEntries.at[0][j][k]));
      sum = sum + madd(k < 4 ? row<V>(state, kLsfMem + 10 * k + j) : b[j] & splat<V>(0xFFFF), tap);
    }
    w[j] = sar<15>(sum);
  }
}

// One of the two polynomials of 3.2.6, Q24: f[0..5] from p[0], p[2] ... p[8]. Checked: with every saturation.
template <bool kChecked, class V>
CR_LANE void lsp_polynomial(const V *p, V *f) {
  f[0] = splat<V>(1 << 24);
  f[1] = splat<V>(0) - shl<10>(p[0]);
  for (int i = 2; i <= 5; ++i) {
    const V q = p[2 * (i - 1)];
    f[i] = f[i - 2];
    for (int j = i; j >= 2; --j) {
      const V lower = sar<15>(madd(shr<1>(f[j - 1]) & splat<V>(0x7FFF), q));
      if constexpr (kChecked) {
        const V t = sadd(lmul(sar<16>(f[j - 1]), q), shl<1>(lower));
        f[j] = ssub(sadd(f[j], f[j - 2]), sadd(t, t));
      } else {
        f[j] = f[j] + f[j - 2] - shl<2>(madd(shr<16>(f[j - 1]), q) + lower);
      }
    }
    f[1] = kChecked ? ssub(f[1], shl<10>(q)) : f[1] - shl<10>(q);
  }
}

template <bool kChecked, class V>
CR_LANE void lsp_to_a(const V *lsp, V *a) {
  V f1[6], f2[6];
  lsp_polynomial<kChecked>(lsp, f1);
  lsp_polynomial<kChecked>(lsp + 1, f2);
  a[0] = splat<V>(4096);
  for (int i = 5; i >= 1; --i) {
    const V even = kChecked ? sadd(f1[i], f1[i - 1]) : f1[i] + f1[i - 1];
    const V odd = kChecked ? ssub(f2[i], f2[i - 1]) : f2[i] - f2[i - 1];
    const V sum = kChecked ? sadd(even, odd) : even + odd;
    const V difference = kChecked ? ssub(even, odd) : even - odd;
    // Rounded shift by 13; the result wraps to 16 bits, it does not saturate.
    a[i] = low(sar<1>(sar<12>(sum) + splat<V>(1)));
    a[11 - i] = low(sar<1>(sar<12>(difference) + splat<V>(1)));
  }
}

template <bool kChecked, class V>
__attribute__((noinline)) void lsp_filters(const V *middle, const V *last, Work<V> &work) {
  lsp_to_a<kChecked>(middle, work.a[0]);
  lsp_to_a<kChecked>(last, work.a[1]);
}

// Interpolation of 3.2.5 between lsp_old and `lsp`, then both filters; lsp_old := lsp. G6
// decides the arithmetic.
template <class V>
CR_LANE void lsp_interpolate(State<V::kLanes> &state, Work<V> &work, const V *lsp, V in_box) {
  V middle[10];
  for (int j = 0; j < 10; ++j) {
    middle[j] = sar<1>(lsp[j]) + sar<1>(row<V>(state, kLspOld + j));
    put(state, kLspOld + j, lsp[j]);
  }
  const V both = in_box & row<V>(state, kLspOldInBox);
  put(state, kLspOldInBox, in_box);
  if (all(both == splat<V>(1))) {
    lsp_filters<false>(middle, lsp, work);
  } else {
    lsp_filters<true>(middle, lsp, work);
  }
}

// Untransmitted frames leave the memory of the predictor alone.
template <class V>
CR_LANE void push_lsf(State<V::kLanes> &state, const Work<V> &work, const V *b) {
  const auto moved = work.good | work.lost | work.sid;
  const bool all_move = all(moved);
  for (int r = kLsfMem + 39; r >= kLsfMem; --r) {
    const V newer = r >= kLsfMem + 10 ? row<V>(state, r - 10) : b[r - kLsfMem];
    put(state, r, all_move ? newer : select(moved, newer, row<V>(state, r)));
  }
}

// The LSF and filters of the frame, whatever each lane's type is.
template <class V>
__attribute__((noinline)) void decode_filters(State<V::kLanes> &state, Work<V> &work) {
  const V first = work.words[0];
  const V l0 = field<31, 1>(first);
  const auto mode1 = l0 == splat<V>(1);
  V row1 = field<24, 7>(first), lower = field<19, 5>(first), upper = field<14, 5>(first);
  if (work.any_noisy) {
    row1 = select(work.sid, look_up(tables::kSidRows1.at, field<26, 5>(first)), row1);
    const V rows2 = look_up(tables::kSidRows2.at, field<22, 4>(first));
    lower = select(work.sid, low(rows2), lower);
    upper = select(work.sid, high(rows2), upper);
  }
  V b[10], w[10], lsp[10];
  lsf_codebooks(row1, lower, upper, b);
  lsf_space(b, 10, work.good | work.sid);
  lsf_space(b, 5, work.good);
  if (any(work.sid)) {
    lsf_compose<true>(state, work.sid, mode1, b, w);
  } else {
    lsf_compose<false>(state, work.sid, mode1, b, w);
  }
  lsf_stabilise(w);
  if (work.any_lost) {
    V lost[10];
    lsf_of_lost(state, lost);
    for (int j = 0; j < 10; ++j) {
      b[j] = select(work.lost, lost[j], b[j]);
      w[j] = select(work.lost, row<V>(state, kPrevLsf + j), w[j]);
    }
  }
  lsf_to_lsp(w, lsp);
  const V one = splat<V>(1), none = splat<V>(0);
  V in_box = select(lsf_in_box(w), one, none);

  push_lsf(state, work, b);
  for (int j = 0; j < 10; ++j) {
    put(state, kPrevLsf + j, w[j], work.good);
  }
  put(state, kPrevMode, l0, work.good);
  if (work.any_noisy) {
    put(state, kLspSidInBox, in_box, work.sid);
    in_box = select(work.noisy, row<V>(state, kLspSidInBox), in_box);
    for (int j = 0; j < 10; ++j) {
      put(state, kLspSid + j, lsp[j], work.sid);
      lsp[j] = select(work.noisy, row<V>(state, kLspSid + j), lsp[j]);
    }
  }
  lsp_interpolate(state, work, lsp, in_box);
}

}  // namespace callreplay::CR_ISA::g729
