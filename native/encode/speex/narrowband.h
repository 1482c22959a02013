// The narrowband coder (and the low band of the wideband coder): analysis of a frame, then coding
// in a sub-mode.
#pragma once

#include "encode/speex/innovation.h"
#include "encode/speex/kernel.h"
#include "encode/speex/lsp.h"
#include "encode/speex/modes.h"
#include "encode/speex/pitch.h"

namespace callreplay::CR_ISA {

inline constexpr int kOrder = 10;
inline constexpr int kFrame = speex::kNarrowbandFrame;
inline constexpr float kLspMargin = 0.002f;

// Everything that lives from frame to frame. Only V's, so that a lane can be taken out and put
// back as floats.
template <class V>
struct NarrowbandState {
  V highpass[2];
  V window[kSubframe];
  V excitation[kHistory];
  V weighted[kHistory];  // of decoded speech
  V old_lsp[kOrder], old_quantised[kOrder];
  V synthesis[kOrder], weighting[kOrder], residual[kOrder];
  V open_residual[kOrder], open_weighting[kOrder];
  V first;    // 1: there are no previous LSPs
  V bounded;  // 1: the excitation before this frame is not what the decoder has
  V growth;
};

// One frame between analysis and coding. Histories stand in front of the frame's own samples.
template <class V>
struct NarrowbandFrame {
  V samples[kFrame];
  V excitation[kHistory + kFrame];
  V weighted[kHistory + kFrame];
  V lsp[kOrder];
  V residual_rms;
  OpenLoop<V> open_loop;
  V half_energy[2];
  LaneRows<V> rows;  // of `excitation`, as far as it is coded
};

// What the high band needs of each sub-frame of the low band.
template <class V>
struct LowBand {
  V at_4khz[4];  // response of A(z) at half the band's sampling rate
  V excitation_rms[4];
  V innovation_rms[4];
};

template <class V>
struct Fields {
  int count = 0;
  uint8_t width[speex::kMaxFields];
  IntOf<V> value[speex::kMaxFields];

