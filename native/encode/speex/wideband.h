// The wideband coder: a QMF split, the narrowband coder on the low band and a thin layer for the high band.
#pragma once

#include "encode/speex/narrowband.h"

namespace callreplay::CR_ISA {

inline constexpr int kHighOrder = 8;
inline constexpr int kQmfTaps = 64;
inline constexpr float kHighLspMargin = 0.05f;

template <class V>
struct WidebandState {
  NarrowbandState<V> low;
  V qmf[kQmfTaps - 1];
  V window[kSubframe];
  V old_lsp[kHighOrder], old_quantised[kHighOrder], last_filter[kHighOrder];
  V synthesis[kHighOrder], residual[kHighOrder];
  V first;
};

template <class V>
struct WidebandFrame {
  NarrowbandFrame<V> low;
  V high[kFrame];
  V high_lsp[kHighOrder];
  V high_rms, low_rms;
};

template <class V>
inline void reset_wideband(WidebandState<V> &state) {
  V *all = reinterpret_cast<V *>(&state);
  for (size_t i = 0; i < sizeof state / sizeof(V); ++i) {
    all[i] = splat<V>(0.0f);
  }
  reset_narrowband(state.low);
  for (int i = 0; i < kHighOrder; ++i) {
    state.old_lsp[i] = splat<V>(kPi * static_cast<float>(i + 1) / static_cast<float>(kHighOrder + 1));
  }
  state.first = splat<V>(1.0f);
}

// `x` holds 63 past samples and 320 new ones. The taps of odd and of even number are summed apart: the low
// band is their sum, the high band their difference.
template <class V>
inline void split_bands(const V *x, V *low, V *high) {
  constexpr int kBlock = 4;
  for (int k = 0; k < kFrame; k += kBlock) {
    V even[kBlock], odd[kBlock];
    for (int r = 0; r < kBlock; ++r) {
      even[r] = odd[r] = splat<V>(0.0f);
    }
    for (int n = 0; n < kQmfTaps; n += 2) {
      const V h_even = splat<V>(speex::kQmfH0[n]);
      const V h_odd = splat<V>(speex::kQmfH0[n + 1]);
#pragma GCC unroll 4
      for (int r = 0; r < kBlock; ++r) {
        even[r] += h_even * x[2 * (k + r) + n];
        odd[r] += h_odd * x[2 * (k + r) + n + 1];
      }
    }
    for (int r = 0; r < kBlock; ++r) {
      low[k + r] = odd[r] + even[r];
      high[k + r] = odd[r] - even[r];
    }
  }
}

// `in` holds 320 new samples.
template <class V, class W>
inline void analyse_wideband(WidebandState<V> &state, WidebandFrame<V> &frame, const V *in, bool open_loop) {
  V x[kQmfTaps - 1 + 2 * kFrame], low[kFrame], high[kFrame];
  for (int n = 0; n < kQmfTaps - 1; ++n) {
    x[n] = state.qmf[n];
    state.qmf[n] = in[2 * kFrame - (kQmfTaps - 1) + n];
  }
  for (int n = 0; n < 2 * kFrame; ++n) {
    x[kQmfTaps - 1 + n] = in[n];
  }
  split_bands(x, low, high);
  frame.high_rms = rms(high, kFrame);
  frame.low_rms = rms(low, kFrame);
  V window[kWindow];
  for (int n = 0; n < kSubframe; ++n) {
    window[n] = state.window[n];
    state.window[n] = high[kFrame - kSubframe + n];
  }
  for (int n = 0; n < kFrame; ++n) {
    window[kSubframe + n] = high[n];
    frame.high[n] = window[n];
  }
  V r[kHighOrder + 1], a[kHighOrder];
  autocorrelation<kHighOrder, V, W>(window, r);
  levinson<kHighOrder>(r, 0.0f, a);
  lsp_from_lpc<kHighOrder>(a, state.old_lsp, frame.high_lsp);
  for (int i = 0; i < kHighOrder; ++i) {
    state.old_lsp[i] = select(is_set(state.first), frame.high_lsp[i], state.old_lsp[i]);
  }
  analyse_narrowband<V, W>(state.low, frame.low, low, true, open_loop);
}

template <class V, class W>
inline void quantise_high_lsp(const V (&lsp)[kHighOrder], Fields<V> &fields, V (&quantised)[kHighOrder]) {
  V weight[kHighOrder], z[kHighOrder];
  lsp_weights<kHighOrder>(lsp, weight);
  for (int i = 0; i < kHighOrder; ++i) {
    quantised[i] = splat<V>(0.3125f * static_cast<float>(i) + 0.75f);
    z[i] = splat<V>(256.0f) * (lsp[i] - quantised[i]);
  }
  const V *none = nullptr;
  const IntOf<V> first = quantise_lsp_stage<8, V, W>(speex::kLspHigh1, z, none);
  const IntOf<V> second = quantise_lsp_stage<8, V, W>(speex::kLspHigh2, z, weight);
  fields.put(first, 6);
  fields.put(second, 6);
  const IntOf<V> eight = splat<IntOf<V>>(kHighOrder);
  for (int i = 0; i < kHighOrder; ++i) {
    quantised[i] += splat<V>(0.0039062f) * gather(speex::kLspHigh1.rows, first * eight + splat<IntOf<V>>(i)) +
                    splat<V>(0.0019531f) * gather(speex::kLspHigh2.rows, second * eight + splat<IntOf<V>>(i));
  }
}

template <class V, class W>
inline void code_high_subframe(WidebandState<V> &state, const WidebandFrame<V> &frame,
                               const speex::HighbandMode &mode, int s, const LowBand<V> &low,
                               const SubframeFilters<kHighOrder, V> &filters, Fields<V> &fields) {
  const V *x = frame.high + s * kSubframe;
  V residual[kSubframe], out[kSubframe];
  const V one = splat<V>(1.0f);
  V at_4khz = one;
  for (int k = 0; k < kHighOrder; ++k) {
    at_4khz += splat<V>(k % 2 == 0 ? -1.0f : 1.0f) * filters.quantised[k];
  }
  const V ratio = (low.at_4khz[s] + splat<V>(0.01f)) / (at_4khz + splat<V>(0.01f));
  filter_fir<kHighOrder>(x, filters.quantised, state.residual, residual, kSubframe);
  sanitise(state.residual);
  const V energy = rms(residual, kSubframe);
  if (mode.folding) {
    const V gain = ratio * energy / (one + low.innovation_rms[s]);
    fields.put(count_exceeded(gain, speex::kFoldGainBound, 31), 5);
    // The folded signal is not matched sample by sample: the filter follows the original.
    filter_iir<kHighOrder>(residual, filters.quantised, state.synthesis, out, kSubframe);
    sanitise(state.synthesis);
    return;
  }
  const V gain = ratio * (one + energy) / (one + low.excitation_rms[s]);
  const IntOf<V> q = count_exceeded(gain, speex::kHighGainBound, 15);
  fields.put(q, 4);
  const V scale = splat<V>(0.87360f) * gather(speex::kHighGainBound, q) * low.excitation_rms[s] /
                  max(ratio, splat<V>(1.0e-4f));
  Response<V> response;
  impulse_response<kHighOrder>(filters.zeros, filters.poles, filters.quantised, response);
  V target[kSubframe], innovation[kSubframe];
  weighted_target<kHighOrder>(x, filters, state.synthesis, target);
  code_innovation<V, W>(*mode.book, mode.twice, 0.4f, 2.5f, target, scale, response, fields, innovation);
  for (int n = 0; n < kSubframe; ++n) {
    innovation[n] = sane(innovation[n] * scale);
  }
  filter_iir<kHighOrder>(innovation, filters.quantised, state.synthesis, out, kSubframe);
  sanitise(state.synthesis);
}

// The layer that says nothing of the high band: the decoder's filter rings out.
template <class V>
inline void silence_highband(WidebandState<V> &state) {
  V ringing[kFrame];
  for (int n = 0; n < kFrame; ++n) {
    ringing[n] = splat<V>(0.0f);
  }
  filter_iir<kHighOrder>(ringing, state.last_filter, state.synthesis, ringing, kFrame);
  sanitise(state.synthesis);
  state.first = splat<V>(1.0f);
}

template <class V, class W>
inline void code_wideband(WidebandState<V> &state, WidebandFrame<V> &frame, int mode_id, int high_id,
                          bool dtx_hint, Fields<V> &fields) {
  LowBand<V> low;
  code_narrowband<V, W>(state.low, frame.low, mode_id, dtx_hint, fields, &low);
  fields.put(splat<IntOf<V>>(1), 1);
  fields.put(splat<IntOf<V>>(high_id), 3);
  if (high_id == 0) {
    silence_highband(state);
    return;
  }
  const speex::HighbandMode &mode = speex::kHighband[high_id];
  V quantised[kHighOrder];
  quantise_high_lsp<V, W>(frame.high_lsp, fields, quantised);
  for (int i = 0; i < kHighOrder; ++i) {
    state.old_quantised[i] = select(is_set(state.first), quantised[i], state.old_quantised[i]);
  }
  SubframeFilters<kHighOrder, V> filters;
  for (int s = 0; s < 4; ++s) {
    filters.make(state.old_lsp, frame.high_lsp, state.old_quantised, quantised, s, kHighLspMargin, 0.9f,
                 0.6f);
    code_high_subframe<V, W>(state, frame, mode, s, low, filters, fields);
  }
  for (int i = 0; i < kHighOrder; ++i) {
    state.old_lsp[i] = frame.high_lsp[i];
    state.old_quantised[i] = quantised[i];
    state.last_filter[i] = filters.quantised[i];
  }
  state.first = splat<V>(0.0f);
}

}  // namespace callreplay::CR_ISA