  CR_LANE void put(IntOf<V> a, int bits) {
    value[count] = a;
    width[count] = static_cast<uint8_t>(bits);
    ++count;
  }
};

template <class V>
inline void reset_narrowband(NarrowbandState<V> &state) {
  V *all = reinterpret_cast<V *>(&state);
  for (size_t i = 0; i < sizeof state / sizeof(V); ++i) {
    all[i] = splat<V>(0.0f);
  }
  for (int i = 0; i < kOrder; ++i) {
    state.old_lsp[i] = splat<V>(kPi * static_cast<float>(i + 1) / static_cast<float>(kOrder + 1));
  }
  state.first = state.bounded = splat<V>(1.0f);
  state.growth = splat<V>(kGrowthUnit);
}

template <class V>
CR_LANE MaskOf<V> is_set(V flag) {
  return flag > splat<V>(0.5f);
}

// Second order, transposed form with an input gain.
template <class V>
inline void highpass(const float (&num)[3], const float (&den)[3], V (&state)[2], V *x, int count) {
  const V b0 = splat<V>(num[0]), b1 = splat<V>(num[1]), b2 = splat<V>(num[2]);
  const V a1 = splat<V>(den[1]), a2 = splat<V>(den[2]);
  V m0 = state[0], m1 = state[1];
  for (int n = 0; n < count; ++n) {
    const V in = x[n];
    const V out = b0 * in + m0;
    m0 = m1 + b1 * in - a1 * out;
    m1 = b2 * in - a2 * out;
    x[n] = out;
  }
  state[0] = sane(m0);
  state[1] = sane(m1);
}

// `in` holds 160 new samples and is used up. The frame that is coded lies 40 samples back; the newest 40 only
// serve the prediction's window.
template <class V, class W>
inline void analyse_narrowband(NarrowbandState<V> &state, NarrowbandFrame<V> &frame, V *in, bool low_band,
                               bool open_loop) {
  highpass(speex::kHighpassNum[low_band], speex::kHighpassDen[low_band], state.highpass, in, kFrame);
  V window[kWindow];
  for (int n = 0; n < kSubframe; ++n) {
    window[n] = state.window[n];
    state.window[n] = in[kFrame - kSubframe + n];
  }
  for (int n = 0; n < kFrame; ++n) {
    window[kSubframe + n] = in[n];
    frame.samples[n] = window[n];
  }
  V r[kOrder + 1], a[kOrder];
  autocorrelation<kOrder, V, W>(window, r);
  levinson<kOrder>(r, 1.0f, a);
  lsp_from_lpc<kOrder>(a, state.old_lsp, frame.lsp);
  for (int i = 0; i < kOrder; ++i) {
    state.old_lsp[i] = select(is_set(state.first), frame.lsp[i], state.old_lsp[i]);
  }

  V middle[kOrder];
  interpolate_lsp<kOrder>(state.old_lsp, frame.lsp, 0.625f, kLspMargin, middle);
  lpc_from_lsp<kOrder>(middle, a);
  V residual[kFrame];
  filter_fir<kOrder>(frame.samples, a, state.open_residual, residual, kFrame);
  sanitise(state.open_residual);
  frame.residual_rms = rms(residual, kFrame);
  frame.half_energy[0] = dot(frame.samples, frame.samples, kFrame / 2);
  frame.half_energy[1] = dot(frame.samples + kFrame / 2, frame.samples + kFrame / 2, kFrame / 2);

  for (int n = 0; n < kHistory; ++n) {
    frame.excitation[n] = state.excitation[n];
    frame.weighted[n] = state.weighted[n];
  }
  frame.open_loop = {splat<IntOf<V>>(kMinLag), splat<V>(0.0f)};
  if (open_loop) {
    V zeros[kOrder], poles[kOrder];
    bandwidth_expand(a, 0.9f, zeros);
    bandwidth_expand(a, 0.55f, poles);
    V *weighted = frame.weighted + kHistory;
    filter_pole_zero<kOrder>(frame.samples, zeros, poles, state.open_weighting, weighted, kFrame);
    sanitise(state.open_weighting);
    frame.open_loop = open_loop_pitch<V, W>(weighted, kFrame);
  }
}

template <class V, class W>
inline void quantise_lsp(const V (&lsp)[kOrder], bool fine, Fields<V> &fields, V (&quantised)[kOrder]) {
  constexpr float kStage[3] = {0.0039062f, 0.0019531f, 0.00097656f};
  V weight[kOrder], z[kOrder];
  lsp_weights<kOrder>(lsp, weight);
  for (int i = 0; i < kOrder; ++i) {
    quantised[i] = splat<V>(0.25f * static_cast<float>(i + 1));
    z[i] = splat<V>(256.0f) * (lsp[i] - quantised[i]);
  }
  const auto stage = [&](const speex::SearchTable &table, IntOf<V> index, int from, int width, float scale) {
    fields.put(index, 6);
    const ChosenRow<64, V> row(table, index);
    for (int i = 0; i < width; ++i) {
      quantised[from + i] += splat<V>(scale) * row.at(i);
    }
  };
  const V *none = nullptr;
  stage(speex::kLspNb, quantise_lsp_stage<10, V, W>(speex::kLspNb, z, none), 0, 10, kStage[0]);
  stage(speex::kLspNbLow1, quantise_lsp_stage<5, V, W>(speex::kLspNbLow1, z, weight), 0, 5, kStage[1]);
  if (fine) {
    stage(speex::kLspNbLow2, quantise_lsp_stage<5, V, W>(speex::kLspNbLow2, z, weight), 0, 5, kStage[2]);
  }
  stage(speex::kLspNbHigh1, quantise_lsp_stage<5, V, W>(speex::kLspNbHigh1, z + 5, weight + 5), 5, 5,
        kStage[1]);
  if (fine) {
    stage(speex::kLspNbHigh2, quantise_lsp_stage<5, V, W>(speex::kLspNbHigh2, z + 5, weight + 5), 5, 5,
          kStage[2]);
  }
}

// One innovation by whichever codebook the sub-mode has.
template <class V, class W>
inline void search_book(const speex::Codebook &book, const V *target, const Response<V> &response,
                        Fields<V> &fields, V *innovation) {
  IntOf<V> index[kMaxSubvectors];
  if (&book == &speex::kInnov5x64) {
    search_innovation<5, 64, false, V, W>(book, target, response, index, innovation);
  } else if (&book == &speex::kInnov5x256) {
    search_innovation<5, 256, false, V, W>(book, target, response, index, innovation);
  } else if (&book == &speex::kInnov8x128) {
    search_innovation<8, 128, false, V, W>(book, target, response, index, innovation);
  } else if (&book == &speex::kInnov10x16) {
    search_innovation<10, 16, false, V, W>(book, target, response, index, innovation);
  } else if (&book == &speex::kInnov20x32) {
    search_innovation<20, 32, false, V, W>(book, target, response, index, innovation);
  } else if (&book == &speex::kInnovHigh8x128) {
    search_innovation<8, 128, true, V, W>(book, target, response, index, innovation);
  } else {
    // 10x32 of either band: both are unsigned.
    search_innovation<10, 32, false, V, W>(book, target, response, index, innovation);
  }
  const int bits = bits_for(book.entries.size) + (book.is_signed ? 1 : 0);
  for (int s = 0; s < kSubframe / book.entries.width; ++s) {
    fields.put(index[s], bits);
  }
}

// The innovation for target / gain; in the two-pass sub-modes what the first pass left is searched again,
// finer. Returns c + second_gain * c2 in `innovation`.
template <class V, class W>
inline void code_innovation(const speex::Codebook &book, bool twice, float second_gain, float second_scale,
                            V *target, V gain, const Response<V> &response, Fields<V> &fields,
                            V *innovation) {
  for (int n = 0; n < kSubframe; ++n) {
    target[n] = target[n] / gain;
  }
  search_book<V, W>(book, target, response, fields, innovation);
  if (!twice) {
    return;
  }
  V filtered[kSubframe + 2 * kMargin], second[kSubframe];
  convolve<V, W>(innovation, response, filtered);
  for (int n = 0; n < kSubframe; ++n) {
    target[n] = (target[n] - filtered[n]) * splat<V>(second_scale);
  }
  search_book<V, W>(book, target, response, fields, second);
  for (int n = 0; n < kSubframe; ++n) {
    innovation[n] += splat<V>(second_gain) * second[n];
  }
}

// Sub-mode 0: the decoder goes on with noise of its own, which cannot be tracked.
template <class V>
inline void silence_narrowband(NarrowbandState<V> &state) {
  for (int n = 0; n < kHistory; ++n) {
    state.excitation[n] = state.weighted[n] = splat<V>(0.0f);
  }
  for (int i = 0; i < kOrder; ++i) {
    state.synthesis[i] = state.weighting[i] = splat<V>(0.0f);
  }
  state.first = state.bounded = splat<V>(1.0f);
}

template <class V>
struct FrameParameters {
  IntOf<V> lag;  // of the open loop
  V pitch_gain;  // of sub-modes 1 and 8, quantised
  V gain;        // quantised frame gain
};

// Everything that is sent once a frame, from the sub-mode's number to the frame gain.
template <class V, class W>
inline FrameParameters<V> code_frame_parameters(const NarrowbandFrame<V> &frame, int mode_id, bool dtx_hint,
                                                Fields<V> &fields, V (&quantised)[kOrder]) {
  const speex::NarrowbandMode &mode = speex::kNarrowband[mode_id];
  FrameParameters<V> out;
  fields.put(splat<IntOf<V>>(0), 1);
  fields.put(splat<IntOf<V>>(mode_id), 4);
  quantise_lsp<V, W>(frame.lsp, mode.fine_lsp, fields, quantised);
  out.lag = frame.open_loop.lag;
  out.pitch_gain = splat<V>(0.0f);
  const bool single = mode.long_term == speex::LongTerm::kSingleTap;
  if (single || mode.long_term == speex::LongTerm::kFrameLag) {
    fields.put(out.lag - splat<IntOf<V>>(kMinLag), 7);
  }
  if (single) {
    const V scaled = splat<V>(0.5f) + splat<V>(15.0f * 0.9f) * frame.open_loop.gain;
    const IntOf<V> q = min(truncate(scaled), splat<IntOf<V>>(15));
    fields.put(q, 4);
    out.pitch_gain = min(splat<V>(0.066667f) * to_float(q), splat<V>(0.99f));
  }
  V gain = frame.residual_rms;
  if (speex::needs_open_loop(mode_id) && mode_id != speex::kNoise) {
    const V c = frame.open_loop.gain;
    gain = gain * splat<V>(1.1f) * sqrt(max(splat<V>(1.0f) - splat<V>(0.8f) * c * c, splat<V>(0.0f)));
  }
  const IntOf<V> q = count_exceeded(gain, speex::kFrameGainBound, 31);
  fields.put(q, 5);
  out.gain = gather(speex::kFrameGain, q);
  if (mode_id == speex::kNoise) {
    fields.put(splat<IntOf<V>>(dtx_hint ? 15 : 0), 4);
  }
  return out;
}

// Closed-loop prediction of one sub-frame in the three-tap sub-modes.
template <class V, class W>
inline void predict_three_taps(const speex::NarrowbandMode &mode, NarrowbandState<V> &state,
                               NarrowbandFrame<V> &frame, int offset, IntOf<V> frame_lag, const V *weighted,
                               const Response<V> &response, Fields<V> &fields, V *target, V *v) {
  constexpr int kCandidates = 2;
  const auto bounded = is_set(state.bounded);
  const bool some_bounded = any(bounded);
  const V *excitation = frame.excitation + kHistory + offset;
  frame.rows.take(frame.excitation, kHistory + offset);
  const V limit = select(bounded, splat<V>(static_cast<float>(offset < kMaxLag ? offset : kMaxLag)),
                         splat<V>(static_cast<float>(kMaxLag)));
  if (mode.long_term == speex::LongTerm::kFrameLag) {
    LagTrial<V> trial;
    try_lag<V, W>(excitation, frame.rows, frame_lag, target, response, trial);
    const auto silent = to_float(frame_lag) > limit;
    const auto chosen = choose_prediction<1, V, W>(*mode.gains, &trial, silent, state.growth, target, v);
    fields.put(chosen.row, mode.pitch_gain_bits);
    return;
  }
  LagScores<V> scores;
  V best[kCandidates];
  rank_lags<kCandidates, V, W>(weighted, weighted, kSubframe, limit, some_bounded, scores, best);
  const IntOf<V> longest = max(truncate(limit), splat<IntOf<V>>(kMinLag));
  LagTrial<V> trials[kCandidates];
  for (int c = 0; c < kCandidates; ++c) {
    const IntOf<V> lag = min(tag_of(best[c], kLagTagBits) + splat<IntOf<V>>(kMinLag), longest);
    try_lag<V, W>(excitation, frame.rows, lag, target, response, trials[c]);
  }
  const auto silent = limit < splat<V>(static_cast<float>(kMinLag));
  const auto chosen =
      choose_prediction<kCandidates, V, W>(*mode.gains, trials, silent, state.growth, target, v);
  fields.put(chosen.lag - splat<IntOf<V>>(kMinLag), 7);
  fields.put(chosen.row, mode.pitch_gain_bits);
}

// The sub-frame's gain: the frame's, times one of 1, 2 or 8 factors.
template <class V>
inline V code_subframe_gain(int bits, V residual_rms, V frame_gain, Fields<V> &fields) {
  if (bits == 0) {
    return frame_gain;
  }
  const V ratio = residual_rms / frame_gain;
  const float *table = bits == 3 ? speex::kSubGain3 : speex::kSubGain1;
  const IntOf<V> q = bits == 3 ? count_exceeded(ratio, speex::kSubGain3Bound, 7)
                               : count_exceeded(ratio, speex::kSubGain1Bound, 1);
  fields.put(q, bits);
  return frame_gain * gather(table, q);
}

// The filters of one sub-frame, from unquantised and quantised LSPs.
template <int N, class V>
struct SubframeFilters {
  V zeros[N], poles[N];  // W(z) = A(z/g1) / A(z/g2)
  V quantised[N];        // A_q(z)

  void make(const V (&old_lsp)[N], const V (&lsp)[N], const V (&old_quantised)[N],
            const V (&now_quantised)[N], int s, float margin, float gamma1, float gamma2) {
    const float w = 0.25f * static_cast<float>(s + 1);
    V between[N], a[N];
    interpolate_lsp<N>(old_lsp, lsp, w, margin, between);
    lpc_from_lsp<N>(between, a);
    bandwidth_expand(a, gamma1, zeros);
    bandwidth_expand(a, gamma2, poles);
    interpolate_lsp<N>(old_quantised, now_quantised, w, margin, between);
    lpc_from_lsp<N>(between, quantised);
  }
};

// target = (x - ringing of 1/A_q) filtered by W from rest.
template <int N, class V>
inline void weighted_target(const V *x, const SubframeFilters<N, V> &filters, const V (&synthesis)[N],
                            V *target) {
  V ringing[N], rest[N];
  for (int i = 0; i < N; ++i) {
    ringing[i] = synthesis[i];
    rest[i] = splat<V>(0.0f);
  }
  for (int n = 0; n < kSubframe; ++n) {
    target[n] = splat<V>(0.0f);
  }
  filter_iir<N>(target, filters.quantised, ringing, target, kSubframe);
  for (int n = 0; n < kSubframe; ++n) {
    target[n] = x[n] - target[n];
  }
  filter_pole_zero<N>(target, filters.zeros, filters.poles, rest, target, kSubframe);
}

template <class V, class W>
inline void code_subframe(NarrowbandState<V> &state, NarrowbandFrame<V> &frame, int mode_id, int s,
                          const FrameParameters<V> &parameters, const SubframeFilters<kOrder, V> &filters,
                          Fields<V> &fields, LowBand<V> *low_band) {
  const speex::NarrowbandMode &mode = speex::kNarrowband[mode_id];
  const int offset = s * kSubframe;
  const V *x = frame.samples + offset;
  V *excitation = frame.excitation + kHistory + offset;
  V *weighted = frame.weighted + kHistory + offset;

  Response<V> response;
  impulse_response<kOrder>(filters.zeros, filters.poles, filters.quantised, response);
  V target[kSubframe], residual[kSubframe], v[kSubframe], innovation[kSubframe];
  weighted_target<kOrder>(x, filters, state.synthesis, target);
  filter_fir<kOrder>(x, filters.quantised, state.residual, residual, kSubframe);
  sanitise(state.residual);

  if (mode.long_term == speex::LongTerm::kSingleTap) {
    predict_single_tap(excitation, parameters.lag, parameters.pitch_gain, v);
    V filtered[kSubframe + 2 * kMargin];
    convolve<V, W>(v, response, filtered);
    for (int n = 0; n < kSubframe; ++n) {
      target[n] -= filtered[n];
    }
  } else {
    if (mode.long_term == speex::LongTerm::kSubframeLag) {
      V copy[kOrder];
      for (int i = 0; i < kOrder; ++i) {
        copy[i] = state.weighting[i];
      }
      filter_pole_zero<kOrder>(x, filters.zeros, filters.poles, copy, weighted, kSubframe);
    }
    predict_three_taps<V, W>(mode, state, frame, offset, parameters.lag, weighted, response, fields, target,
                             v);
  }
  V left[kSubframe];
  for (int n = 0; n < kSubframe; ++n) {
    left[n] = residual[n] - v[n];
  }
  const V left_rms = rms(left, kSubframe);
  if (mode_id == speex::kNoise) {
    for (int n = 0; n < kSubframe; ++n) {
      excitation[n] = residual[n];
    }
    if (low_band != nullptr) {
      low_band->innovation_rms[s] = left_rms;
    }
  } else {
    const V gain = code_subframe_gain(mode.subgain_bits, left_rms, parameters.gain, fields);
    code_innovation<V, W>(*mode.book, mode.twice, 0.454545f, 2.2f, target, gain, response, fields,
                          innovation);
    for (int n = 0; n < kSubframe; ++n) {
      innovation[n] *= gain;
      excitation[n] = sane(v[n] + innovation[n]);
    }
    if (low_band != nullptr) {
      low_band->innovation_rms[s] = rms(innovation, kSubframe);
    }
  }
  if (low_band != nullptr) {
    low_band->excitation_rms[s] = rms(excitation, kSubframe);
    V response_4khz = splat<V>(1.0f);
    for (int k = 0; k < kOrder; ++k) {
      response_4khz += splat<V>(k % 2 == 0 ? -1.0f : 1.0f) * filters.quantised[k];
    }
    low_band->at_4khz[s] = response_4khz;
  }
  filter_iir<kOrder>(excitation, filters.quantised, state.synthesis, weighted, kSubframe);
  filter_pole_zero<kOrder>(weighted, filters.zeros, filters.poles, state.weighting, weighted, kSubframe);
  sanitise(state.synthesis);
  sanitise(state.weighting);
  for (int n = 0; n < kSubframe; ++n) {
    weighted[n] = sane(weighted[n]);
  }
}

// Codes the analysed frame in a sub-mode; `low_band` is filled when it is not null.
template <class V, class W>
inline void code_narrowband(NarrowbandState<V> &state, NarrowbandFrame<V> &frame, int mode_id, bool dtx_hint,
                            Fields<V> &fields, LowBand<V> *low_band) {
  if (mode_id == speex::kSilence) {
    fields.put(splat<IntOf<V>>(0), 1);
    fields.put(splat<IntOf<V>>(speex::kSilence), 4);
    silence_narrowband(state);
    return;
  }
  frame.rows.forget();
  V quantised[kOrder];
  const FrameParameters<V> parameters =
      code_frame_parameters<V, W>(frame, mode_id, dtx_hint, fields, quantised);
  for (int i = 0; i < kOrder; ++i) {
    state.old_quantised[i] = select(is_set(state.first), quantised[i], state.old_quantised[i]);
  }
  for (int s = 0; s < 4; ++s) {
    SubframeFilters<kOrder, V> filters;
    filters.make(state.old_lsp, frame.lsp, state.old_quantised, quantised, s, kLspMargin, 0.92f, 0.6f);
    code_subframe<V, W>(state, frame, mode_id, s, parameters, filters, fields, low_band);
  }
  for (int i = 0; i < kOrder; ++i) {
    state.old_lsp[i] = frame.lsp[i];
    state.old_quantised[i] = quantised[i];
  }
  for (int n = 0; n < kHistory; ++n) {
    state.excitation[n] = frame.excitation[kFrame + n];
    state.weighted[n] = frame.weighted[kFrame + n];
  }
  state.first = splat<V>(0.0f);
  state.bounded = splat<V>(mode_id == speex::kNoise ? 1.0f : 0.0f);
}

}  // namespace callreplay::CR_ISA
